"""What imported predictions, as of a language model or of rules, say of a text before anyone has labelled one."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from prepal.learning.classifiers.labels import NothingToLearn
from prepal.learning.classifiers.logistic import MEAN_DEVIATION, LogisticRegression
from prepal.learning.classifiers.prior import Belief, Prior
from prepal.learning.numerics.float16 import Vectors, as_float32

# Weak labels are wrong often, and not to be followed closely: a tenth of what suits labels.
_C = 1.0


class Teaching:
    """Weights that weak labels taught, beside a belief of another source: a `Belief` for a `Prior`.

    How much each source counts are two coefficients that labels move away from 1, as those of a prior's mean: so they
    turn off or reverse what misleads.

    Args:
        taught: `(d + 1, k)`, the intercepts last.
        other: the other source; None where there is none.
    """

    def __init__(self, taught: NDArray[np.float64], other: NDArray[np.float64] | Belief | None) -> None:
        self._taught, self._other = taught, other
        self.counts = (1.0, 1.0)
        """How much weak labels and the other source counted, by the last labels, as multiples of what each says."""

    def __call__(self, vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the weights `(d + 1, k)` for labels `(m,)` of vectors `(m, d)`."""
        if self._other is None:
            return self._taught
        other = self._other(vectors, labels) if callable(self._other) else self._other
        sources = np.stack([self._taught, other])
        counts = _counts(vectors @ sources[:, :-1] + sources[:, -1:], labels)
        self.counts = (float(counts[0]), float(counts[1]))
        return np.asarray(np.tensordot(counts, sources, 1), np.float64)


@dataclass(frozen=True)
class WeakLabels:
    """What somebody predicted of some of a project's texts, of which there is one choice each.

    Attributes:
        vectors: `(w, d)` of these texts.
        labels: `(w,)` int64, the choice of each.
    """

    vectors: Vectors
    labels: NDArray[np.int64]

    def taught(self, prior: Prior, n_classes: int) -> NDArray[np.float64]:
        """Return the weights `(d + 1, k)` of a classifier that learnt from these alone; zeros where it cannot.

        Errors without a pattern average out over many texts, and labels that tell nothing teach hardly anything.
        """
        classifier = LogisticRegression(n_classes, C=_C, prior=replace(prior, mean=None))
        try:
            classifier.fit(as_float32(self.vectors), self.labels)
        except NothingToLearn:
            return np.zeros((self.vectors.shape[1] + 1, n_classes))
        return np.asarray(classifier.get_state()["coefficients"], np.float64)


def _counts(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how much each of s sources of logits `(s, m, k)` counts, by labels `(m,)`: the likeliest numbers."""
    rows, precision = np.arange(len(labels)), MEAN_DEVIATION**-2

    def loss(counts: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        reached = np.tensordot(counts, logits, 1)
        reached -= reached.max(axis=1, keepdims=True)
        sums = np.exp(reached).sum(axis=1, keepdims=True)
        value = float((np.log(sums[:, 0]) - reached[rows, labels]).sum() + precision * ((counts - 1) ** 2).sum() / 2)
        wrong = np.exp(reached) / sums
        wrong[rows, labels] -= 1
        return value, (logits * wrong).sum(axis=(1, 2)) + precision * (counts - 1)

    return np.asarray(minimize(loss, np.ones(len(logits)), jac=True, method="BFGS").x, np.float64)
