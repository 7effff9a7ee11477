"""Estimates the classifier's accuracy, from audit tasks alone."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifier import LogisticRegression, NothingToLearn
from prepal.learning.prior import Prior

MIN_AUDIT_TASKS = 5  # below it the interval is so wide that a number would only mislead
Z_95 = 1.959964  # the normal quantile of a two-sided 95 % interval


@dataclass(frozen=True)
class Accuracy:
    """The accuracy on all texts, as far as the audit tasks tell.

    Attributes:
        estimate: the part of the audit tasks that was predicted right.
        low: lower end of its 95 % interval.
        high: upper end.
        macro_f1: the mean F1 over the choices that audit tasks have or were predicted to have.
        audit_tasks: how many there were.
    """

    estimate: float
    low: float
    high: float
    macro_f1: float
    audit_tasks: int


def estimate_accuracy(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64] | NDArray[np.bool_],
    is_audit: NDArray[np.bool_],
    n_classes: int,
    *,
    multilabel: bool = False,
    folds: int = 5,
    prior: Prior | None = None,
    seed: int = 0,
) -> Accuracy | None:
    """Cross-validate: each fold of audit tasks is predicted by a classifier of all labels but theirs.

    A strategy picks texts that are hard, so accuracy on them says little about the others; audit tasks were drawn
    uniformly. They are few, hence Wilson's interval (Probable Inference, 1927), which also holds near 0 and 1.

    Args:
        vectors: `(n, d)`.
        labels: `(n,)` int64, or `(n, k)` bool if multilabel. Then a task's accuracy is the part of its k choices that
            is predicted right, present or absent, and the interval counts tasks, which is cautious.
        is_audit: `(n,)`.
        n_classes: the number of choices, k.
        multilabel: whether a text may have several choices.
        folds: into how many parts the audit tasks are split, at most one each.
        prior: the classifier's.
        seed: of the split.

    Returns:
        None with fewer than `MIN_AUDIT_TASKS` audit tasks, or when a fold leaves nothing to learn from.
    """
    audit_rows = np.random.default_rng(seed).permutation(np.flatnonzero(is_audit))
    if len(audit_rows) < MIN_AUDIT_TASKS:
        return None
    truth = np.asarray(labels, bool) if multilabel else labels[:, None] == np.arange(n_classes)
    predicted = np.zeros(truth.shape, bool)
    classifier = LogisticRegression(
        n_classes, multilabel=multilabel, prior=prior
    )  # each fold starts from the one before
    for held_out in np.array_split(audit_rows, min(folds, len(audit_rows))):
        kept = np.ones(len(labels), bool)
        kept[held_out] = False
        try:
            classifier.fit(vectors[kept], labels[kept])
        except NothingToLearn:
            return None
        probabilities = classifier.predict_proba(vectors[held_out])
        if multilabel:
            predicted[held_out] = probabilities >= 0.5
        else:
            predicted[held_out, probabilities.argmax(axis=1)] = True

    truth, predicted = truth[is_audit], predicted[is_audit]
    right = (truth == predicted).mean(axis=1) if multilabel else (truth & predicted).any(axis=1)
    low, high = _wilson_interval(float(right.mean()), len(right))
    return Accuracy(float(right.mean()), low, high, _macro_f1(truth, predicted), len(right))


def _wilson_interval(share: float, n: int) -> tuple[float, float]:
    centre = share + Z_95**2 / (2 * n)
    reach = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    scale = 1 + Z_95**2 / n
    return max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale)


def _macro_f1(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """Return the mean over the columns of `(n, k)` that have anything in them; 1 if none has."""
    mentions = truth.sum(axis=0) + predicted.sum(axis=0)
    used = mentions > 0
    if not used.any():
        return 1.0
    return float((2 * (truth & predicted).sum(axis=0)[used] / mentions[used]).mean())
