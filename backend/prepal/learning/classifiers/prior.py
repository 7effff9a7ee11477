"""What is believed about the classifier's weights before any label: how they vary, and where they lie."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.float16 import Vectors, as_float32

# Directions in which texts differ a lot tell classes apart more often than those in which they hardly do. A weight's
# standard deviation grows with this power of the texts' variance; benchmarks/RESULTS.md has others.
SPREAD_POWER = 0.75
# More classes lie in more directions of the space, so fewer directions may be favoured: SPREAD_POWER up to 7 choices,
# a quarter at 64.
_SPREAD_BY_CLASSES = 2.0
# Directions that hold less of the variance than this count as holding this much: below it is rounding.
_LEAST_SHARE = 1e-6
_CHUNK_ROWS = 16384

# From labelled vectors `(m, d)` and their labels `(m,)` to weights `(d + 1, k)`: a belief that some labels shape, and
# that is therefore formed anew wherever a classifier learns from other ones, as when some are held out.
Belief = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float64]]


def spread_power(n_classes: int) -> float:
    """Return the power of the texts' variance that suits so many choices."""
    return min(SPREAD_POWER, _SPREAD_BY_CLASSES / math.sqrt(n_classes))


@dataclass(frozen=True)
class Prior:
    """A Gaussian over the weights: vectors are moved by `centre` and mapped by `shape`, there it is the standard one.

    Attributes:
        centre: `(d,)` float32, the mean of the texts.
        shape: `(d, d)` float32; mapped vectors have a mean squared length of 1.
        mean: `(d + 1, k)` float64 weights of plain vectors, the intercepts last, or the belief that forms them; None
            for zero.
    """

    centre: NDArray[np.float32]
    shape: NDArray[np.float32]
    mean: NDArray[np.float64] | Belief | None = None

    @classmethod
    def of(cls, vectors: Vectors, power: float = SPREAD_POWER) -> Self:
        """Return the prior that texts with these vectors `(n, d)` suggest, its mean zero.

        Empirical Bayes: the covariance of the weights is the texts' own, to the power `2 * power`.
        """
        d = vectors.shape[1]
        total, products = np.zeros(d), np.zeros((d, d))
        for start in range(0, len(vectors), _CHUNK_ROWS):
            chunk = as_float32(vectors[start : start + _CHUNK_ROWS])
            total += chunk.sum(axis=0, dtype=np.float64)
            products += chunk.T @ chunk
        centre = total / max(len(vectors), 1)
        variances, directions = np.linalg.eigh(products / max(len(vectors), 1) - np.outer(centre, centre))
        variances = np.maximum(variances, max(_LEAST_SHARE * variances.sum(), np.finfo(np.float32).tiny))
        widths = variances**power
        length = np.sqrt((variances * widths**2).sum())
        # Symmetric, so that a classifier's last solution is a good start after the texts were measured again.
        shape = (directions * (widths / length)) @ directions.T
        return cls(centre.astype(np.float32), shape.astype(np.float32))

    def mean_of(self, vectors: NDArray[np.float32], labels: NDArray[np.generic]) -> NDArray[np.float64] | None:
        """Return the mean `(d + 1, k)` for whoever learns from these labelled vectors and no others."""
        return self.mean(vectors, labels.astype(np.int64)) if callable(self.mean) else self.mean

    def map(self, vectors: Vectors) -> NDArray[np.float32]:
        """Return vectors `(n, d)` as the prior sees them: distances count in directions that matter."""
        mapped = np.asarray((as_float32(vectors) - self.centre) @ self.shape, np.float32)
        return mapped

    def fold(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return coefficients `(d + 1, k)` of mapped vectors as coefficients of plain ones."""
        weights = self.shape.astype(np.float64) @ coefficients[:-1]
        return np.vstack([weights, coefficients[-1] - self.centre @ weights])
