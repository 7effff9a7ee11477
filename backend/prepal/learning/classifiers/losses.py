"""The losses of logistic regressions, with their derivatives in the logits."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reals = NDArray[np.floating]


class Loss(Protocol):
    """A convex loss of logits `(n, k)` against targets `(n, k)`, with a weight for each row `(n, 1)`."""

    def value(self, logits: Floats, targets: Floats, weights: Floats) -> tuple[float, Floats]:
        """Return the weighted sum of the losses, and the probabilities `(n, k)`."""
        ...

    def curve(self, probabilities: Reals, direction: Reals) -> Reals:
        """Multiply each row's second derivative in its logits with a direction `(n, k)`."""
        ...

    def curvature(self, probabilities: Floats, weights: Floats) -> Floats:
        """Return the weighted sum of the rows' second derivatives in their logits, `(k, k)`."""
        ...


class Softmax:
    """One choice among k: cross entropy of the softmax."""

    def value(self, logits: Floats, targets: Floats, weights: Floats) -> tuple[float, Floats]:
        """See `Loss`."""
        logits = logits - logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        totals = powers.sum(axis=1, keepdims=True)
        losses = np.log(totals) - (targets * logits).sum(axis=1, keepdims=True)
        return float(np.vdot(weights, losses)), powers / totals

    def curve(self, probabilities: Reals, direction: Reals) -> Reals:
        """See `Loss`."""
        mean = np.einsum("ij,ij->i", probabilities, direction)[:, None]
        moved: Reals = probabilities * (direction - mean)
        return moved

    def curvature(self, probabilities: Floats, weights: Floats) -> Floats:
        """See `Loss`."""
        weighted = weights * probabilities
        return np.diag(weighted.sum(axis=0)) - probabilities.T @ weighted


class Sigmoids:
    """k independent yes-or-no questions: the sum of their cross entropies."""

    def value(self, logits: Floats, targets: Floats, weights: Floats) -> tuple[float, Floats]:
        """See `Loss`."""
        powers = np.exp(-np.abs(logits))
        losses = np.maximum(logits, 0.0) - targets * logits + np.log1p(powers)
        probabilities = np.where(logits >= 0.0, 1.0, powers) / (1.0 + powers)
        return float(np.vdot(weights, losses.sum(axis=1, keepdims=True))), probabilities

    def curve(self, probabilities: Reals, direction: Reals) -> Reals:
        """See `Loss`."""
        return probabilities * (1.0 - probabilities) * direction

    def curvature(self, probabilities: Floats, weights: Floats) -> Floats:
        """See `Loss`."""
        return np.diag((weights * probabilities * (1.0 - probabilities)).sum(axis=0))
