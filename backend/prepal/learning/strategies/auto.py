"""The default: typical texts while labels are scarce, then different kinds of texts that the classifier doubts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.clustering import kmeans, nearest_to_each
from prepal.learning.strategies import typiclust
from prepal.learning.strategies.base import Pool, best
from prepal.learning.strategies.margin import closeness

# Without label names to begin with, so many labels per choice are spent on covering the space.
_COVERING_LABELS = 2
# Of so many doubtful texts for each pick, and of at least so many, the picks are as different as can be.
_CANDIDATES_PER_PICK, _LEAST_CANDIDATES = 5, 50


@dataclass(frozen=True)
class Auto:
    """TypiClust (Hacohen et al. 2022), then clustered margins: Brinker (2003), Citovsky et al. (2021).

    Where the classifier already knows something from the choices' names, there is nothing to cover first.
    """

    name: str = "auto"
    needs_classifier: bool = False
    multilabel: bool = True

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        if pool.probabilities is None:
            return typiclust.STRATEGY.select(pool, n, rng)
        scarce = len(pool.labelled) < _COVERING_LABELS * pool.probabilities.shape[1]
        if scarce and not pool.knows_names:
            return typiclust.STRATEGY.select(pool, n, rng)
        doubtful = best(
            closeness(pool.probabilities, pool.multilabel), max(_CANDIDATES_PER_PICK * n, _LEAST_CANDIDATES)
        )
        if n >= len(doubtful):
            return doubtful
        # In the order of the pool, because which of two equally doubtful texts comes first may not decide the clusters.
        by_place = np.argsort(doubtful)
        points = pool.map(pool.vectors[doubtful[by_place]])
        centres, _ = kmeans(points, n, rng)
        return doubtful[np.sort(by_place[nearest_to_each(points, centres)])]


STRATEGY = Auto()
