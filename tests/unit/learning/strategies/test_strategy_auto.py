"""auto: covers the space first, then what is doubted, and every fourth time the space again."""

import contextlib

import numpy as np
import pytest

from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.labels import NothingToLearn
from prepal.learning.pool import Pool
from prepal.learning.strategies import get, reasons


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
    probabilities[kind < 3] = 0.5
    pool = Pool(vectors, probabilities, vectors[-41:], np.arange(41) % 2, multilabel=False)
    picks = get("auto").select(pool, 3, np.random.default_rng(0))
    assert sorted(kind[picks]) == [0, 1, 2]


def test_a_doubtful_text_that_stands_for_many_comes_before_a_doubtful_outlier() -> None:
    vectors, _ = blobs(2, 60)
    vectors[-1] = 50
    probabilities = np.tile(np.float32([0.98, 0.02]), (len(vectors), 1))
    probabilities[60:] = 0.6, 0.4
    probabilities[-1] = 0.5
    pool = Pool(vectors, probabilities, vectors[:41], np.arange(41) % 2, multilabel=False)
    (pick,) = get("auto").select(pool, 1, np.random.default_rng(0))
    assert 60 <= pick < 119


def test_every_fourth_text_is_chosen_for_what_it_covers_whatever_is_doubted() -> None:
    vectors, kind = blobs(2, 60)
    probabilities = np.tile(np.float32([0.98, 0.02]), (len(vectors), 1))
    probabilities[:60] = 0.5
    labelled = vectors[:40]
    pool = Pool(vectors[40:], probabilities[40:], labelled, np.arange(40) % 2, multilabel=False)
    picks = get("auto").select(pool, 5, np.random.default_rng(0))
    assert kind[40:][picks].tolist() == [1, 0, 0, 0, 1]


@pytest.mark.parametrize("labels", range(0, 9))
def test_what_is_said_of_a_pick_is_what_chose_it(labels: int) -> None:
    vectors, kind = blobs(2, 60)
    picked = []
    for doubted in (0, 1):
        probabilities = np.tile(np.float32([0.98, 0.02]), (len(vectors), 1))
        probabilities[kind == doubted] = 0.5
        pool = Pool(
            vectors, probabilities, np.full((labels, 8), 50, np.float32), np.arange(labels) % 2, multilabel=False
        )
        picked.append(kind[get("auto").select(pool, 1, np.random.default_rng(0))[0]])
    (reason,) = reasons(get("auto"), labels, 1, has_classifier=True)
    assert reason == ("doubt" if picked == [0, 1] else "coverage")


@pytest.mark.parametrize(("labels", "reason"), [(0, "coverage"), (1, "random"), (4, "random")])
def test_without_a_classifier_it_covers_before_any_label_and_draws_after_the_first(labels: int, reason: str) -> None:
    vectors, _ = blobs(5, 60)
    pool = Pool(vectors, None, vectors[:labels], np.zeros(labels, np.int64), multilabel=False)
    one, other = (get("auto").select(pool, 5, np.random.default_rng(seed)).tolist() for seed in (0, 1))
    assert (one == other) == (reason == "coverage")
    assert reasons(get("auto"), labels, 5, has_classifier=False) == [reason] * 5


def test_with_names_doubtful_texts_come_from_the_start() -> None:
    vectors, _ = blobs(2, 60)
    names = np.eye(2, 8, dtype=np.float32)
    learner = ActiveLearner(2, "auto", name_vectors=names)
    learner.fit(vectors[:0], np.empty(0, np.int64), vectors)
    probabilities = learner.predict_proba(vectors)
    assert probabilities is not None
    picks = learner.select(vectors, 6, np.random.default_rng(0))
    margins = np.abs(probabilities[:, 0] - probabilities[:, 1])
    # All but the first and the fifth, which are for what they cover.
    assert margins[picks[[1, 2, 3, 5]]].max() < np.median(margins)


@pytest.mark.parametrize("doubted", [1, 3, 30, 3000, 20_000])
def test_of_large_pools_the_doubtful_part_is_looked_at_however_small_it_is(doubted: int) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20_000, 6)).astype(np.float32)
    probabilities = np.tile(np.float32([1, 0]), (len(vectors), 1))
    places = rng.choice(len(vectors), doubted, replace=False)
    probabilities[places] = 0.5
    vectors[places, 0] += 20
    pool = Pool(vectors, probabilities, vectors[:1], np.zeros(1, np.int64), multilabel=False)
    for n in (3, 600):
        picks = get("auto").select(pool, n, np.random.default_rng(0))
        assert len(set(picks.tolist())) == n
        assert np.isin(picks[:3], places).sum() >= min(2, doubted)


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
