"""The default: typical texts while labels are scarce, then different kinds of texts that the classifier doubts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.clustering import kmeans, nearest_to_each
from prepal.learning.strategies import typiclust
from prepal.learning.strategies.base import Pool, best, draw
from prepal.learning.strategies.margin import closeness

# Without label names to begin with, so many labels per choice are spent on covering the space.
_COVERING_LABELS = 2
# With them, every so many-th of so many labels per choice covers the space as well: texts that names put near the
# boundary do not show that names are wrong.
_CHECK_EVERY, _CHECKING_LABELS = 3, 10
# Of so many doubtful texts for each pick, and of at least so many, the picks are as different as can be.
_CANDIDATES_PER_PICK, _LEAST_CANDIDATES = 5, 50


@dataclass(frozen=True)
class Auto:
    """TypiClust (Hacohen et al. 2022), then clustered margins: Brinker (2003), Citovsky et al. (2021).

    Where the classifier already knows something from the choices' names, it only covers to check them. While all labels
    are of one choice, it draws at random, because what is typical is of frequent choices.
    """

    name: str = "auto"
    needs_classifier: bool = False
    multilabel: bool = True

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        if pool.probabilities is None:
            return draw(len(pool), n, rng) if len(pool.labelled) else typiclust.STRATEGY.select(pool, n, rng)
        n = min(n, len(pool))
        labels_per_choice = len(pool.labelled) / pool.probabilities.shape[1]
        if pool.knows_names:
            covers = (len(pool.labelled) + np.arange(n)) % _CHECK_EVERY == 0
            covers &= labels_per_choice < _CHECKING_LABELS
        else:
            covers = np.full(n, labels_per_choice < _COVERING_LABELS)
        picks = np.empty(n, np.int64)
        picks[covers] = typiclust.STRATEGY.select(pool, int(covers.sum()), rng)
        doubtful = _doubtful(pool, n, rng)
        picks[~covers] = doubtful[~np.isin(doubtful, picks[covers])][: n - int(covers.sum())]
        return picks


def _doubtful(pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `(min(n, len(pool)),)` different texts near the boundary."""
    assert pool.probabilities is not None
    doubtful = best(closeness(pool.probabilities, pool.multilabel), max(_CANDIDATES_PER_PICK * n, _LEAST_CANDIDATES))
    if n >= len(doubtful):
        return doubtful
    # In the order of the pool, because which of two equally doubtful texts comes first may not decide the clusters.
    by_place = np.argsort(doubtful)
    points = pool.map(pool.vectors[doubtful[by_place]])
    centres, _ = kmeans(points, n, rng)
    return doubtful[np.sort(by_place[nearest_to_each(points, centres)])]


STRATEGY = Auto()
