"""Random: every text is as likely as any other. What every other strategy has to beat."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.pool import Pool, draw


@dataclass(frozen=True)
class Random:
    """Passive learning, the baseline of Settles, Active Learning Literature Survey (2009)."""

    name: str = "random"
    multilabel: bool = True

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        return draw(len(pool), n, rng)


STRATEGY = Random()
