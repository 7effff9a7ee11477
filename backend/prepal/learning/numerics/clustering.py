"""k-means, seeded by k-means++ (Arthur & Vassilvitskii 2007), and what strategies do with its clusters."""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]

ITERATIONS = 10  # Lloyd's steps; picks hardly change after as many
_TRIALS = 3  # draws of each seed; more hardly make tighter clusters


def kmeans(points: Points, k: int, rng: np.random.Generator) -> tuple[Points, NDArray[np.int64]]:
    """Return the centres `(min(k, n), d)` of clusters of points `(n, d)`, and the cluster `(n,)` of each point."""
    k = min(k, len(points))
    if k == 0:
        return points[:0].copy(), np.zeros(len(points), np.int64)
    centres = points[seeds(points, k, rng)].copy()
    nearest = np.zeros(len(points), np.int64)
    for _ in range(ITERATIONS):
        before, nearest = nearest, squared_distances(points, centres).argmin(axis=1)
        if (before == nearest).all():
            break
        filled, starts, sizes = np.unique(np.sort(nearest), return_index=True, return_counts=True)
        sums = np.add.reduceat(points[np.argsort(nearest, kind="stable")], starts)
        centres[filled] = sums / sizes[:, None].astype(np.float32)
    return centres, nearest


def seeds(points: Points, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return k different places `(k,)`, each drawn with probability by its squared distance to those before it.

    Of a few draws the one that leaves the least distance is taken.
    """
    lengths = np.einsum("ij,ij->i", points, points)
    chosen = [int(rng.integers(len(points)))]
    distances = _distances_from(points, lengths, chosen)[0]
    while len(chosen) < k:
        distances[chosen] = 0
        trials = list(dict.fromkeys(draw_by(distances, chosen, rng) for _ in range(_TRIALS)))
        left = np.minimum(distances, _distances_from(points, lengths, trials))
        best = int(left.sum(axis=1).argmin())
        chosen.append(trials[best])
        distances = left[best]
    return np.array(chosen, np.int64)


def _distances_from(points: Points, lengths: NDArray[np.float32], places: list[int]) -> Points:
    """Squared distances `(m, n)` of all points to those at m places."""
    products = points[places] @ points.T
    return np.asarray(np.maximum(lengths + lengths[places][:, None] - 2 * products, 0), np.float32)


def draw_by(weights: NDArray[np.float32], taken: list[int], rng: np.random.Generator) -> int:
    """Return a place drawn with probability by its weight; any that is not taken where all weights are 0."""
    summed = np.cumsum(weights, dtype=np.float64)
    if summed[-1] > 0:
        place = int(np.searchsorted(summed, rng.random() * summed[-1], side="right"))
        if place < len(weights) and weights[place] > 0:
            return place
    free = np.ones(len(weights), bool)
    free[taken] = False
    return int(np.flatnonzero(free)[0])


def squared_distances(points: Points, centres: Points) -> Points:
    """Return the squared distances `(n, k)` of points `(n, d)` to centres `(k, d)`, less each point's own square.

    What is left out does not change which centre is the nearest, nor which point of a cluster is nearest to it first.
    """
    distances: Points = points @ (-2 * centres.T)
    distances += np.einsum("ij,ij->i", centres, centres)
    return distances


def nearest_to_each(points: Points, centres: Points) -> NDArray[np.int64]:
    """Return for each centre `(k, d)` the place `(k,)` of the point nearest to it that no earlier centre took."""
    distances = squared_distances(points, centres) + np.einsum("ij,ij->i", points, points)[:, None]
    taken = np.empty(len(centres), np.int64)
    for place in range(len(centres)):
        taken[place] = distances[:, place].argmin()
        distances[taken[place]] = np.inf
    return taken
