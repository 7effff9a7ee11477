"""BADGE: texts whose gradients would be large and different from each other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.clustering import draw_by
from prepal.learning.numerics.distances import SquaredDistances
from prepal.learning.pool import Pool, draw


@dataclass(frozen=True)
class Badge:
    """Ash et al., Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds (2020).

    The gradient of the last layer is the outer product of a residual and a vector, so distances between gradients come
    from inner products of these two, and no gradient is ever made. If multilabel, the residuals are the sigmoids'.
    """

    name: str = "badge"
    multilabel: bool = True

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`; the first pick has the largest gradient, as in the authors' code."""
        n = min(n, len(pool))
        if pool.probabilities is None or n <= 0:
            return draw(len(pool), n, rng)
        residuals = _residuals(pool.probabilities, pool.multilabel)
        vectors = SquaredDistances(pool.vectors)
        lengths = vectors.lengths * np.einsum("ki,ki->i", residuals, residuals)
        picked = [int(lengths.argmax())]
        nearest = np.full(len(pool), np.inf, np.float32)
        while len(picked) < n:
            last = picked[-1]
            products = vectors.products(pool.vectors[last : last + 1].astype(np.float32))[0]
            products *= residuals[:, last] @ residuals
            np.minimum(nearest, np.maximum(lengths + lengths[last] - 2 * products, 0), out=nearest)
            nearest[picked] = 0
            picked.append(draw_by(nearest, picked, rng))
        return np.array(picked, np.int64)


def _residuals(probabilities: NDArray[np.float32], multilabel: bool) -> NDArray[np.float32]:
    """Probabilities less the predicted label, `(k, n)`."""
    residuals = np.array(probabilities.T, np.float32, order="C")
    if multilabel:
        residuals -= residuals >= 0.5
    else:
        residuals[residuals.argmax(axis=0), np.arange(residuals.shape[1])] -= 1
    return residuals


STRATEGY = Badge()
