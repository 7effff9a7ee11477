"""How well texts are covered by those that have a label, and which text covers most of what is left.

Generalized coverage: a text is covered as well as the nearest one with a label covers it, by a kernel of their
distance. Bae, Noh & Sutherland, Generalized Coverage for More Robust Low-Budget Active Learning (2024).
"""

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.clustering import Points

# So many others a text covers well; of so many texts it is measured how far that reaches.
_REACH, _REACH_OF = 10, 256


class Coverage:
    """Texts that are chosen one after the other, each for what it covers that none before it does.

    Args:
        points: `(n, d)` float32, where the texts lie; n > 0.
        labelled: `(m, d)` float32, where those lie that have a label.
        weights: `(w, n)` float32, how much it is worth to cover each text, by w measures.
    """

    def __init__(self, points: Points, labelled: Points, weights: NDArray[np.float32]) -> None:
        lengths = np.einsum("ij,ij->i", points, points)
        distances = _squared(points, lengths, points, lengths)
        sample = distances[:: -(-len(points) // _REACH_OF)]
        reach = min(_REACH, len(points) - 1)
        width = float(np.median(np.partition(sample, reach, axis=1)[:, reach])) or 1.0
        self._kernel = _kernel(distances, width)
        self._covered: NDArray[np.float32] = np.zeros(len(points), np.float32)
        if len(labelled):
            others = _squared(points, lengths, labelled, np.einsum("ij,ij->i", labelled, labelled))
            self._covered = _kernel(others.min(axis=1), width)
        self._weights = weights
        self._gains: NDArray[np.float32] = weights @ self._uncovered(np.arange(len(points)))
        self._free: NDArray[np.bool_] = np.ones(len(points), bool)

    def take(self, measure: int) -> int:
        """Choose the text that covers most by one of the measures, the first of equal ones, and return its place."""
        place = int(np.where(self._free, self._gains[measure], -np.inf).argmax())
        self._free[place] = False
        closer = np.flatnonzero(self._kernel[place] > self._covered)
        before = self._uncovered(closer)
        self._covered[closer] = self._kernel[place, closer]
        self._gains -= self._weights[:, closer] @ (before - self._uncovered(closer))
        return place

    def _uncovered(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """How much better `(r, n)` each text would cover some than they are covered."""
        return np.asarray(np.maximum(self._kernel[rows] - self._covered[rows, None], 0), np.float32)


def _squared(
    points: Points, lengths: NDArray[np.float32], others: Points, their_lengths: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Squared distances `(n, m)`."""
    distances: NDArray[np.float32] = points @ (-2 * others.T)
    distances += lengths[:, None]
    distances += their_lengths
    np.maximum(distances, 0, out=distances)
    return distances


def _kernel(squared: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    return np.asarray(np.exp(-squared / np.float32(width)), np.float32)
