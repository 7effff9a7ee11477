"""auto: covers the space first, then picks different texts near the boundary."""

import contextlib

import numpy as np
import pytest

from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.labels import NothingToLearn
from prepal.learning.pool import Pool
from prepal.learning.strategies import get


def blobs(count: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = np.eye(count, 8) * 5
    kind = np.repeat(np.arange(count), size)
    return (centres[kind] + 0.5 * rng.normal(size=(len(kind), 8))).astype(np.float32), kind


def test_the_first_picks_cover_every_kind_of_text() -> None:
    vectors, kind = blobs(5, 60)
    pool = Pool(vectors, None, vectors[:0], np.empty(0, np.int64), multilabel=False)
    picks = get("auto").select(pool, 5, np.random.default_rng(0))
    assert sorted(kind[picks]) == [0, 1, 2, 3, 4]


def test_later_picks_are_doubtful_and_of_different_kinds() -> None:
    vectors, kind = blobs(5, 60)
    probabilities = np.tile(np.float32([0.98, 0.02]), (len(vectors), 1))
    doubtful = np.flatnonzero(np.arange(len(vectors)) % 6 == 0)
    probabilities[doubtful] = 0.5
    pool = Pool(vectors, probabilities, vectors[:40], np.arange(40) % 2, multilabel=False)
    picks = get("auto").select(pool, 5, np.random.default_rng(0))
    assert set(picks) <= set(doubtful)
    assert len(set(kind[picks].tolist())) >= 4


def test_some_picks_are_drawn_at_random_while_labels_are_few() -> None:
    vectors, _ = blobs(5, 60)
    probabilities = np.tile(np.float32([0.98, 0.02]), (len(vectors), 1))
    probabilities[::3] = 0.5
    for labels, drawn in ((8, [False, True, False, False, False, True]), (40, [False] * 6)):
        pool = Pool(vectors, probabilities, vectors[:labels], np.arange(labels) % 2, multilabel=False)
        rounds = [get("auto").select(pool, 6, np.random.default_rng(seed)) for seed in range(10)]
        assert np.any(np.array(rounds) % 3 != 0, axis=0).tolist() == drawn


def test_with_names_doubtful_texts_come_from_the_start() -> None:
    vectors, _ = blobs(2, 60)
    names = np.eye(2, 8, dtype=np.float32)
    learner = ActiveLearner(2, "auto", name_vectors=names)
    learner.fit(vectors[:0], np.empty(0, np.int64), vectors)
    probabilities = learner.predict_proba(vectors)
    assert probabilities is not None
    picks = learner.select(vectors, 6, np.random.default_rng(0))
    margins = np.abs(probabilities[:, 0] - probabilities[:, 1])
    doubtful = margins[picks] <= np.sort(margins)[49]
    assert doubtful[[2, 4]].all()


def test_some_of_the_first_picks_check_whether_names_are_right() -> None:
    # Names that are the wrong way round are surest of all, and nothing near the boundary tells.
    vectors, kind = blobs(2, 300)
    names = np.eye(2, 8, dtype=np.float32)[::-1]
    learner = ActiveLearner(2, "auto", name_vectors=names)
    labelled = np.empty(0, np.int64)
    for _ in range(3):
        free = np.setdiff1d(np.arange(len(vectors)), labelled)
        learner.fit(vectors[labelled], kind[labelled], vectors[free])
        labelled = np.concatenate([labelled, free[learner.select(vectors[free], 10, np.random.default_rng(0))]])
    learner.fit(vectors[labelled], kind[labelled], vectors)
    assert learner.name_weight is not None
    assert learner.name_weight < 0.1
    probabilities = learner.predict_proba(vectors)
    assert probabilities is not None
    assert (probabilities.argmax(axis=1) == kind).mean() > 0.95


def label(strategy: str, vectors: np.ndarray, kind: np.ndarray, *, batch_size: int, labels: int) -> np.ndarray:
    """The texts that a strategy asked for, in order."""
    learner = ActiveLearner(int(kind.max()) + 1, strategy)
    labelled = np.empty(0, np.int64)
    while len(labelled) < labels:
        free = np.setdiff1d(np.arange(len(vectors)), labelled)
        with contextlib.suppress(NothingToLearn):
            learner.fit(vectors[labelled], kind[labelled], vectors[free])
        picks = learner.select(vectors[free], batch_size, np.random.default_rng(len(labelled)))
        labelled = np.concatenate([labelled, free[picks]])
    assert len(set(labelled.tolist())) == len(labelled)
    return labelled


@pytest.mark.parametrize("batch_size", [1, 100])
def test_a_class_that_one_text_in_a_hundred_has_is_found(batch_size: int) -> None:
    rng = np.random.default_rng(0)
    kind = (np.arange(3000) % 100 == 0).astype(np.int64)
    vectors = rng.normal(size=(3000, 16)).astype(np.float32)
    vectors[kind == 1, 0] += 4
    asked = label("auto", vectors, kind, batch_size=batch_size, labels=200)
    assert kind[asked].sum() >= 8  # of 30; at random there would be 2


def test_a_hundred_and_fifty_classes_are_met_sooner_than_at_random() -> None:
    rng = np.random.default_rng(0)
    kind = rng.choice(150, 3000, p=rng.dirichlet(np.full(150, 1.0)))
    vectors = (rng.normal(size=(150, 32))[kind] + 0.5 * rng.normal(size=(3000, 32))).astype(np.float32)
    met = {who: len(set(kind[label(who, vectors, kind, batch_size=50, labels=200)])) for who in ("auto", "random")}
    assert met["auto"] >= 1.25 * met["random"]
