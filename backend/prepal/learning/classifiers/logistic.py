"""The classifier: a logistic regression that goes on from its last solution."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifiers.labels import Labels, NothingToLearn, check_labels
from prepal.learning.classifiers.losses import Floats, Sigmoids, Softmax
from prepal.learning.classifiers.prior import Prior
from prepal.learning.classifiers.solver import Geometry, minimise
from prepal.learning.numerics.float16 import as_float32
from prepal.learning.numerics.rows import AnyVectors
from prepal.learning.numerics.threads import by_chunks, one_blas_thread

# Geometry of this many times fewer or more labels still halves the steps, and taking it anew costs half a fit.
GEOMETRY_REACH = 1.25

# Labels that a strategy picked say little of how frequent a choice is, so they may hardly move the intercepts.
INTERCEPT_PENALTY = 10.0

# How far from 1 the weight of the prior's mean lies, as a standard deviation: labels of a few texts can turn off a mean
# that misleads. A weight for each choice was no better, and worse where there are many.
MEAN_DEVIATION = 0.5


class LogisticRegression:
    """Multinomial logistic regression, or one logistic regression per choice where several may be right.

    Minimises what scikit-learn's LogisticRegression does: C times the sum of the log losses plus half the squared norm
    of the weights, intercepts free. One choice among two is a single sigmoid, as it is there. The result does not
    depend on earlier fits: they only decide where the search starts.

    Args:
        n_classes: the number of choices, k.
        multilabel: whether a text may have several.
        C: the inverse of the regularisation; 10 suits unit vectors of sentence encoders.
        prior: of the weights. The norm that is penalised is then that of their difference to its mean, in its shape;
            and where it has a mean, how much that counts is learnt too (a hierarchical prior), intercepts are
            penalised and choices without a label stay possible.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        multilabel: bool = False,
        C: float = 10.0,  # noqa: N803
        prior: Prior | None = None,
    ) -> None:
        self.n_classes = n_classes
        self.multilabel = multilabel
        self.C = C
        self.prior = prior
        # (d + 1, k), the intercepts last: what labels add to the prior's mean; and one row more for that one's weight.
        self._learnt: Floats | None = None
        self._coefficients: Floats | None = None  # (d + 1, k), of plain vectors
        self._classes_seen: NDArray[np.bool_] = np.zeros(n_classes, bool)
        self._geometry: Geometry | None = None

    @property
    def classes_seen(self) -> NDArray[np.bool_]:
        """Which choices `(k,)` the labels of the last fit had."""
        return self._classes_seen

    @property
    def mean_weight(self) -> float:
        """How much the prior's mean counts: 1 before any label; below zero if labels say the opposite."""
        if self._learnt is None or self.prior is None or self.prior.mean is None:
            return 1.0
        return 1.0 + MEAN_DEVIATION * float(self._learnt[-1, 0])

    def fit(self, vectors: NDArray[np.float32], labels: Labels, weights: NDArray[np.floating] | None = None) -> Self:
        """Learn from labelled vectors.

        A choice that no label has gets probability 0. If multilabel, a choice that every label has, or none, gets what
        the rule of succession says: (labels with it + 1) / (labels + 2).

        Args:
            vectors: `(n, d)`, finite.
            labels: `(n,)` int64, or `(n, k)` bool if multilabel.
            weights: `(n,)`, not negative; a label of weight 0 counts as absent.

        Raises:
            NothingToLearn: if the labels have fewer than two choices between them (none at all if multilabel).
            ValueError: if shapes or values do not fit.
        """
        check_labels(vectors, labels, weights, self.n_classes, multilabel=self.multilabel)
        importance = np.ones(len(vectors)) if weights is None else weights.astype(np.float64)
        vectors, labels, importance = vectors[importance > 0], labels[importance > 0], importance[importance > 0]
        believed = None if self.prior is None else self.prior.mean_of(vectors, labels)
        seen = np.asarray(labels.any(axis=0) if self.multilabel else np.isin(np.arange(self.n_classes), labels))
        if believed is None and self.multilabel and not seen.any():
            raise NothingToLearn(f"There is nothing to learn from: none of the {len(labels)} labels has a choice.")
        if believed is None and not self.multilabel and seen.sum() < 2:
            raise NothingToLearn(f"A classifier needs labels of two different choices, but there is {seen.sum()}.")

        design = np.ones((len(vectors), vectors.shape[1] + 1))
        design[:, :-1] = vectors if self.prior is None else self.prior.map(vectors)
        start = self._learnt
        rows = design.shape[1] + (believed is not None)
        if start is None or len(start) != rows:
            start = np.zeros((rows, self.n_classes))
        with one_blas_thread():
            if believed is not None:
                offsets = vectors @ believed[:-1] + believed[-1]
                self._learnt = self._solve_around(offsets, design, labels, self.C * importance, start)
            else:
                solve = self._solve_multiple if self.multilabel else self._solve_single
                self._learnt = solve(design, labels, self.C * importance, start)
            learnt = self._learnt[: design.shape[1]]
            self._coefficients = learnt if self.prior is None else self.prior.fold(learnt)
            if believed is not None:
                self._coefficients = self._coefficients + self.mean_weight * believed
        self._classes_seen = seen if believed is None else np.ones(self.n_classes, bool)
        return self

    def predict_proba(self, vectors: AnyVectors) -> NDArray[np.float32]:
        """Return the probability of each choice for each vector.

        Args:
            vectors: `(n, d)`, finite. Memory beyond the result stays within a few chunks, whatever n.

        Returns:
            `(n, k)` float32, in Fortran order: whoever reads it goes choice by choice. Rows sum to 1 unless multilabel.
        """
        coefficients = self._fitted().astype(np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != len(coefficients) - 1:
            raise ValueError(f"Vectors must be (n, {len(coefficients) - 1}), but they are {vectors.shape}.")
        weights, intercepts = coefficients[:-1], coefficients[-1][:, None]
        if not self.multilabel:
            intercepts = np.where(self._classes_seen[:, None], intercepts, np.float32(-np.inf))
        probabilities = np.empty((self.n_classes, len(vectors)), np.float32)
        squash = _sigmoid if self.multilabel else _softmax

        def predict_chunk(rows: slice) -> None:
            chunk = as_float32(vectors[rows])
            # Rows of texts times columns of weights is what BLAS is quickest at; the transpose of the result is small.
            logits = np.ascontiguousarray((chunk @ weights).T)
            logits += intercepts
            squash(logits)
            probabilities[:, rows] = logits

        by_chunks(len(vectors), predict_chunk)
        return probabilities.T

    def get_state(self) -> dict[str, NDArray[np.generic]]:
        """Return the solution as arrays, for `set_state` of another process."""
        return {"coefficients": self._fitted(), "classes_seen": self._classes_seen}

    def set_state(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Take over a solution that `get_state` of a classifier with as many choices returned."""
        coefficients, seen = state["coefficients"], state["classes_seen"]
        if coefficients.ndim != 2 or coefficients.shape[1] != self.n_classes or seen.shape != (self.n_classes,):
            raise ValueError(
                f"The state is of a classifier with {coefficients.shape[-1]} choices, not {self.n_classes}."
            )
        self._coefficients = coefficients.astype(np.float64)
        self._learnt = None if self.prior is not None else self._coefficients
        self._classes_seen = seen.astype(bool)

    def _fitted(self) -> Floats:
        if self._coefficients is None:
            raise ValueError("The classifier has not learnt from any label yet: call fit first.")
        return self._coefficients

    def _solve_single(self, design: Floats, labels: Labels, weights: Floats, start: Floats) -> Floats:
        classes = np.unique(labels)
        targets = (labels[:, None] == classes).astype(np.float64)
        solution: Floats = np.zeros(start.shape)
        if len(classes) == 2:
            # The softmax of -z/2 and z/2 is the sigmoid of z.
            z_start = start[:, classes[1:]] - start[:, classes[:1]]
            z = minimise(Sigmoids(), design, targets[:, 1:], weights, z_start, self._near(design))
            solution[:, classes] = z * [-0.5, 0.5]
        else:
            solution[:, classes] = minimise(Softmax(), design, targets, weights, start[:, classes], self._near(design))
        return solution

    def _solve_multiple(self, design: Floats, labels: Labels, weights: Floats, start: Floats) -> Floats:
        targets = labels.astype(np.float64)
        importance = weights / self.C
        shares = (importance @ targets + 1.0) / (importance.sum() + 2.0)
        solution: Floats = np.zeros(start.shape)
        solution[-1] = np.log(shares / (1.0 - shares))
        mixed = labels.any(axis=0) & ~labels.all(axis=0)
        if mixed.any():
            solution[:, mixed] = minimise(
                Sigmoids(), design, targets[:, mixed], weights, start[:, mixed], self._near(design)
            )
        return solution

    def _solve_around(self, offsets: Floats, design: Floats, labels: Labels, weights: Floats, start: Floats) -> Floats:
        """What labels add to the prior's mean; nothing without labels."""
        if not len(design):
            return np.zeros(start.shape)
        targets = labels if self.multilabel else labels[:, None] == np.arange(self.n_classes)
        return minimise(
            Sigmoids() if self.multilabel else Softmax(),
            design,
            targets.astype(np.float64),
            weights,
            start,
            self._near(design),
            offsets=offsets,
            offset_deviation=MEAN_DEVIATION,
            intercept_penalty=INTERCEPT_PENALTY,
        )

    def _near(self, design: Floats) -> Geometry:
        known = self._geometry
        if (
            known is None
            or len(known.eigenvalues) != design.shape[1]
            or not known.rows / GEOMETRY_REACH <= len(design) <= known.rows * GEOMETRY_REACH
        ):
            known = self._geometry = Geometry.of(design)
        return known


def _softmax(logits: NDArray[np.float32]) -> None:
    """Turn logits `(k, n)` into probabilities in place."""
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)


def _sigmoid(logits: NDArray[np.float32]) -> None:
    """Turn logits `(k, n)` into probabilities in place."""
    # 1 / (1 + exp(-z)) as a tanh, which cannot overflow.
    logits *= 0.5
    np.tanh(logits, out=logits)
    logits += 1.0
    logits *= 0.5
