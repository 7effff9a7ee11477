"""Settles what annotators disagree on by how reliable each is, where they overlap enough to tell: CROWDLAB."""

from dataclasses import replace

import numpy as np
from cleanlab.multiannotator import get_label_quality_multiannotator
from numpy.typing import NDArray

from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.quality.folds import deal
from prepal_workers.labelled.data import LabelledData

# Measured with played annotators on two sets: with fewer tasks in common the majority is right as often, and where
# annotators hardly agree (kappa below what Landis & Koch call moderate) nothing tells which of two is the good one.
_LEAST_OVERLAPS, _LEAST_KAPPA = 100, 0.4
_FOLDS = 5
# A classifier of few labels may not rule anything out.
_DOUBT = 0.01


def overlaps_enough(data: LabelledData) -> bool:
    """Whether CROWDLAB knows better than the majority: enough tasks have several annotators, who agree often enough."""
    if data.votes is None or not data.disagreements:
        return False
    shared = data.votes[(data.votes >= 0).sum(axis=1) > 1]
    return len(shared) >= _LEAST_OVERLAPS and kappa(shared, len(data.label_names)) >= _LEAST_KAPPA


def settle_by_crowdlab(data: LabelledData, vectors: NDArray[np.float32], seed: int) -> LabelledData:
    """The same data with the labels that the votes and a classifier of the vectors make most likely.

    Goh, Tkachenko & Mueller, CROWDLAB: Supervised Learning to Infer Consensus Labels and Quality Scores for Data with
    Multiple Annotators (2022), by cleanlab. Ground truth stays, and the majority's label does where no text would have
    it any more.

    Args:
        data: labelled texts for which `overlaps_enough`.
        vectors: `(n, d)` float32, vectors of its texts.
        seed: decides the folds, by which the classifier speaks of texts that it did not learn from.
    """
    assert data.votes is not None
    given = np.asarray(data.labels, np.int64)
    voted = np.flatnonzero((data.votes >= 0).any(axis=1))
    answers = data.votes[voted]
    answers = answers[:, (answers >= 0).any(axis=0)]
    found = get_label_quality_multiannotator(
        np.where(answers >= 0, answers.astype(float), np.nan),
        _cross_validated(data, vectors, seed)[voted],
        return_detailed_quality=False,
        return_annotator_stats=False,
        verbose=False,
    )
    labels = given.copy()
    labels[voted] = found["label_quality"]["consensus_label"].to_numpy(np.int64)
    # Giving one label back can take the last text of another.
    while len(lost := np.setdiff1d(given, labels)):
        labels = np.where(np.isin(given, lost), given, labels)
    changed = int((labels != given).sum())
    note = f"CROWDLAB weighed the annotators: {changed} labels differ from the majority's."
    return replace(data, labels=labels, settled_by="CROWDLAB", notes=(*data.notes, note))


def kappa(votes: NDArray[np.int64], n_classes: int) -> float:
    """How often two annotators of a task `(n, a)` agree, beyond chance: Fleiss (1971), for any number of votes."""
    counts = (votes[:, :, None] == np.arange(n_classes)).sum(axis=1)
    each = counts.sum(axis=1)
    agreed = float(((counts * (counts - 1)).sum(axis=1) / (each * (each - 1))).mean())
    by_chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else 1.0


def _cross_validated(data: LabelledData, vectors: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """What a classifier of the other folds' majority labels says of each text, `(n, k)`."""
    labels, n_classes = np.asarray(data.labels, np.int64), len(data.label_names)
    fold = deal(data.marks, data.groups, _FOLDS, np.random.default_rng(seed))
    found = np.full((len(labels), n_classes), 1 / n_classes)
    for asked in (fold == number for number in range(_FOLDS)):
        if len(np.unique(labels[~asked])) > 1:
            classifier = LogisticRegression(n_classes).fit(vectors[~asked], labels[~asked])
            found[asked] = classifier.predict_proba(vectors[asked])
    return (1 - _DOUBT) * found + _DOUBT / n_classes
