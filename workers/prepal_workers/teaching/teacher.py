"""A teacher: the live loop's classifier of some labels, and what it believes of texts without one.

Where a model learnt from the same labels before, the two believe together: they see other features, and what one does
not know the other may. Blum & Mitchell, Combining Labeled and Unlabeled Data with Co-Training (1998); Hinton et al.,
Distilling the Knowledge in a Neural Network (2015).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax

from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.decisions import marks
from prepal.learning.classifiers.labels import Labels, NothingToLearn
from prepal.learning.quality.folds import deal
from prepal_workers.labelled.fields import Text
from prepal_workers.teaching.vectors import Seen
from prepal_workers.training.beliefs import Beliefs
from prepal_workers.training.measures import LEAST_PROBABILITY, fit_temperature, logits_of

# Into so many parts the labels are dealt, of which each says once how sure a classifier of the others may be.
_PARTS = 5
# With fewer audit tasks, which say what holds for all texts, all labels say it.
_LEAST_AUDITS = 30


@dataclass(frozen=True)
class Teacher:
    """What one set of labels says of other texts.

    Attributes:
        seen: the vectors of n texts with a label, of m others, and of the labels' names.
        labels: `(n,)` int64, or `(n, k)` bool where a text may have several.
        groups: `(n,)`, the same for texts that say the same.
        audits: `(n,)` bool, which of the n were drawn at random.
        k: how many labels there are.
        seed: decides what is dealt.
    """

    seen: Seen
    labels: Labels
    groups: NDArray[np.int64]
    audits: NDArray[np.bool_]
    k: int
    seed: int

    def logits(
        self,
        places: NDArray[np.int64],
        vectors: NDArray[np.float32],
        student: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Logits `(a, k)` of the texts asked, by the labels at some places, and as sure as is right.

        Args:
            places: of the labels that may be learnt from.
            vectors: `(a, d)`, of the texts that are asked.
            student: logits `(a, k)` of a model that learnt from some of these labels; it counts as the classifier does.

        Raises:
            NothingToLearn: the labels do not tell any two texts apart.
        """
        logits = self._logits(places, vectors) / self._temperature(places)
        if student is not None:
            logits = (_normal(logits, several=self._several) + _normal(student, several=self._several)) / 2
        return np.asarray(logits, np.float32)

    @property
    def _several(self) -> bool:
        return self.labels.ndim == 2

    def _logits(self, places: NDArray[np.int64], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        learner = ActiveLearner(self.k, "random", multilabel=self._several, name_vectors=self.seen.names)
        learner.fit(self.seen.labelled[places], self.labels[places], self.seen.others)
        said = learner.predict_proba(vectors)
        assert said is not None
        return logits_of(said, several=self._several)

    def _temperature(self, places: NDArray[np.int64]) -> float:
        """What to divide the classifier's logits by, as labels say that it did not learn from."""
        labels = self.labels[places]
        parts = deal(marks(labels, self.k), self.groups[places], _PARTS, np.random.default_rng(self.seed))
        logits = np.zeros((len(places), self.k), np.float32)
        asked: NDArray[np.bool_] = np.zeros(len(places), bool)
        for part in np.unique(parts):
            held_out = parts == part
            try:
                logits[held_out] = self._logits(places[~held_out], self.seen.labelled[places[held_out]])
            except NothingToLearn:
                continue
            asked = asked | held_out
        audits = asked & self.audits[places]
        if audits.sum() >= _LEAST_AUDITS:
            asked = audits
        return fit_temperature(logits[asked], labels[asked]) if asked.any() else 1.0


def draw(logits: NDArray[np.float32], texts: Sequence[Text], most: int, *, several: bool, seed: int) -> Beliefs:
    """Beliefs of so many texts at most, of each believed label as many as are likely to have it, and surer ones more.

    Args:
        logits: `(m, k)`, what the teacher says of the texts.
        texts: the m texts.
        most: how many are drawn.
        several: whether a text may have several labels.
        seed: decides among them.
    """
    probabilities = np.asarray(expit(logits) if several else softmax(logits, axis=1), np.float32)
    sure = np.maximum(probabilities, 1 - probabilities).mean(axis=1) if several else probabilities.max(axis=1)
    # Efraimidis & Spirakis, Weighted random sampling with a reservoir (2006).
    order = np.argsort(-np.log(1 - np.random.default_rng(seed).random(len(texts))) / sure, kind="stable")
    if not several:
        believed, likely = probabilities.argmax(axis=1)[order], probabilities.sum(axis=0)
        rank = np.empty(len(order), np.int64)
        for label in range(len(likely)):
            rank[believed == label] = np.arange((believed == label).sum())
        # The first of a label are the first of what each label may have.
        order = order[np.argsort((rank + 1) / np.maximum(likely, LEAST_PROBABILITY)[believed], kind="stable")]
    places = np.sort(order[:most])
    return Beliefs([texts[place] for place in places], probabilities[places], sure[places].astype(np.float32))


def _normal(logits: NDArray[np.float32], *, several: bool) -> NDArray[np.floating]:
    return logits if several else log_softmax(logits, axis=1)
