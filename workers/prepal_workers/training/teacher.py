"""A teacher: the live loop's classifier of some labels, on vectors of models that learnt from the same labels.

Hinton et al., Distilling the Knowledge in a Neural Network (2015).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax

from prepal.labels.text_fields import FIELD_MARK
from prepal.learner.memory.words import lexical_vectors
from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.labels import Labels
from prepal_workers.labelled.fields import Text
from prepal_workers.model.sequence_model import Answers
from prepal_workers.training.beliefs import Beliefs
from prepal_workers.training.measures import LEAST_PROBABILITY, logits_of

# From fewer labels of each choice a classifier learns less than the models did, which knew the names, and both believe.
_LABELS_EACH = 10


def lexical_of(texts: Sequence[Text]) -> NDArray[np.float32]:
    """The lexical vectors `(n, w)` of texts, as the live loop has them."""
    (found,) = lexical_vectors([text if isinstance(text, str) else FIELD_MARK.join(text) for text in texts])
    return found


def believe(
    models: Sequence[Answers], words: NDArray[np.float32], labels: Labels, places: NDArray[np.int64], k: int
) -> NDArray[np.float32]:
    """What a teacher says `(n + m, k)` of n texts that have a label and of m that have none: logits.

    Args:
        models: what models make of all of them that learnt from the labels at `places`, and from no others.
        words: their lexical vectors `(n + m, w)`.
        labels: `(n,)` int64, or `(n, k)` bool where a text may have several.
        places: of the labels that may be learnt from.
        k: how many labels there are.

    Raises:
        NothingToLearn: the labels do not tell any two texts apart.
    """
    several = labels.ndim == 2
    # Together as long as one model's.
    vectors = np.hstack([*(model.vectors / np.float32(np.sqrt(len(models))) for model in models), words])
    # Vectors that learnt from the labels have learnt what their names say.
    learner = ActiveLearner(k, "random", multilabel=several)
    learner.fit(vectors[places], labels[places], vectors[len(labels) :])
    said = learner.predict_proba(vectors)
    assert said is not None
    logits = logits_of(said, several=several)
    if len(places) >= _LABELS_EACH * k:
        return logits
    every = [_normal(one, several=several) for one in (logits, *(model.logits for model in models))]
    return np.asarray(np.mean(every, axis=0), np.float32)


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
