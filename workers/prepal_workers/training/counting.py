"""Fits a model of word counts on labels, and on beliefs of other texts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.learning.classifiers.decisions import marks
from prepal.learning.classifiers.labels import Labels
from prepal_workers.labelled.fields import Text
from prepal_workers.model.word_counts import WORD_COUNTS, WordCounts
from prepal_workers.training.beliefs import Beliefs
from prepal_workers.training.recipe import Recipe, Wishes
from prepal_workers.training.training import Trained

# Labels are surer than beliefs, and count so many times.
_REPEATS = 3


def check_wishes(wishes: Wishes) -> None:
    """Refuse what only makes sense where a network is trained.

    Raises:
        PrepalError: there is such a wish.
    """
    for name, value in vars(wishes).items():
        if value is not None:
            option = "--" + name.replace("_", "-")
            raise PrepalError(f"{WORD_COUNTS} is fitted, not trained, and has no {option}: leave it out.")


def count_words(
    texts: Sequence[Text],
    labels: Labels,
    n_classes: int,
    *,
    unlabelled: Sequence[Text] = (),
    beliefs: Beliefs | None = None,
) -> Trained:
    """Fit a model of word counts.

    Args:
        texts: n texts, or pairs of texts.
        labels: `(n,)` int64, or `(n, k)` bool where a text may have several classes.
        n_classes: k.
        unlabelled: texts without a label, which say which words there are.
        beliefs: what else is learnt from.

    Raises:
        PrepalError: no word occurs in two texts.
    """
    learnt, targets = [*texts], marks(labels, n_classes).astype(np.float32)
    repeats = 1 if beliefs is None else _REPEATS
    weights: NDArray[np.float32] = np.full(len(texts), repeats, np.float32)
    if beliefs is not None:
        learnt += beliefs.texts
        targets, weights = np.vstack([targets, beliefs.targets]), np.concatenate([weights, beliefs.weights])
    model = WordCounts.fit(learnt, targets, weights, others=unlabelled, multilabel=labels.ndim == 2)
    recipe = Recipe(learning_rate=0.0, epochs=0, batch_size=0, method="logistic", repeats=repeats)
    return Trained(model, recipe, best_epoch=0)
