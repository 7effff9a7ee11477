"""TypiClust: the most typical text of each part of the space that has no label yet."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.clustering import Points, kmeans
from prepal.learning.pool import Pool, draw

# A text is typical if it is near this many others of its cluster: the paper's.
_NEIGHBOURS = 20
# The paper's limit; beyond it several texts come from one cluster.
_MOST_CLUSTERS = 500
# Clusters of so many texts look like those of all of them, and take tenths of seconds at any size of the pool.
_SAMPLE = 20_000
# The distances among the texts of one cluster stay within a few megabytes.
_CLUSTER_SAMPLE = 1000


@dataclass(frozen=True)
class TypiClust:
    """Hacohen, Dekel & Weinshall, Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets (2022).

    Of pools larger than 20,000 texts a random part is clustered.
    """

    name: str = "typiclust"
    multilabel: bool = True

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        if n <= 0:
            return np.empty(0, np.int64)
        places = np.sort(draw(len(pool), _SAMPLE, rng)) if len(pool) > _SAMPLE else np.arange(len(pool))
        points = pool.map(np.concatenate([pool.vectors[places].astype(np.float32), pool.labelled_vectors]))
        picked = places[_typical(points, len(places), n, rng)]
        if len(picked) < min(n, len(pool)):
            rest = np.setdiff1d(np.arange(len(pool)), picked)
            picked = np.concatenate([picked, rest[draw(len(rest), n - len(picked), rng)]])
        return picked.astype(np.int64, copy=False)


def _typical(points: Points, free: int, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places among the first `free` points; the rest is labelled. Clusters with few labels first, then large ones."""
    n = min(n, free)
    clusters = min(len(points) - free + n, _MOST_CLUSTERS)
    if clusters <= 0:
        return np.empty(0, np.int64)
    _, cluster = kmeans(points, clusters, rng)
    sizes = np.bincount(cluster, minlength=clusters)
    covered = np.bincount(cluster[free:], minlength=clusters)
    picked: list[int] = []
    is_free = np.arange(len(points)) < free
    while len(picked) < n:
        before = len(picked)
        for chosen in np.lexsort((-sizes, covered)):
            members = np.flatnonzero((cluster == chosen) & is_free)[:_CLUSTER_SAMPLE]
            if len(members) and len(picked) < n:
                place = int(members[_typicality(points[members]).argmax()])
                picked.append(place)
                is_free[place] = False
                covered[chosen] += 1
        if len(picked) == before:
            break
    return np.array(picked, np.int64)


def _typicality(points: Points) -> NDArray[np.float32]:
    """Minus the mean distance `(n,)` of each point to its nearest ones."""
    squares = np.einsum("ij,ij->i", points, points)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
    neighbours = min(_NEIGHBOURS, len(points) - 1)
    if neighbours == 0:
        return np.zeros(1, np.float32)
    nearest = np.partition(distances, neighbours, axis=1)[:, : neighbours + 1]
    return np.asarray(-nearest.sum(axis=1) / neighbours, np.float32)


STRATEGY = TypiClust()
