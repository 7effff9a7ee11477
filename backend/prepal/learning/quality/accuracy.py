"""Estimates the classifier's accuracy, from audit tasks alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifiers import decisions
from prepal.learning.classifiers.labels import Labels, NothingToLearn
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.classifiers.prior import Prior
from prepal.learning.quality.folds import deal
from prepal.learning.quality.interval import independent, share_interval

MIN_AUDIT_TASKS = 5  # below it the interval is so wide that a number would only mislead


@dataclass(frozen=True)
class Accuracy:
    """The accuracy on all texts of the project that people label, as far as the audit tasks tell.

    Attributes:
        estimate: the part of the audit tasks that was predicted right; of several choices, all and no other.
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
    labels: Labels,
    is_audit: NDArray[np.bool_],
    n_classes: int,
    *,
    multilabel: bool = False,
    folds: int = 5,
    prior: Prior | None = None,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Accuracy | None:
    """Cross-validate: each fold of audit tasks is predicted by a classifier of all labels but theirs.

    A strategy picks texts that are hard, so accuracy on them says little about the others; audit tasks were drawn
    uniformly from all. They are few, hence an exact interval, which also holds near 0 and 1; equal texts count once.
    Whatever labels shape, such as the prior's belief, is formed anew in each fold, from the labels that it learns from.

    Args:
        vectors: `(n, d)`, in the order in which they were labelled.
        labels: `(n,)` int64, or `(n, k)` bool if multilabel.
        is_audit: `(n,)`.
        n_classes: the number of choices, k.
        multilabel: whether a text may have several choices.
        folds: into how many parts the audit tasks are split, at most one each.
        prior: the classifier's.
        groups: `(n,)`, the same number for equal texts, which are held out together; None if all are different.
        seed: of the split.

    Returns:
        None with fewer than `MIN_AUDIT_TASKS` audit tasks, or when a fold leaves nothing to learn from.
    """
    audits = np.flatnonzero(is_audit)
    if len(audits) < MIN_AUDIT_TASKS:
        return None
    groups = np.arange(len(labels)) if groups is None else groups
    truth = decisions.marks(labels, n_classes)
    predicted = np.zeros(truth.shape, bool)
    each = decisions.how_many(labels)
    parts = min(folds, len(audits))
    fold = deal(truth[audits], groups[audits], parts, np.random.default_rng(seed))
    # Each fold starts from the one before.
    classifier = LogisticRegression(n_classes, multilabel=multilabel, prior=prior)
    for part in range(parts):
        held_out = audits[fold == part]
        if not len(held_out):
            continue
        kept = ~np.isin(groups, groups[held_out])
        try:
            classifier.fit(vectors[kept], labels[kept])
        except NothingToLearn:
            return None
        predicted[held_out] = decisions.decide(classifier.predict_proba(vectors[held_out]), each)
    right = decisions.right(predicted[audits], truth[audits])
    share, different = float(right.mean()), independent(groups[audits])
    low, high = share_interval(share * different, different)
    macro_f1 = decisions.macro_f1(truth[audits], predicted[audits])
    return Accuracy(share, low, high, macro_f1, len(right))
