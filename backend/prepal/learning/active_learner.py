"""Classifier and strategy of one project together: what the live loop and the experiments share."""

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prepal.learning import strategies
from prepal.learning.classifiers.label_names import Names
from prepal.learning.classifiers.labels import Labels
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.classifiers.network import Network
from prepal.learning.classifiers.prior import Prior, spread_power
from prepal.learning.numerics.rows import AnyVectors
from prepal.learning.numerics.threads import one_blas_thread
from prepal.learning.pool import Pool

# While texts come in, the space is measured again when there are so many times more, and once more when none came.
_MEASURE_AGAIN = 1.5
# Of larger pools so many texts are measured: it takes tenths of seconds, and more say the same.
_MEASURED_ON = 50_000
# Names that count less than this say nothing worth relying on.
_LEAST_NAME_WEIGHT = 0.1


class ActiveLearner:
    """Learns from labels, predicts, and chooses what to label next.

    Args:
        n_classes: the number of choices, k.
        strategy: a name in `strategies`.
        multilabel: whether a text may have several choices.
        name_vectors: `(k, d)` float32, the vectors of the choices' names; None to do without them, as is done anyway
            where a text may have several choices, of which names do not say how many. The first text that was given
            a choice is an example of what its name means; all labels together decide how much that counts.
        classifier: a logistic regression, or a network with one hidden layer, which has no use for names.
    """

    def __init__(
        self,
        n_classes: int,
        strategy: str,
        *,
        multilabel: bool = False,
        name_vectors: NDArray[np.float32] | None = None,
        classifier: Literal["logistic", "network"] = "logistic",
    ) -> None:
        self.n_classes = n_classes
        self.multilabel = multilabel
        self.strategy = strategies.get(strategy)
        kinds = {"logistic": LogisticRegression, "network": Network}
        self.classifier: LogisticRegression | Network = kinds[classifier](n_classes, multilabel=multilabel)
        unusable = multilabel or n_classes < 2 or classifier == "network"
        self._name_vectors = None if unusable else name_vectors
        self._prior: Prior | None = None
        self._examples: NDArray[np.floating] | None = None  # the first text of each choice, after the choice's number
        self._count = 0  # texts at the last fit
        self._measured = 0  # texts that there were when the prior was measured
        self._labelled_vectors: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._labelled: Labels = np.empty(0, np.int64)
        self.can_predict = False
        """Whether the last fit told any two texts apart."""

    @property
    def name_weight(self) -> float | None:
        """How much the names count now, as a multiple of what they say by themselves; None where they are not used."""
        if self._prior is None or self._prior.mean is None or not isinstance(self.classifier, LogisticRegression):
            return None
        return self.classifier.mean_weight

    @property
    def prior(self) -> Prior | None:
        """What the classifier believes of its weights before any label; None before the first fit."""
        return self.classifier.prior

    def fit(self, vectors: NDArray[np.float32], labels: Labels, pool: AnyVectors) -> None:
        """Learn from all labels so far.

        Args:
            vectors: `(m, d)`, of the labelled texts, in the order in which they were labelled.
            labels: `(m,)` int64, or `(m, k)` bool if multilabel.
            pool: `(n, d)`, of the texts without a label.

        Raises:
            NothingToLearn: the labels do not tell any two texts apart; nothing is predicted until they do.
        """
        self._labelled_vectors, self._labelled = vectors, labels
        self.can_predict = False
        self._measure(vectors, pool)
        self._understand_names(vectors, labels, pool)
        self.classifier.prior = self._prior
        self.classifier.fit(vectors, labels)
        self.can_predict = True

    def predict_proba(self, vectors: AnyVectors) -> NDArray[np.float32] | None:
        """Return the probability `(n, k)` of each choice, or None while nothing can be predicted."""
        return self.classifier.predict_proba(vectors) if self.can_predict else None

    def select(
        self, pool: AnyVectors, n: int, rng: np.random.Generator, probabilities: NDArray[np.float32] | None = None
    ) -> NDArray[np.int64]:
        """Return the `(min(n, len(pool)),)` places in the pool to be labelled next, best first.

        Args:
            pool: `(n, d)`, of the texts without a label.
            n: how many to choose.
            rng: decides where the strategy leaves a choice.
            probabilities: what `predict_proba` said of the pool, if it was asked already.
        """
        seen = Pool(
            vectors=pool,
            probabilities=self.predict_proba(pool) if probabilities is None else probabilities,
            labelled_vectors=self._labelled_vectors.reshape(-1, pool.shape[1]),
            labelled=self._labelled,
            multilabel=self.multilabel,
            classifier=self.classifier if self.can_predict else None,
            prior=self._prior,
            knows_names=(self.name_weight or 0.0) >= _LEAST_NAME_WEIGHT,
        )
        with one_blas_thread():
            return self.strategy.select(seen, n, rng)

    def _measure(self, vectors: NDArray[np.float32], pool: AnyVectors) -> None:
        count, before = len(vectors) + len(pool), self._count
        self._count = count
        none_came = count == before and count != self._measured
        if count < 2 or not (none_came or count >= _MEASURE_AGAIN * self._measured):
            return
        self._measured = count
        self._prior = prior_of(vectors, pool, self.n_classes)
        self._examples = None

    def _understand_names(self, vectors: NDArray[np.float32], labels: Labels, pool: AnyVectors) -> None:
        """Ask the names anew when the space was measured, or other texts are the choices' first ones."""
        if self._prior is None or self._name_vectors is None:
            return
        choices, first = np.unique(np.asarray(labels, np.int64), return_index=True)
        examples = np.column_stack([choices, vectors[first]])
        if self._examples is not None and np.array_equal(examples, self._examples):
            return
        self._examples = examples
        self._prior = replace(self._prior, mean=Names(self._name_vectors, pool))


def prior_of(
    vectors: NDArray[np.float32],
    pool: AnyVectors,
    n_classes: int,
    name_vectors: NDArray[np.float32] | None = None,
    *,
    multilabel: bool = False,
) -> Prior | None:
    """Return what a classifier of a project believes before any label, None with fewer than two texts.

    It is what an `ActiveLearner` believes after its first fit, and depends on nothing else.

    Args:
        vectors: `(m, d)`, of the labelled texts.
        pool: `(n, d)`, of the texts without a label.
        n_classes: the number of choices, k.
        name_vectors: `(k, d)`, of the choices' names; None to do without them.
        multilabel: whether a text may have several choices, where names are not used.
    """
    if len(vectors) + len(pool) < 2:
        return None
    part = pool[:: math.ceil(max(len(pool), 1) / _MEASURED_ON)]
    with one_blas_thread():
        texts = np.concatenate([vectors.astype(pool.dtype), part]) if len(vectors) else part
        prior = Prior.of(texts, spread_power(n_classes))
    if name_vectors is None or multilabel or n_classes < 2:
        return prior
    return replace(prior, mean=Names(name_vectors, pool))
