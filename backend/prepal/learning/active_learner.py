"""Classifier and strategy of one project together: what the live loop and the experiments share."""

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prepal.learning import strategies
from prepal.learning.classifier import Labels, LogisticRegression, NothingToLearn, Vectors
from prepal.learning.float16 import as_float32
from prepal.learning.label_names import name_weights
from prepal.learning.network import Network
from prepal.learning.prior import Prior, spread_power
from prepal.learning.strategies.base import Pool
from prepal.learning.threads import one_blas_thread

# While texts come in, the space is measured again when there are so many times more, and once more when none came.
_MEASURE_AGAIN = 1.5
# Of larger pools, so many texts are measured: it takes tenths of seconds, and more say the same.
_MEASURED_ON = 50_000
# How much the names count, as a multiple of what they say by themselves, is tried out on the labels when there are so
# many, and again whenever there are so many times more, on a part of the labels at most so large.
_NAME_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)
_LEAST_LABELS, _TRY_AGAIN, _MOST_LABELS = 10, 1.2, 200
_FOLDS = 5
# A single surprise may not decide how much the names count: every choice is as likely as this at least.
_DOUBT = 0.05


class ActiveLearner:
    """Learns from labels, predicts, and chooses what to label next.

    Args:
        n_classes: the number of choices, k.
        strategy: a name in `strategies`.
        multilabel: whether a text may have several choices.
        name_vectors: `(k, d)` float32, the vectors of the choices' names; None to do without them, as is done anyway
            where a text may have several choices, of which names do not say how many.
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
        self._name_weight = 1.0
        unusable = multilabel or n_classes < 2 or classifier == "network"
        self._name_vectors = None if unusable else name_vectors
        self._names: NDArray[np.float64] | None = None
        self._prior: Prior | None = None
        self._count = 0  # texts at the last fit
        self._measured = 0  # texts that there were when the prior was measured
        self._tried = 0  # labels that the weight of the names rests on
        self._labelled_vectors: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._labelled: Labels = np.empty(0, np.int64)
        self.can_predict = False
        """Whether the last fit told any two texts apart."""

    @property
    def name_weight(self) -> float | None:
        """How much the names count now, as a multiple of what they say by themselves; None where they are not used."""
        return None if self._names is None else self._name_weight

    @property
    def prior(self) -> Prior | None:
        """What the classifier believes of its weights before any label; None before the first fit."""
        return self.classifier.prior

    def fit(self, vectors: NDArray[np.float32], labels: Labels, pool: Vectors) -> None:
        """Learn from all labels so far.

        Args:
            vectors: `(m, d)`, of the labelled texts.
            labels: `(m,)` int64, or `(m, k)` bool if multilabel.
            pool: `(n, d)`, of the texts without a label.

        Raises:
            NothingToLearn: the labels do not tell any two texts apart; nothing is predicted until they do.
        """
        self._labelled_vectors, self._labelled = vectors, labels
        self.can_predict = False
        with one_blas_thread():
            self._measure(vectors, pool)
        self.classifier.prior = self._prior_with(self._name_weight)
        self.classifier.fit(vectors, labels)
        self.can_predict = True

    def weigh_names(self) -> None:
        """Decide how much the names count from the next fit on, when there are enough more labels than the last time.

        Apart from `fit`, because it takes many fits: the live loop does it when nobody waits.
        """
        m = len(self._labelled)
        if self._names is None or m < max(_LEAST_LABELS, _TRY_AGAIN * self._tried):
            return
        self._tried = m
        part = np.random.default_rng(0).permutation(m)[:_MOST_LABELS]
        self._name_weight = max(_NAME_WEIGHTS, key=lambda weight: self._likelihood(weight, part))

    def predict_proba(self, vectors: Vectors) -> NDArray[np.float32] | None:
        """Return the probability `(n, k)` of each choice, or None while nothing can be predicted."""
        return self.classifier.predict_proba(vectors) if self.can_predict else None

    def select(
        self, pool: Vectors, n: int, rng: np.random.Generator, probabilities: NDArray[np.float32] | None = None
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
            knows_names=self._names is not None and self._name_weight > 0,
        )
        with one_blas_thread():
            return self.strategy.select(seen, n, rng)

    def _measure(self, vectors: NDArray[np.float32], pool: Vectors) -> None:
        count, before = len(vectors) + len(pool), self._count
        self._count = count
        none_came = count == before and count != self._measured
        if count < 2 or not (none_came or count >= _MEASURE_AGAIN * self._measured):
            return
        self._measured = count
        part = as_float32(pool[:: math.ceil(max(len(pool), 1) / _MEASURED_ON)])
        texts = np.concatenate([vectors, part]) if len(vectors) else part
        power = spread_power(self.n_classes)
        self._prior = Prior.of(texts, power)
        if self._name_vectors is not None:
            self._names = name_weights(texts, self._name_vectors)

    def _prior_with(self, name_weight: float) -> Prior | None:
        if self._prior is None or self._names is None:
            return self._prior
        return replace(self._prior, mean=self._names * name_weight)

    def _likelihood(self, name_weight: float, part: NDArray[np.int64]) -> float:
        """How little held-back labels surprise a classifier of the others, if names count so much."""
        vectors, labels = self._labelled_vectors[part], self._labelled[part]
        fold = np.arange(len(part)) % _FOLDS
        classifier = LogisticRegression(self.n_classes, prior=self._prior_with(name_weight))
        total = 0.0
        for held_back in range(_FOLDS):
            test = fold == held_back
            probabilities = classifier.fit(vectors[~test], labels[~test]).predict_proba(vectors[test])
            right = probabilities[np.arange(int(test.sum())), labels[test]]
            total += float(np.log((1 - _DOUBT) * right + _DOUBT / self.n_classes).sum())
        return total


__all__ = ["ActiveLearner", "NothingToLearn"]
