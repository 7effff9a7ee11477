"""The default: typical texts while labels are scarce, then different kinds of texts that the classifier doubts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.clustering import kmeans, nearest_to_each
from prepal.learning.pool import Pool, best, draw
from prepal.learning.strategies.doubt.margin import closeness
from prepal.learning.strategies.variety import typiclust

# Without label names to begin with, so many labels per choice are spent on covering the space, with them every so
# many-th text while labels are few.
_COVERING_LABELS, _COVER_EVERY = 2, 3
# While there are fewer labels than this for each choice, without names and with them, every so many-th text is drawn at
# random: a classifier that learns only from texts that it doubts does not notice where it is wrong, or the names are.
_FEW_LABELS, _FEW_LABELS_WITH_NAMES, _DRAW_EVERY = 15, 10, 4
# Of so many doubtful texts for each pick, and of at least so many, the picks are as different as can be.
_CANDIDATES_PER_PICK, _LEAST_CANDIDATES = 5, 50


@dataclass(frozen=True)
class Auto:
    """TypiClust (Hacohen et al. 2022), then clustered margins: Brinker (2003), Citovsky et al. (2021).

    Where the classifier already knows something from the choices' names, it covers less. Some of the first texts are
    drawn at random, and all are while all labels are of one choice, because what is typical is of frequent choices.
    """

    name: str = "auto"
    multilabel: bool = True

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        if pool.probabilities is None:
            return draw(len(pool), n, rng) if len(pool.labelled) else typiclust.STRATEGY.select(pool, n, rng)
        n = min(n, len(pool))
        labels_per_choice = len(pool.labelled) / pool.probabilities.shape[1]
        numbers = len(pool.labelled) + np.arange(n)
        few = labels_per_choice < (_FEW_LABELS_WITH_NAMES if pool.knows_names else _FEW_LABELS)
        if pool.knows_names:
            covers = (numbers % _COVER_EVERY == 0) & few
        else:
            covers = np.full(n, labels_per_choice < _COVERING_LABELS)
        drawn = (numbers % _DRAW_EVERY == 1) & few & ~covers
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
