"""Classifier and strategy of one project together: what the live loop and the experiments share."""

import numpy as np
from numpy.typing import NDArray

from prepal.learning import strategies
from prepal.learning.classifier import Labels, LogisticRegression, Vectors
from prepal.learning.strategies.base import Pool


class ActiveLearner:
    """Learns from labels, predicts, and chooses what to label next.

    Args:
        n_classes: the number of choices, k.
        strategy: a name in `strategies`.
        multilabel: whether a text may have several choices.
        classifier: "logistic_regression" or "network".
        name_vectors: `(k, d)` float32, the vectors of the choices' names; None to do without them.
    """

    def __init__(
        self,
        n_classes: int,
        strategy: str,
        *,
        multilabel: bool = False,
        classifier: str = "logistic_regression",
        name_vectors: NDArray[np.float32] | None = None,
    ) -> None:
        del classifier, name_vectors
        self.multilabel = multilabel
        self.strategy = strategies.get(strategy)
        self.classifier = LogisticRegression(n_classes, multilabel=multilabel)
        self._labelled_vectors: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._labelled: Labels = np.empty(0, np.int64)
        self._can_predict = False

    def fit(self, vectors: NDArray[np.float32], labels: Labels, pool: Vectors) -> None:
        """Learn from all labels so far.

        Args:
            vectors: `(m, d)`, of the labelled texts.
            labels: `(m,)` int64, or `(m, k)` bool if multilabel.
            pool: `(n, d)`, of the texts without a label.

        Raises:
            NothingToLearn: the labels do not tell any two texts apart; nothing is predicted until they do.
        """
        del pool
        self._labelled_vectors, self._labelled = vectors, labels
        self._can_predict = False
        self.classifier.fit(vectors, labels)
        self._can_predict = True

    def predict_proba(self, vectors: Vectors) -> NDArray[np.float32] | None:
        """Return the probability `(n, k)` of each choice, or None while nothing can be predicted."""
        return self.classifier.predict_proba(vectors) if self._can_predict else None

    def select(self, pool: Vectors, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the `(min(n, len(pool)),)` places in the pool to be labelled next, best first."""
        seen = Pool(
            vectors=pool,
            probabilities=self.predict_proba(pool),
            labelled_vectors=self._labelled_vectors,
            labelled=self._labelled,
            multilabel=self.multilabel,
            classifier=self.classifier if self._can_predict else None,
        )
        return self.strategy.select(seen, n, rng)
