"""Suspected labels against labels that were made wrong on purpose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prepal.learning.classifiers.prior import Prior
from prepal.learning.quality.label_issues import LEAST_LABELS, second_opinion

WRONG = 0.08


def blobs(rng: np.random.Generator, n: int, k: int, d: int = 16) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % k
    return (3 * np.eye(d)[labels] + 0.6 * rng.normal(size=(n, d))).astype(np.float32), labels


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("with_prior", [False, True])
def test_planted_wrong_labels_come_first(k: int, with_prior: bool) -> None:
    rng = np.random.default_rng(k)
    vectors, labels = blobs(rng, 300, k)
    planted = rng.choice(300, int(WRONG * 300), replace=False)
    labels[planted] = (labels[planted] + rng.integers(1, k, len(planted))) % k
    found = second_opinion(vectors, labels, k, prior=Prior.of(vectors) if with_prior else None).suspected
    first = found[: len(planted)]
    assert np.isin(first, planted).mean() >= 0.8
    assert np.isin(planted, found).mean() >= 0.8
    assert len(set(found)) == len(found)


def test_planted_wrong_choices_come_first_where_several_may_be_right() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((300, 4)) < 0.4
    vectors = (3 * labels @ rng.normal(size=(4, 16)) + 0.6 * rng.normal(size=(300, 16))).astype(np.float32)
    planted = rng.choice(300, int(WRONG * 300), replace=False)
    labels[planted, rng.integers(4, size=len(planted))] ^= True
    found = second_opinion(vectors, labels, 4, multilabel=True).suspected
    assert np.isin(found[: len(planted)], planted).mean() >= 0.8


@pytest.mark.parametrize("multilabel", [False, True])
def test_labels_that_are_right_are_hardly_suspected(multilabel: bool) -> None:
    vectors, labels = blobs(np.random.default_rng(1), 200, 3)
    given = np.eye(3, dtype=bool)[labels] if multilabel else labels
    assert len(second_opinion(vectors, given, 3, multilabel=multilabel).suspected) <= 2


def test_too_few_labels_are_not_judged() -> None:
    vectors, labels = blobs(np.random.default_rng(2), LEAST_LABELS, 2)
    labels[0] = 1
    assert list(second_opinion(vectors, labels, 2).suspected) == [0]
    few = second_opinion(vectors[:-1], labels[:-1], 2)
    assert few.suspected.shape == (0,)
    assert few.suspected.dtype == np.int64
    assert np.isnan(few.probabilities).all()


def test_a_choice_with_a_single_label_is_never_suspected() -> None:
    vectors, labels = blobs(np.random.default_rng(3), 60, 3)
    labels[7] = 4  # looks like choice 1
    labels[8] = 1  # looks like choice 2
    assert list(second_opinion(vectors, labels, 6).suspected) == [8]


def test_a_choice_with_two_labels_is_judged_by_the_other_one() -> None:
    vectors, labels = blobs(np.random.default_rng(4), 60, 3)
    rare = np.array([5, 50])
    vectors[rare] = 0
    vectors[rare, 10] = 3
    labels[rare] = 3
    for seed in range(5):
        assert not np.isin(rare, second_opinion(vectors, labels, 4, seed=seed).suspected).any()


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 50),
    k=st.integers(1, 8),
    folds=st.integers(2, 10),
    multilabel=st.booleans(),
    with_mean=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_labels_give_distinct_places(
    n: int, k: int, folds: int, multilabel: bool, with_mean: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 4)).astype(np.float32)
    often = rng.random(k) ** 4
    labels = rng.random((n, k)) < often if multilabel else rng.choice(k, n, p=often / often.sum())
    prior = Prior(np.zeros(4, np.float32), np.eye(4, dtype=np.float32), 3 * rng.normal(size=(5, k)))
    ask = {"multilabel": multilabel, "folds": folds, "prior": prior if with_mean else None}
    opinion = second_opinion(vectors, labels, k, **ask)
    found, judged = opinion.suspected, ~np.isnan(opinion.probabilities[:, 0])
    assert judged[found].all()
    assert np.isfinite(opinion.probabilities[judged]).all()
    assert opinion.probabilities.shape == (n, k)
    assert found.dtype == np.int64
    assert len(set(found)) == len(found) <= n
    assert ((found >= 0) & (found < n)).all()
    np.testing.assert_array_equal(found, second_opinion(vectors, labels, k, **ask).suspected)
