"""Minimises regularised logistic losses: Newton's method, its steps found by preconditioned conjugate gradients."""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifiers.losses import Floats, Loss, Reals

logger = logging.getLogger(__name__)

# The objective is 1-strongly convex in the weights, so with a Newton decrement λ (the length of the step still to go,
# in the norm of the curvature) the probabilities of a row x are within 0.36 λ ‖x‖ of the optimum's: a cold and a warm
# fit agree to 1e-5. On sentence vectors both stop within 2e-7 of it.
DECREMENT_TOLERANCE = 5e-6
MAX_NEWTON_STEPS = 100  # ten are common from zero, four from the last solution
MAX_INNER_STEPS = 250
DIVERGED = 1e6  # how far the squared residual may rise before rounding rules; any step up to there still goes downhill
# A Newton step is solved to this part of the decrement, and more exactly near the optimum: early steps stay cheap and
# late ones converge superlinearly (Nocedal & Wright, Numerical Optimization, section 7.1).
FORCING = 0.1
SUFFICIENT_DECREASE = 1e-4  # the customary constant of Armijo's rule
MAX_HALVINGS = 40
# Up to this ratio of the largest curvature to the smallest, single precision is exact enough to find a step. Unit
# vectors stay below it up to some ten thousand labels; vectors of length 30 go beyond it with hundreds.
SINGLE_PRECISION_CONDITION = 1e6
ROUNDING = 1e-12  # the part of the objective below which a decrease drowns in rounding


@dataclass(frozen=True)
class Geometry:
    """Eigenvalues `(d,)` and eigenvectors `(d, d)` of a design's mean outer product.

    It is the part of the loss's curvature that labels do not change, so one of them serves many fits.
    """

    eigenvalues: NDArray[np.float32]
    eigenvectors: NDArray[np.float32]
    rows: int

    @classmethod
    def of(cls, design: Floats) -> Self:
        """Decompose a design `(n, d)`."""
        eigenvalues, eigenvectors = np.linalg.eigh(design.T @ design / len(design))
        return cls(np.maximum(eigenvalues, 0.0).astype(np.float32), eigenvectors.astype(np.float32), len(design))


def minimise(
    loss: Loss,
    design: Floats,
    targets: Floats,
    weights: Floats,
    start: Floats,
    geometry: Geometry,
    *,
    offsets: Floats | None = None,
    offset_deviation: float = 0.0,
    intercept_penalty: float = 0.0,
) -> Floats:
    """Return the coefficients of least `weights · loss(logits, targets) + ½‖coefficients‖²`.

    Logits are `design @ coefficients`. The design's last column is ones, and the coefficients `(d, k)` have the
    intercepts in their last row. With offsets there is one row more, k times the same number u, of which the penalty
    is ½u², and `(1 + offset_deviation * u) * offsets` is added to the logits.

    Args:
        loss: the loss and its derivatives in the logits.
        design: `(n, d)`.
        targets: `(n, k)` of 0 and 1.
        weights: `(n,)`, positive.
        start: like what is returned; decides how long it takes, never what is found.
        geometry: of this design or of one like it; it too decides only how long it takes.
        offsets: `(n, k)`, what the logits are before anything is learnt.
        offset_deviation: how far from 1 the weight of the offsets lies, as a standard deviation.
        intercept_penalty: of the intercepts, relative to that of the other coefficients.
    """
    weights = weights[:, None]
    penalty = np.ones((len(start), 1))
    penalty[design.shape[1] - 1] = intercept_penalty
    if offsets is not None:
        penalty[-1] = 1.0 / start.shape[1]
    logits = _Logits(design, None if offsets is None else offset_deviation * offsets)
    objective = _Objective(loss, logits, offsets, targets, weights, penalty)
    # Intercepts without a penalty to hold them have only the labels, and the rarest one the least.
    rarest = float(min((weights * targets).sum(axis=0).min(), (weights * (1.0 - targets)).sum(axis=0).min()))
    rarest = max(rarest, intercept_penalty)
    tolerance = DECREMENT_TOLERANCE * min(1.0, rarest) / max(1.0, logits.longest())
    # Steps are only ever corrections, so the products that find them may be single precision, at half the price; the
    # objective and its gradient, which say where the optimum is, stay double.
    condition = float(weights.sum() * geometry.eigenvalues.max())
    curvature_at = objective.curvature(np.float32 if condition < SINGLE_PRECISION_CONDITION else np.float64)

    # From a start that is sure of what the labels deny, where nothing curves, steps may lead nowhere.
    for begin in (start, np.zeros_like(start)):
        coefficients, decrement = _newton(objective, geometry, curvature_at, begin, tolerance)
        if decrement <= tolerance:
            return coefficients
    logger.warning("classifier stopped at decrement %.1e after %d Newton steps", decrement, MAX_NEWTON_STEPS)
    return coefficients


def _newton(
    objective: "_Objective",
    geometry: Geometry,
    curvature_at: Callable[[Floats], Callable[[Floats], Floats]],
    coefficients: Floats,
    tolerance: float,
) -> tuple[Floats, float]:
    """Go from coefficients down to where the decrement is small enough; returns where that is, and the decrement."""
    value, probabilities = objective.at(coefficients)
    for _ in range(MAX_NEWTON_STEPS):
        gradient = objective.gradient(coefficients, probabilities)
        precondition = objective.preconditioner(geometry, probabilities)
        decrement = max(0.0, float(np.vdot(gradient, precondition(gradient)))) ** 0.5
        if decrement <= tolerance:
            break
        residual = max(min(FORCING, decrement**0.5) * decrement, 0.25 * tolerance)
        step = _conjugate_gradients(curvature_at(probabilities), -gradient, precondition, residual)
        slope = float(np.vdot(gradient, step))
        coefficients, value, probabilities = _descend(objective, coefficients, value, step, slope)
    return coefficients, decrement


def _descend(
    objective: "_Objective", coefficients: Floats, value: float, step: Floats, slope: float
) -> tuple[Floats, float, Floats]:
    """Go along a step, halved until the objective falls far enough; returns where that leads, value and probabilities.

    Args:
        objective: what is minimised.
        coefficients: where the step begins.
        value: the objective there.
        step: like the coefficients.
        slope: of the objective along the step, below zero.
    """
    length = 1.0
    for _ in range(MAX_HALVINGS):
        new_value, probabilities = objective.at(coefficients + length * step)
        if new_value <= value + SUFFICIENT_DECREASE * length * slope + ROUNDING * abs(value):
            break
        length /= 2.0
    return coefficients + length * step, new_value, probabilities


class _Logits:
    """What coefficients add to the logits: by the design, and by what their last row's number multiplies `(n, k)`."""

    def __init__(self, design: Reals, multiplied: Reals | None) -> None:
        self._design, self._multiplied = design, multiplied
        self._columns = np.ascontiguousarray(design.T)

    def astype(self, precision: type[np.floating]) -> "_Logits":
        """Return the same in another precision."""
        multiplied = self._multiplied
        return _Logits(self._design.astype(precision), None if multiplied is None else multiplied.astype(precision))

    def longest(self) -> float:
        """Return how far a step of length 1 can move a logit."""
        squares = np.square(self._design).sum(axis=1)
        if self._multiplied is not None:
            squares += np.square(self._multiplied).max(axis=1)
        return float(np.sqrt(squares.max()))

    def of(self, coefficients: Reals) -> Reals:
        """Return the logits `(n, k)`."""
        if self._multiplied is None:
            return self._design @ coefficients
        logits: Reals = self._design @ coefficients[:-1]
        logits += coefficients[-1].mean() * self._multiplied
        return logits

    def back(self, logits: Reals) -> Reals:
        """Return the coefficients of the transposed map."""
        coefficients = self._columns @ logits
        if self._multiplied is None:
            return coefficients
        k = logits.shape[1]
        return np.vstack([coefficients, np.full(k, np.vdot(self._multiplied, logits) / k)])

    def curvature(self, loss: Loss, probabilities: Floats, weights: Floats) -> float | None:
        """Return the loss's second derivative in the last row's number; None without one."""
        if self._multiplied is None:
            return None
        return float(np.vdot(self._multiplied, weights * loss.curve(probabilities, self._multiplied)))


@dataclass(frozen=True)
class _Objective:
    """What is minimised, `weights · loss(logits, targets) + ½ penalty · coefficients²`, with its derivatives.

    Attributes:
        loss: the loss and its derivatives in the logits.
        logits: what coefficients add to the logits.
        offsets: `(n, k)`, what the logits are without; None for zeros.
        targets: `(n, k)` of 0 and 1.
        weights: `(n, 1)`.
        penalty: of each row of the coefficients, `(rows, 1)`.
    """

    loss: Loss
    logits: _Logits
    offsets: Floats | None
    targets: Floats
    weights: Floats
    penalty: Floats

    def at(self, coefficients: Floats) -> tuple[float, Floats]:
        """Return the objective, and the probabilities `(n, k)`."""
        reached = np.asarray(self.logits.of(coefficients), np.float64)
        reached = reached if self.offsets is None else reached + self.offsets
        value, probabilities = self.loss.value(reached, self.targets, self.weights)
        return value + 0.5 * float((self.penalty * coefficients**2).sum()), probabilities

    def gradient(self, coefficients: Floats, probabilities: Floats) -> Floats:
        """Return the gradient in the coefficients, where the probabilities are these."""
        found: Floats = self.logits.back(self.weights * (probabilities - self.targets)) + self.penalty * coefficients
        return found

    def curvature(self, precision: type[np.floating]) -> Callable[[Floats], Callable[[Floats], Floats]]:
        """Return what goes from probabilities to what multiplies a direction with the second derivative there."""
        quick, row_weights = self.logits.astype(precision), self.weights.astype(precision)

        def multiply(probabilities: Reals, direction: Floats) -> Floats:
            moved = self.loss.curve(probabilities, quick.of(direction.astype(precision)))
            moved *= row_weights
            curved: Floats = quick.back(moved) + self.penalty * direction
            return curved

        return lambda probabilities: functools.partial(multiply, probabilities.astype(precision))

    def preconditioner(self, geometry: Geometry, probabilities: Floats) -> Callable[[Floats], Floats]:
        """Return about the inverse of the second derivative where the probabilities are these."""
        shared = self.loss.curvature(probabilities, self.weights)
        return _preconditioner(geometry, shared, self.logits.curvature(self.loss, probabilities, self.weights))


def _preconditioner(geometry: Geometry, curvature: Floats, last: float | None) -> Callable[[Floats], Floats]:
    """Return the inverse of `1 + geometry ⊗ curvature`: the second derivative, were all rows equally uncertain.

    If there is one row of coefficients more, k times the same number, the second derivative in that is `1 + last`.
    """
    curvatures, rotation = np.linalg.eigh(curvature)
    inverse = 1.0 / (1.0 + np.outer(geometry.eigenvalues, np.maximum(curvatures, 0.0)))
    basis = geometry.eigenvectors

    def precondition(residual: Floats) -> Floats:
        shared = residual if last is None else residual[:-1]
        seen = basis.T @ (shared @ rotation).astype(np.float32)
        moved: Floats = (basis @ (seen * inverse).astype(np.float32)).astype(np.float64) @ rotation.T
        return moved if last is None else np.vstack([moved, residual[-1] * len(curvatures) / (1.0 + last)])

    return precondition


def _conjugate_gradients(
    curve: Callable[[Floats], Floats],
    target: Floats,
    precondition: Callable[[Floats], Floats],
    residual: float,
) -> Floats:
    """Return the step for which `curve(step)` is the target, up to a residual of that norm after preconditioning."""
    step = np.zeros_like(target)
    left = target
    direction = preconditioned = precondition(left)
    size = first_size = float(np.vdot(left, preconditioned))
    for _ in range(MAX_INNER_STEPS):
        curved = curve(direction)
        length = size / float(np.vdot(direction, curved))
        step += length * direction
        left = left - length * curved
        preconditioned = precondition(left)
        previous, size = size, float(np.vdot(left, preconditioned))
        if not residual**2 < size < DIVERGED * first_size:
            break
        direction = preconditioned + size / previous * direction
    return step
