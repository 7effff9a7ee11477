"""Estimates the classifier's accuracy: by audit tasks, and by how sure it is of all texts as labels bear it out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.adapting import softened
from prepal.learning.classifiers import decisions
from prepal.learning.classifiers.labels import Labels, NothingToLearn
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.classifiers.prior import Prior
from prepal.learning.numerics.rows import AnyVectors
from prepal.learning.quality.bearing_out import Judged, accuracy_on_all
from prepal.learning.quality.folds import deal
from prepal.learning.quality.interval import independent

MIN_AUDIT_TASKS = 5  # below it nothing but the classifier's own word would speak for it


@dataclass(frozen=True)
class Accuracy:
    """The accuracy on all texts of the project that people label, as far as the labels tell.

    Attributes:
        estimate: the part that is predicted right; of several choices, all and no other.
        low: lower end of its 95 % interval.
        high: upper end.
        macro_f1: the mean F1 over the choices that audit tasks have or were predicted to have.
        audit_tasks: how many there were.
        audit_right: the part of these that was predicted right.
    """

    estimate: float
    low: float
    high: float
    macro_f1: float
    audit_tasks: int
    audit_right: float


def estimate_accuracy(
    vectors: NDArray[np.float32],
    labels: Labels,
    is_audit: NDArray[np.bool_],
    pool: AnyVectors,
    n_classes: int,
    *,
    multilabel: bool = False,
    folds: int = 10,
    prior: Prior | None = None,
    groups: NDArray[np.int64] | None = None,
    judging: NDArray[np.bool_] | None = None,
    temperature: float = 1.0,
    seed: int = 0,
) -> Accuracy | None:
    """Cross-validate, and see how far that bears out what the classifier expects of all texts.

    A strategy picks texts that are hard, so accuracy on them says little about the others; audit tasks were drawn
    uniformly from all. They are few, so what the classifier expects of all texts is asked too, and put right by how
    right it was (`bearing_out`); there, equal texts count once. Whatever labels shape, such as the prior's belief, is
    formed anew in each fold, from the labels that it learns from.

    Args:
        vectors: `(n, d)`, in the order in which they were labelled.
        labels: `(n,)` int64, or `(n, k)` bool if multilabel.
        is_audit: `(n,)`.
        pool: `(p, d)`, of the texts without a label; a part of many.
        n_classes: the number of choices, k.
        multilabel: whether a text may have several choices.
        folds: into how many parts the labels are split, at most one each.
        prior: the classifier's.
        groups: `(n,)`, the same number for equal texts, which are held out together; None if all are different.
        judging: `(n,)`, which labels may judge, because the encoder has not learnt from them; None: all.
        temperature: what the logits of predictions are to be divided by.
        seed: of the split.

    Returns:
        None with fewer than `MIN_AUDIT_TASKS` audit tasks that may judge, or when a fold leaves nothing to learn from.
    """
    judging = np.ones(len(labels), bool) if judging is None else judging
    is_audit = is_audit & judging
    if is_audit.sum() < MIN_AUDIT_TASKS:
        return None
    groups = np.arange(len(labels)) if groups is None else groups
    truth, each = decisions.marks(labels, n_classes), decisions.how_many(labels)
    predicted: NDArray[np.bool_] = np.zeros(truth.shape, bool)
    confidence = np.zeros(len(labels))
    places = np.flatnonzero(judging)
    parts = min(folds, len(places))
    fold = deal(truth[places], groups[places], parts, np.random.default_rng(seed))
    # Each fold starts from the one before, and who learnt from all from the last one.
    classifier = LogisticRegression(n_classes, multilabel=multilabel, prior=prior)

    def believed(texts: AnyVectors) -> NDArray[np.float32]:
        return softened(classifier.predict_proba(texts), temperature, multilabel=multilabel)

    try:
        for part in range(parts):
            held_out = places[fold == part]
            if len(held_out):
                kept = ~np.isin(groups, groups[held_out])
                classifier.fit(vectors[kept], labels[kept])
                probabilities = believed(vectors[held_out])
                predicted[held_out] = decisions.decide(probabilities, each)
                confidence[held_out] = decisions.confidences(probabilities, each)
        expected = confidence[places]
        if len(pool):
            classifier.fit(vectors, labels)
            expected = np.append(expected, decisions.confidences(believed(pool), each))
    except NothingToLearn:
        return None
    right = decisions.right(predicted, truth)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weight = 1 / sizes[group]
    drawn, chosen = (Judged(confidence[of], right[of], weight[of]) for of in (is_audit, judging & ~is_audit))
    different = independent(groups[places]) + len(pool)
    estimate, low, high = accuracy_on_all(expected, drawn, chosen, different)
    return Accuracy(
        estimate=estimate,
        low=low,
        high=high,
        macro_f1=decisions.macro_f1(truth[is_audit], predicted[is_audit]),
        audit_tasks=int(is_audit.sum()),
        audit_right=float(right[is_audit].mean()),
    )
