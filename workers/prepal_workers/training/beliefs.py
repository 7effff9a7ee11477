"""What is believed of texts without a label, and how much that counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal_workers.labelled.fields import Text


@dataclass(frozen=True)
class Beliefs:
    """What is believed of texts without a label.

    Attributes:
        texts: b texts, or pairs of texts.
        targets: `(b, k)` float32, how likely a text has each of k labels.
        weights: `(b,)` float32, how much a belief counts beside a label.
    """

    texts: Sequence[Text]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
