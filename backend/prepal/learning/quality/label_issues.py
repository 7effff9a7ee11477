"""Finds labels that are probably wrong."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifiers import decisions
from prepal.learning.classifiers.labels import Labels
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.classifiers.prior import Prior
from prepal.learning.quality.folds import deal

LEAST_LABELS = 20  # with fewer, a classifier that contradicts a label is more often wrong than the label
LEAST_PER_CLASS = 2  # different texts: one to learn from and one to hold back
_RANKING = "self_confidence"


@dataclass(frozen=True)
class SecondOpinion:
    """What a classifier of the other labels makes of each of n labels.

    Attributes:
        suspected: `(m,)` int64, places of labels that are probably wrong, most suspicious first.
        probabilities: `(n, k)` float64, of each choice; NaN for labels that were not judged.
    """

    suspected: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def second_opinion(
    vectors: NDArray[np.float32],
    labels: Labels,
    n_classes: int,
    *,
    multilabel: bool = False,
    prior: Prior | None = None,
    groups: NDArray[np.int64] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> SecondOpinion:
    """Return what a classifier of the other labels believes, and which labels it is too sure to be wrong.

    Northcutt, Jiang & Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels (2021), by cleanlab. Labels
    of choices that cannot be cross-validated, because fewer than `LEAST_PER_CLASS` labels have them, are never
    suspected; if multilabel, nor is the absence of such a choice, nor a choice that almost all labels have.

    Args:
        vectors: `(n, d)`, in the order in which they were labelled.
        labels: `(n,)` int64, or `(n, k)` bool if multilabel.
        n_classes: the number of choices, k.
        multilabel: whether a text may have several choices.
        prior: the classifier's.
        groups: `(n,)`, the same number for equal texts, which are held back together; None if all are different.
        folds: into how many parts the labels are split; at least 2.
        seed: of the split.

    With fewer than `LEAST_LABELS` labels none is judged.
    """
    truth = decisions.marks(labels, n_classes)
    groups = np.arange(len(labels)) if groups is None else groups
    known = _apart(truth, groups) >= LEAST_PER_CLASS
    if multilabel:
        known &= _apart(~truth, groups) >= LEAST_PER_CLASS
    places = np.arange(len(labels)) if multilabel else np.flatnonzero(truth[:, known].any(axis=1))
    believed: NDArray[np.float64] = np.full(truth.shape, np.nan)
    if len(places) < LEAST_LABELS or known.sum() < (1 if multilabel else 2):
        return SecondOpinion(np.empty(0, np.int64), believed)

    classifier = LogisticRegression(n_classes, multilabel=multilabel, prior=prior)
    fold = deal(truth[places][:, known], groups[places], folds, np.random.default_rng(seed))
    probabilities = _held_out(classifier, vectors[places], labels[places], fold)
    believed[places] = probabilities
    contradicted = _contradicted(truth[places][:, known], probabilities[:, known], multilabel=multilabel)
    return SecondOpinion(places[contradicted], believed)


def _held_out(
    classifier: LogisticRegression, vectors: NDArray[np.float32], labels: Labels, fold: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the probabilities `(n, k)` that the classifier of the other folds gives each of the texts."""
    probabilities = np.empty((len(labels), classifier.n_classes))
    for held_back in np.unique(fold):
        test = fold == held_back
        classifier.fit(vectors[~test], labels[~test])
        probabilities[test] = classifier.predict_proba(vectors[test])
    return probabilities


def _contradicted(
    truth: NDArray[np.bool_], probabilities: NDArray[np.float64], *, multilabel: bool
) -> NDArray[np.int64]:
    """Return places `(m,)` of texts whose label is probably wrong, most suspicious first; both are `(n, k)`."""
    # It brings scikit-learn and pandas, which whoever learns needs not have loaded before there are labels.
    from cleanlab.filter import find_label_issues
    from cleanlab.multilabel_classification.filter import find_label_issues as find_multilabel_issues

    if truth.shape[1] == 1:  # cleanlab knows this as a choice between two
        truth, probabilities = np.hstack([~truth, truth]), np.hstack([1 - probabilities, probabilities])
    elif multilabel:
        given = [np.flatnonzero(row).tolist() for row in truth]
        found = find_multilabel_issues(given, probabilities, return_indices_ranked_by=_RANKING, n_jobs=1)
        return np.asarray(found, np.int64)
    probabilities = probabilities + np.finfo(np.float32).tiny  # a row of zeros has no share
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found = find_label_issues(truth.argmax(axis=1), probabilities, return_indices_ranked_by=_RANKING, n_jobs=1)
    return np.asarray(found, np.int64)


def _apart(truth: NDArray[np.bool_], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many different texts have each of k choices, `(k,)`."""
    _, group = np.unique(groups, return_inverse=True)
    has = np.zeros((group.max(initial=-1) + 1, truth.shape[1]), bool)
    np.logical_or.at(has, group, truth)
    return np.asarray(has.sum(axis=0))
