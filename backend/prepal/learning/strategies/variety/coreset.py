"""CoreSet: texts far from every labelled text and from each other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.distances import SquaredDistances
from prepal.learning.pool import Pool


@dataclass(frozen=True)
class CoreSet:
    """The greedy k-centre of Sener & Savarese, Active Learning for Convolutional Neural Networks (2018)."""

    name: str = "coreset"
    multilabel: bool = True

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`; the first pick without a label is drawn at random."""
        n = min(n, len(pool))
        picked = np.empty(max(n, 0), np.int64)
        if n <= 0:
            return picked
        distances = SquaredDistances(pool.vectors)
        if len(pool.labelled_vectors):
            nearest = distances.to_nearest(pool.labelled_vectors)
        else:
            nearest = np.zeros(len(pool), np.float32)
            nearest[rng.integers(len(pool))] = np.inf
        for place in range(n):
            picked[place] = nearest.argmax()
            away = distances.to_row(int(picked[place]))
            nearest = away if nearest[picked[place]] == np.inf else np.minimum(nearest, away)
            nearest[picked[: place + 1]] = -1
        return picked


STRATEGY = CoreSet()
