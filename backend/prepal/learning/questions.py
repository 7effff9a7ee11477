"""Which of several questions needs labels most, so that its strategy picks the next texts.

One annotation answers all questions, so each text that one question picks teaches the others, too. Strategies that take
turns, and such that rank together, are compared by Reichart, Tomanek, Hahn & Rappoport (Multi-Task Active Learning for
Linguistic Annotations, 2008). Here that question picks whose classifier expects to be wrong most often, which on trec6
was worth more than turns (`python -m benchmarks.choosing.questions`).
"""

import numpy as np
from numpy.typing import NDArray


def need(confidence: NDArray[np.float32], asked: NDArray[np.bool_]) -> float:
    """Return the share of texts of which a question is asked and its classifier expects to be wrong.

    Args:
        confidence: `(p,)`, of what it predicts of each text; NaN where it predicts nothing.
        asked: `(p,)`, of which of them the question is asked.
    """
    doubt = np.where(np.isnan(confidence), 1.0, 1.0 - confidence)
    return float((doubt * asked).mean()) if len(doubt) else 0.0
