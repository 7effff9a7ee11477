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
# With them, while there are few labels for each choice, every so many-th text covers the space and every so many-th is
# drawn at random, to check the names: texts near the boundary do not show that names are wrong, and typical texts are
# often those that names are right about, or wrong about, by chance.
_COVER_EVERY, _DRAW_EVERY, _CHECKING_LABELS = 3, 4, 10
# Of so many doubtful texts for each pick, and of at least so many, the picks are as different as can be.
_CANDIDATES_PER_PICK, _LEAST_CANDIDATES = 5, 50


@dataclass(frozen=True)
class Auto:
    """TypiClust (Hacohen et al. 2022), then clustered margins: Brinker (2003), Citovsky et al. (2021).

    Where the classifier already knows something from the choices' names, it covers less, and draws some texts at random
    to check them. While all labels are of one choice, it draws all, because what is typical is of frequent choices.
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
        numbers = len(pool.labelled) + np.arange(n)
        if pool.knows_names:
            few = labels_per_choice < _CHECKING_LABELS
            covers = (numbers % _COVER_EVERY == 0) & few
            drawn = (numbers % _DRAW_EVERY == 1) & few & ~covers
        else:
            covers = np.full(n, labels_per_choice < _COVERING_LABELS)
            drawn = np.zeros(n, bool)
        picks = np.full(n, -1)
        for places, found in (
            (drawn, draw(len(pool), int(drawn.sum()), rng)),
            (covers, typiclust.STRATEGY.select(pool, int((covers | drawn).sum()) if covers.any() else 0, rng)),
            (~drawn & ~covers, _doubtful(pool, n, rng)),
        ):
            picks[places] = found[~np.isin(found, picks)][: int(places.sum())]
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
