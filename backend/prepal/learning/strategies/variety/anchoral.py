"""AnchorAL: another strategy, on the part of the pool that is like labelled texts of every class; for rare classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.clustering import seeds
from prepal.learning.numerics.float16 import as_float32
from prepal.learning.numerics.threads import by_chunks
from prepal.learning.pool import Pool, Strategy, best, draw, refuse_multilabel
from prepal.learning.strategies.doubt import margin

# The paper's: at most so many anchors of each class, so many neighbours of each, and so large a part of the pool.
_ANCHORS, _NEIGHBOURS, _SUBPOOL = 10, 50, 1000


@dataclass(frozen=True)
class AnchorAl:
    """Lesci & Vlachos, AnchorAL: Computationally Efficient Active Learning for Large and Imbalanced Datasets (2024).

    Anchors are different labelled texts of each class; the texts most like any of them are what `inner` chooses from.
    """

    inner: Strategy = margin.STRATEGY
    name: str = "anchoral"
    multilabel: bool = False

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        refuse_multilabel(self, pool)
        if pool.probabilities is None or not len(pool.labelled):
            return draw(len(pool), n, rng)
        anchors = pool.labelled_vectors[_anchors(pool, rng)]
        likeness = np.empty((len(anchors), len(pool)), np.float32)

        def compare(rows: slice) -> None:
            likeness[:, rows] = anchors @ as_float32(pool.vectors[rows]).T

        by_chunks(len(pool), compare)
        total, times = np.zeros(len(pool), np.float32), np.zeros(len(pool), np.float32)
        for row in likeness:
            near = best(row, max(_NEIGHBOURS, n))
            total[near] += row[near]
            times[near] += 1
        places = np.flatnonzero(times)
        # Of too many, those most like the anchors that they are near to, on the average, as the authors score them.
        places = np.sort(places[best(total[places] / times[places], max(_SUBPOOL, n))])
        part = Pool(
            pool.vectors[places],
            pool.probabilities[places],
            pool.labelled_vectors,
            pool.labelled,
            pool.multilabel,
            pool.classifier,
            pool.prior,
            pool.knows_names,
        )
        return places[self.inner.select(part, n, rng)].astype(np.int64, copy=False)


def _anchors(pool: Pool, rng: np.random.Generator) -> NDArray[np.int64]:
    chosen = []
    for label in np.unique(pool.labelled):
        own = np.flatnonzero(pool.labelled == label)
        chosen.append(own[seeds(pool.labelled_vectors[own], min(_ANCHORS, len(own)), rng)])
    return np.concatenate(chosen)


STRATEGY = AnchorAl()
