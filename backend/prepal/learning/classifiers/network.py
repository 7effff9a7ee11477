"""A network with one hidden layer, in the place of the logistic regression."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from prepal.learning.classifiers.labels import Labels, NothingToLearn, check_labels
from prepal.learning.classifiers.prior import Prior
from prepal.learning.numerics.float16 import Vectors, as_float32
from prepal.learning.numerics.rows import AnyVectors
from prepal.learning.numerics.threads import CHUNK_ROWS

if TYPE_CHECKING:
    from sklearn.neural_network import MLPClassifier

HIDDEN_UNITS = 128
# So often half the squared norm of the weights is added to the sum of the log losses, as 1 / C is elsewhere. From 50 to
# 800 labels of questions and tweets, half as much was worse with many labels and twice as much with few.
PENALTY = 1.0
# Twice as many take twice as long and made predictions better by a point at most.
MAX_STEPS = 100


class Network:
    """Multilayer perceptron: linear rectifiers, then a softmax, or a sigmoid per choice where several may be right.

    Scikit-learn's, trained by L-BFGS from the same random start each time: the result does not depend on earlier fits.

    Args:
        n_classes: the number of choices, k.
        multilabel: whether a text may have several.
        prior: vectors are mapped by it. A network has no use for its mean.
    """

    def __init__(self, n_classes: int, *, multilabel: bool = False, prior: Prior | None = None) -> None:
        self.n_classes = n_classes
        self.multilabel = multilabel
        self.prior = prior
        self._network: MLPClassifier | None = None
        self._map: Prior | None = None  # the prior of the last fit
        self._dimensions = 0
        self._learnt: NDArray[np.bool_] = np.zeros(n_classes, bool)  # which choices the network tells about
        self._shares: NDArray[np.float32] = np.zeros(n_classes, np.float32)  # the probabilities of the others

    def fit(self, vectors: NDArray[np.float32], labels: Labels) -> Self:
        """Learn from labelled vectors.

        A choice that no label has gets probability 0. If multilabel, a choice that every label has, or none, gets what
        the rule of succession says: (labels with it + 1) / (labels + 2).

        Args:
            vectors: `(n, d)`, finite.
            labels: `(n,)` int64, or `(n, k)` bool if multilabel.

        Raises:
            NothingToLearn: if the labels have fewer than two choices between them (none at all if multilabel).
            ValueError: if shapes or values do not fit.
        """
        check_labels(vectors, labels, None, self.n_classes, multilabel=self.multilabel)
        targets = labels if self.multilabel else labels[:, None] == np.arange(self.n_classes)
        seen = np.asarray(targets.any(axis=0))
        if self.multilabel and not seen.any():
            raise NothingToLearn(f"There is nothing to learn from: none of the {len(labels)} labels has a choice.")
        if not self.multilabel and seen.sum() < 2:
            raise NothingToLearn(f"A classifier needs labels of two different choices, but there is {seen.sum()}.")

        self._map, self._dimensions = self.prior, vectors.shape[1]
        self._learnt = seen & ~targets.all(axis=0)
        self._shares = np.zeros(self.n_classes, np.float32)
        if self.multilabel:
            self._shares[:] = (targets.sum(axis=0) + 1) / (len(targets) + 2)
            labels = labels[:, self._learnt]
        self._network = self._train(self._mapped(vectors), labels) if self._learnt.any() else None
        return self

    def predict_proba(self, vectors: AnyVectors) -> NDArray[np.float32]:
        """Return the probability of each choice for each vector.

        Args:
            vectors: `(n, d)`, finite. Memory beyond the result stays within a few chunks, whatever n.

        Returns:
            `(n, k)` float32, in Fortran order: whoever reads it goes choice by choice. Rows sum to 1 unless multilabel.
        """
        if not self._dimensions:
            raise ValueError("The classifier has not learnt from any label yet: call fit first.")
        if vectors.ndim != 2 or vectors.shape[1] != self._dimensions:
            raise ValueError(f"Vectors must be (n, {self._dimensions}), but they are {vectors.shape}.")
        probabilities = np.empty((len(vectors), self.n_classes), np.float32, order="F")
        probabilities[:] = self._shares
        network = self._network
        if network is None:
            return probabilities

        def predict_chunk(start: int) -> None:
            rows = slice(start, start + CHUNK_ROWS)
            predicted = network.predict_proba(self._mapped(vectors[rows]))
            # Where one choice was learnt of several that may be right, scikit-learn tells of its absence, too.
            probabilities[rows, self._learnt] = predicted[:, -self._learnt.sum() :]

        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
            for _ in threads.map(predict_chunk, range(0, len(vectors), CHUNK_ROWS)):
                pass
        return probabilities

    def _mapped(self, vectors: Vectors) -> NDArray[np.float32]:
        return as_float32(vectors) if self._map is None else self._map.map(vectors)

    def _train(self, vectors: NDArray[np.float32], labels: Labels) -> "MLPClassifier":
        # Scikit-learn is 160 MB in memory, which those who have the logistic regression do without.
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        network = MLPClassifier(HIDDEN_UNITS, solver="lbfgs", alpha=PENALTY, max_iter=MAX_STEPS, random_state=0)
        single = labels.ndim == 2 and labels.shape[1] == 1
        with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            network.fit(vectors.astype(np.float64), labels[:, 0] if single else labels)
        # L-BFGS needs float64; prediction does not, and is twice as fast without.
        network.coefs_ = [c.astype(np.float32) for c in network.coefs_]
        network.intercepts_ = [c.astype(np.float32) for c in network.intercepts_]
        return network
