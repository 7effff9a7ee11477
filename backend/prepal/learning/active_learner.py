"""Classifier and strategy of one project together: what the live loop and the experiments share."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prepal.learning import strategies
from prepal.learning.classifier import Labels, LogisticRegression, NothingToLearn, Vectors
from prepal.learning.label_names import name_weights
from prepal.learning.prior import SPREAD_POWER, Prior
from prepal.learning.strategies.base import Pool

# More classes lie in more directions of the space, so fewer directions may be favoured: SPREAD_POWER up to 7 choices,
# a quarter at 64.
_SPREAD_BY_CLASSES = 2.0
# The space is measured again when there are so many times more texts.
_MEASURE_AGAIN = 1.5
# How much the names count, as a multiple of what they say by themselves, is tried out on the labels when there are so
# many, and again whenever there are so many times more, on a part of the labels at most so large.
_NAME_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)
_LEAST_LABELS, _TRY_AGAIN, _MOST_LABELS = 10, 1.2, 300
_FOLDS = 5
# A single surprise may not decide how much the names count: every choice is as likely as this at least.
_DOUBT = 0.02


class ActiveLearner:
    """Learns from labels, predicts, and chooses what to label next.

    Args:
        n_classes: the number of choices, k.
        strategy: a name in `strategies`.
        multilabel: whether a text may have several choices.
        name_vectors: `(k, d)` float32, the vectors of the choices' names; None to do without them, as is done anyway
            where a text may have several choices, of which names do not say how many.
    """

    def __init__(
        self,
        n_classes: int,
        strategy: str,
        *,
        multilabel: bool = False,
        name_vectors: NDArray[np.float32] | None = None,
    ) -> None:
        self.n_classes = n_classes
        self.multilabel = multilabel
        self.strategy = strategies.get(strategy)
        self.classifier = LogisticRegression(n_classes, multilabel=multilabel)
        self.name_weight = 1.0
        """How much the names count now, as a multiple of what they say by themselves."""
        self._name_vectors = None if multilabel or n_classes < 2 else name_vectors
        self._names: NDArray[np.float64] | None = None
        self._prior: Prior | None = None
        self._measured = 0  # texts that the prior rests on
        self._tried = 0  # labels that the weight of the names rests on
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
        self._labelled_vectors, self._labelled = vectors, labels
        self._can_predict = False
        self._measure(vectors, pool)
        if self._names is not None and len(labels) >= max(_LEAST_LABELS, _TRY_AGAIN * self._tried):
            self.name_weight = self._best_name_weight()
            self._tried = len(labels)
        self.classifier.prior = self._prior_with(self.name_weight)
        self.classifier.fit(vectors, labels)
        self._can_predict = True

    def predict_proba(self, vectors: Vectors) -> NDArray[np.float32] | None:
        """Return the probability `(n, k)` of each choice, or None while nothing can be predicted."""
        return self.classifier.predict_proba(vectors) if self._can_predict else None

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
            classifier=self.classifier if self._can_predict else None,
            prior=self._prior,
            knows_names=self._names is not None,
        )
        return self.strategy.select(seen, n, rng)

    def _measure(self, vectors: NDArray[np.float32], pool: Vectors) -> None:
        texts = len(vectors) + len(pool)
        if texts < max(2, _MEASURE_AGAIN * self._measured):
            return
        self._measured = texts
        everything = pool if len(pool) > len(vectors) else np.concatenate([vectors, pool.astype(np.float32)])
        power = min(SPREAD_POWER, _SPREAD_BY_CLASSES / math.sqrt(self.n_classes))
        self._prior = Prior.of(everything, power)
        if self._name_vectors is not None:
            self._names = name_weights(everything, self._name_vectors)

    def _prior_with(self, name_weight: float) -> Prior | None:
        if self._prior is None or self._names is None:
            return self._prior
        return replace(self._prior, mean=self._names * name_weight)

    def _best_name_weight(self) -> float:
        """The one with which held-back labels are the least surprising."""
        m = min(len(self._labelled), _MOST_LABELS)
        order = np.random.default_rng(0).permutation(len(self._labelled))[:m]
        vectors, labels = self._labelled_vectors[order], self._labelled[order]
        fold = np.arange(m) % _FOLDS

        def likelihood(name_weight: float) -> float:
            classifier = LogisticRegression(self.n_classes, C=self.classifier.C, prior=self._prior_with(name_weight))
            total = 0.0
            for held_back in range(_FOLDS):
                test = fold == held_back
                probabilities = classifier.fit(vectors[~test], labels[~test]).predict_proba(vectors[test])
                right = probabilities[np.arange(int(test.sum())), labels[test]]
                total += float(np.log((1 - _DOUBT) * right + _DOUBT / self.n_classes).sum())
            return total

        return max(_NAME_WEIGHTS, key=likelihood)


__all__ = ["ActiveLearner", "NothingToLearn"]
