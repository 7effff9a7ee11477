"""Finds labels that are probably wrong."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifiers import decisions
from prepal.learning.classifiers.labels import Labels, NothingToLearn
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
    """Return what a classifier of the other labels believes, and which labels are probably wrong.

    Of single labels those that it contradicts, and another one, too, which learns from none that it contradicts, so
    that wrong labels do not stand up for each other; the least likely to both first (self-confidence, of Northcutt,
    Jiang & Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, 2021). Of several labels what cleanlab
    finds. Labels of choices that cannot be cross-validated, because fewer than `LEAST_PER_CLASS` labels have them, are
    never suspected; if multilabel, nor is the absence of such a choice, nor a choice that almost all labels have.

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
    learnt: NDArray[np.bool_] = np.ones(len(places), bool)
    believed[places] = _held_out(classifier, vectors[places], labels[places], fold, learnt)
    if multilabel:
        return SecondOpinion(_found_by_cleanlab(truth[:, known], believed[:, known]), believed)
    given = np.asarray(labels[places], np.int64)
    contradicted, likely = _contradicted(given, np.where(known, believed[places], 0.0))
    # Where most labels of a choice are contradicted, too few would be left to learn from.
    of_each, lost = (np.bincount(of, minlength=n_classes) for of in (given, given[contradicted]))
    learnt = ~contradicted | (2 * lost >= of_each)[given]
    with suppress(NothingToLearn):
        again = _held_out(classifier, vectors[places], given, fold, learnt)
        by_another, likely_to_it = _contradicted(given, np.where(known, again, 0.0))
        contradicted, likely = contradicted & by_another, likely * likely_to_it
    found = np.flatnonzero(contradicted)
    return SecondOpinion(places[found[np.argsort(likely[found], kind="stable")]], believed)


def _held_out(
    classifier: LogisticRegression,
    vectors: NDArray[np.float32],
    labels: Labels,
    fold: NDArray[np.int64],
    learnt: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the probabilities `(n, k)` that the classifier of what is `learnt` of the other folds gives each text."""
    probabilities = np.empty((len(labels), classifier.n_classes))
    for held_back in np.unique(fold):
        test = fold == held_back
        classifier.fit(vectors[~test & learnt], labels[~test & learnt])
        probabilities[test] = classifier.predict_proba(vectors[test])
    return probabilities


def _contradicted(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which labels `(n,)` are not the likeliest by the probabilities `(n, k)`, and how likely each is."""
    likely = probabilities[np.arange(len(labels)), labels]
    return likely < probabilities.max(axis=1), likely


def _found_by_cleanlab(truth: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return places `(m,)` of texts whose several labels are probably wrong, most suspicious first; both `(n, k)`."""
    # It brings scikit-learn and pandas, which whoever learns needs not have loaded before there are labels.
    from cleanlab.filter import find_label_issues
    from cleanlab.multilabel_classification.filter import find_label_issues as find_multilabel_issues

    if truth.shape[1] > 1:
        given = [np.flatnonzero(row).tolist() for row in truth]
        found = find_multilabel_issues(given, probabilities, return_indices_ranked_by=_RANKING, n_jobs=1)
        return np.asarray(found, np.int64)
    # cleanlab knows this as a choice between two
    given_one, both = truth[:, 0].astype(np.int64), np.hstack([1 - probabilities, probabilities])
    return np.asarray(find_label_issues(given_one, both, return_indices_ranked_by=_RANKING, n_jobs=1), np.int64)


def _apart(truth: NDArray[np.bool_], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many different texts have each of k choices, `(k,)`."""
    _, group = np.unique(groups, return_inverse=True)
    has = np.zeros((group.max(initial=-1) + 1, truth.shape[1]), bool)
    np.logical_or.at(has, group, truth)
    return np.asarray(has.sum(axis=0))
