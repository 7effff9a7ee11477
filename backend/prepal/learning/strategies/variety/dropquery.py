"""DropQuery: texts whose prediction changes when parts of their vectors are dropped, one of each kind."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.clustering import kmeans, nearest_to_each
from prepal.learning.numerics.float16 import as_float32
from prepal.learning.pool import Pool, best, draw, refuse_multilabel
from prepal.learning.strategies.doubt.margin import closeness

# The paper's: three copies, three quarters of each dropped, and a text counts if more than half of them disagree.
_COPIES, _KEPT, _DISAGREEING = 3, 0.25, 0.5
# So many texts at a time lose coordinates: 100 MB.
_CHUNK_ROWS = 65_536
# Clusters of so many candidates are those of all of them.
_MOST_CANDIDATES = 10_000


@dataclass(frozen=True)
class DropQuery:
    """Gupte et al., Revisiting Active Learning in the Era of Vision Foundation Models (2024).

    All texts of a call lose the same coordinates in the same copy, which makes copies products of fewer columns. Of
    more than 10,000 candidates a random part is clustered; too few are filled up by margin.
    """

    name: str = "dropquery"
    multilabel: bool = False

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        refuse_multilabel(self, pool)
        n = min(n, len(pool))
        if pool.probabilities is None or pool.classifier is None or n <= 0:
            return draw(len(pool), n, rng)
        candidates = np.flatnonzero(_disagreement(pool, rng) > _DISAGREEING * _COPIES)
        if len(candidates) > _MOST_CANDIDATES:
            candidates = candidates[np.sort(draw(len(candidates), _MOST_CANDIDATES, rng))]
        if len(candidates) <= n:
            doubtful = best(closeness(pool.probabilities, multilabel=False), 2 * n)
            return np.concatenate([candidates, doubtful[~np.isin(doubtful, candidates)]])[:n].astype(np.int64)
        points = as_float32(pool.vectors[candidates])
        centres, _ = kmeans(points, n, rng)
        return candidates[nearest_to_each(points, centres)].astype(np.int64)


def _disagreement(pool: Pool, rng: np.random.Generator) -> NDArray[np.int64]:
    """How many copies `(n,)` are predicted otherwise than the text itself."""
    classifier, probabilities = pool.classifier, pool.probabilities
    assert classifier is not None
    assert probabilities is not None
    d = pool.vectors.shape[1]
    # What is kept is scaled up, as dropout does, so that logits keep their size.
    masks = [(rng.random(d) < _KEPT).astype(np.float32) / np.float32(_KEPT) for _ in range(_COPIES)]
    predicted = probabilities.argmax(axis=1)
    count = np.zeros(len(pool), np.int64)
    for start in range(0, len(pool), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        vectors = as_float32(pool.vectors[rows])
        for mask in masks:
            count[rows] += classifier.predict_proba(vectors * mask).argmax(axis=1) != predicted[rows]
    return count


STRATEGY = DropQuery()
