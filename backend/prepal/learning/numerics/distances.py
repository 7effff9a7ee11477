"""Distances from all texts of a pool to a few, in one pass over the vectors and in little memory."""

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.float16 import as_float32
from prepal.learning.numerics.rows import AnyVectors
from prepal.learning.numerics.threads import by_chunks


class SquaredDistances:
    """Squared Euclidean distances from each of `(n, d)` vectors."""

    def __init__(self, vectors: AnyVectors) -> None:
        self.vectors = vectors
        self.lengths = np.empty(len(vectors), np.float32)

        def measure(rows: slice) -> None:
            chunk = as_float32(vectors[rows])
            self.lengths[rows] = np.einsum("ij,ij->i", chunk, chunk)

        by_chunks(len(vectors), measure)

    def products(self, others: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the inner products `(m, n)` with other vectors `(m, d)`."""
        products = np.empty((len(others), len(self.vectors)), np.float32)

        def multiply(rows: slice) -> None:
            products[:, rows] = others @ as_float32(self.vectors[rows]).T

        by_chunks(len(self.vectors), multiply)
        return products

    def to_row(self, row: int) -> NDArray[np.float32]:
        """Return the distances `(n,)` to one of the vectors themselves."""
        products = self.products(as_float32(self.vectors[row : row + 1]))[0]
        return np.asarray(np.maximum(self.lengths + self.lengths[row] - 2 * products, 0), np.float32)

    def to_nearest(self, others: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the distances `(n,)` to the nearest of other vectors `(m, d)`, m > 0."""
        nearest = np.empty(len(self.vectors), np.float32)
        lengths = np.einsum("ij,ij->i", others, others)

        def find(rows: slice) -> None:
            nearest[rows] = (lengths[:, None] - 2 * (others @ as_float32(self.vectors[rows]).T)).min(axis=0)

        by_chunks(len(self.vectors), find)
        return np.asarray(np.maximum(nearest + self.lengths, 0), np.float32)
