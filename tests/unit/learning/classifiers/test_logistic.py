"""The classifier against scikit-learn, and against itself from another start."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression as Reference

from prepal.learning.classifiers.labels import NothingToLearn
from prepal.learning.classifiers.logistic import INTERCEPT_PENALTY, MEAN_DEVIATION, LogisticRegression
from prepal.learning.classifiers.prior import Prior
from prepal.learning.numerics.float16 import as_float32
from prepal.learning.numerics.threads import CHUNK_ROWS


def unit_vectors(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    vectors = rng.normal(size=(n, d)) + 0.5
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def labels_of(rng: np.random.Generator, vectors: np.ndarray, k: int) -> np.ndarray:
    logits = 6 * vectors @ rng.normal(size=(vectors.shape[1], k)) + rng.gumbel(size=(len(vectors), k))
    labels = logits.argmax(axis=1)
    labels[:k] = np.arange(k)
    return labels.astype(np.int64)


def reference(vectors: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, c: float = 10.0) -> Reference:
    return Reference(C=c, solver="newton-cg", tol=1e-12, max_iter=10_000).fit(
        vectors.astype(np.float64), labels, weights
    )


@pytest.mark.parametrize(
    ("n", "d", "k", "c"), [(60, 8, 2, 10.0), (200, 16, 5, 10.0), (30, 64, 3, 0.5), (300, 4, 8, 100.0)]
)
def test_it_agrees_with_scikit_learn(n: int, d: int, k: int, c: float) -> None:
    rng = np.random.default_rng(n)
    vectors = unit_vectors(rng, n, d)
    labels = labels_of(rng, vectors, k)
    weights = rng.uniform(0.2, 3.0, n)
    fresh = unit_vectors(rng, 500, d)
    for used in (None, weights):
        ours = LogisticRegression(k, C=c).fit(vectors, labels, used).predict_proba(fresh)
        np.testing.assert_allclose(ours, reference(vectors, labels, used, c).predict_proba(fresh), atol=1e-5)


def test_several_choices_agree_with_one_scikit_learn_classifier_each() -> None:
    rng = np.random.default_rng(1)
    vectors = unit_vectors(rng, 150, 12)
    labels = vectors @ rng.normal(size=(12, 4)) + 0.1 * rng.normal(size=(150, 4)) > [0, 0.1, -0.2, 0.4]
    assert (labels.any(axis=0) & ~labels.all(axis=0)).all()
    fresh = unit_vectors(rng, 300, 12)
    ours = LogisticRegression(4, multilabel=True).fit(vectors, labels).predict_proba(fresh)
    theirs = np.column_stack([reference(vectors, column).predict_proba(fresh)[:, 1] for column in labels.T])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(4, 60),
    d=st.integers(1, 24),
    k=st.integers(2, 6),
    scale=st.sampled_from([1e-3, 1.0, 10.0]),
    c=st.sampled_from([0.01, 1.0, 10.0, 1000.0]),
    multilabel=st.booleans(),
    weighted=st.booleans(),
)
@example(seed=2, n=4, d=13, k=2, scale=10.0, c=1000.0, multilabel=True, weighted=True)
def test_a_warm_fit_finds_what_a_cold_one_finds(
    seed: int, n: int, d: int, k: int, scale: float, c: float, multilabel: bool, weighted: bool
) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit_vectors(rng, n, d) * np.float32(scale)
    labels = rng.random((n, k)) < 0.4 if multilabel else rng.integers(k, size=n)
    other = rng.permutation(labels)
    if multilabel:
        labels[0, 0] = other[0, 0] = True
    else:
        labels[:2] = other[:2] = 0, 1
    weights = rng.exponential(size=n) + 0.01 if weighted else None
    fresh = unit_vectors(rng, 100, d) * np.float32(scale)

    cold = LogisticRegression(k, multilabel=multilabel, C=c).fit(vectors, labels, weights)
    warm = LogisticRegression(k, multilabel=multilabel, C=c).fit(vectors[: n // 2 + 2], other[: n // 2 + 2])
    warm.fit(vectors, other).fit(vectors, labels, weights)
    np.testing.assert_allclose(warm.predict_proba(fresh), cold.predict_proba(fresh), atol=1e-5)


def test_a_choice_that_nobody_used_has_probability_zero() -> None:
    rng = np.random.default_rng(2)
    vectors = unit_vectors(rng, 40, 8)
    labels = np.where(np.arange(40) % 2, 6, 3)
    classifier = LogisticRegression(8).fit(vectors, labels)
    probabilities = classifier.predict_proba(vectors)
    assert classifier.classes_seen.tolist() == [False, False, False, True, False, False, True, False]
    assert (probabilities[:, ~classifier.classes_seen] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)


def test_a_choice_can_come_and_go_between_warm_fits() -> None:
    rng = np.random.default_rng(3)
    vectors = unit_vectors(rng, 60, 8)
    labels = labels_of(rng, vectors, 4)
    two = np.minimum(labels, 1)
    classifier = LogisticRegression(4)
    for wanted in (two, labels, two):
        warm = classifier.fit(vectors, wanted).predict_proba(vectors)
        np.testing.assert_allclose(warm, LogisticRegression(4).fit(vectors, wanted).predict_proba(vectors), atol=1e-5)


@pytest.mark.parametrize(("k", "multilabel"), [(2, False), (5, False), (3, True)])
def test_how_much_the_mean_of_the_prior_counts_is_learnt_with_the_rest(k: int, multilabel: bool) -> None:
    rng = np.random.default_rng(k)
    vectors = unit_vectors(rng, 60, 8)
    mean = np.vstack([4 * rng.normal(size=(8, k)), np.zeros(k)])
    offsets = vectors @ mean[:-1]
    for sign in (1, -1):
        truth = offsets * sign > 0 if multilabel else (sign * offsets).argmax(axis=1)
        targets = truth if multilabel else truth[:, None] == np.arange(k)
        prior = Prior(np.zeros(8, np.float32), np.eye(8, dtype=np.float32), mean)
        classifier = LogisticRegression(k, multilabel=multilabel, prior=prior)
        assert classifier.fit(vectors[:0], truth[:0]).mean_weight == 1.0
        warm = classifier.fit(vectors[:30], truth[:30]).fit(vectors, truth)

        def loss(flat: np.ndarray, targets: np.ndarray = targets) -> float:
            w, u = flat[:-1].reshape(9, k), flat[-1]
            logits = (1 + MEAN_DEVIATION * u) * offsets + vectors @ w[:-1] + w[-1]
            if multilabel:
                losses = np.logaddexp(0, logits) - targets * logits
            else:
                losses = logsumexp(logits, axis=1) - logits[targets]
            penalties = (w[:-1] ** 2).sum() + INTERCEPT_PENALTY * (w[-1] ** 2).sum() + u**2
            return float(10 * losses.sum() + penalties / 2)

        best = minimize(loss, np.zeros(9 * k + 1), method="BFGS", options={"gtol": 1e-4})
        assert warm.mean_weight == pytest.approx(1 + MEAN_DEVIATION * best.x[-1], abs=1e-3)
        assert (warm.mean_weight > 1) == (sign == 1)
        cold = LogisticRegression(k, multilabel=multilabel, prior=prior).fit(vectors, truth)
        np.testing.assert_allclose(warm.predict_proba(vectors), cold.predict_proba(vectors), atol=1e-5)


def test_another_encoder_means_a_cold_start() -> None:
    rng = np.random.default_rng(4)
    classifier = LogisticRegression(3)
    for d in (8, 12):
        vectors = unit_vectors(rng, 30, d)
        assert classifier.fit(vectors, labels_of(rng, vectors, 3)).predict_proba(vectors).shape == (30, 3)


def test_a_label_of_weight_zero_counts_as_absent() -> None:
    rng = np.random.default_rng(5)
    vectors = unit_vectors(rng, 30, 6)
    labels = labels_of(rng, vectors, 3)
    labels[20:] = 2
    labels[:20] %= 2
    weights = (np.arange(30) < 20).astype(float)
    classifier = LogisticRegression(3).fit(vectors, labels, weights)
    assert classifier.classes_seen.tolist() == [True, True, False]


def test_a_choice_that_every_label_has_is_likely_but_not_certain() -> None:
    rng = np.random.default_rng(6)
    vectors = unit_vectors(rng, 8, 4)
    labels = np.column_stack([np.ones(8, bool), np.zeros(8, bool), np.arange(8) % 2 == 0])
    classifier = LogisticRegression(3, multilabel=True).fit(vectors, labels)
    probabilities = classifier.predict_proba(vectors)
    np.testing.assert_allclose(probabilities[:, 0], 0.9, atol=1e-6)
    np.testing.assert_allclose(probabilities[:, 1], 0.1, atol=1e-6)
    assert classifier.classes_seen.tolist() == [True, False, True]


def test_labels_that_tell_nothing_apart_are_refused() -> None:
    vectors = np.ones((3, 2), np.float32)
    with pytest.raises(NothingToLearn, match="needs labels of two different choices, but there is 1"):
        LogisticRegression(3).fit(vectors, np.array([1, 1, 1]))
    with pytest.raises(NothingToLearn, match="but there is 0"):
        LogisticRegression(3).fit(vectors[:0], np.array([], np.int64))
    with pytest.raises(NothingToLearn, match="none of the 3 labels has a choice"):
        LogisticRegression(3, multilabel=True).fit(vectors, np.zeros((3, 3), bool))


@pytest.mark.parametrize(
    ("vectors", "labels", "weights", "message"),
    [
        (np.ones((3, 2)), np.array([0, 1]), None, r"labels must be \(3,\), but they are \(2,\)"),
        (np.ones((2, 2)), np.array([0, 3]), None, "must lie in 0 … 2, but they reach from 0 to 3"),
        (np.array([[np.nan], [1.0]]), np.array([0, 1]), None, "not finite"),
        (np.ones((2, 2)), np.array([0, 1]), np.array([1.0, -1.0]), "2 finite numbers that are not negative"),
    ],
)
def test_wrong_arguments_are_named(
    vectors: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LogisticRegression(3).fit(vectors.astype(np.float32), labels, weights)


def test_prediction_before_any_fit_says_so() -> None:
    with pytest.raises(ValueError, match="call fit first"):
        LogisticRegression(3).predict_proba(np.ones((1, 2), np.float32))


def test_prediction_with_another_encoders_vectors_says_so() -> None:
    classifier = LogisticRegression(2).fit(np.eye(2, dtype=np.float32), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"must be \(n, 2\), but they are \(4, 3\)"):
        classifier.predict_proba(np.ones((4, 3), np.float32))


@pytest.mark.parametrize("n", [0, 1, CHUNK_ROWS, 3 * CHUNK_ROWS + 7])
@pytest.mark.parametrize("multilabel", [False, True])
def test_prediction_is_the_same_in_one_chunk_and_in_many(n: int, multilabel: bool) -> None:
    rng = np.random.default_rng(7)
    vectors = unit_vectors(rng, 50, 6)
    single = labels_of(rng, vectors, 3)
    labels = np.eye(3, dtype=bool)[single] if multilabel else single
    classifier = LogisticRegression(3, multilabel=multilabel).fit(vectors, labels)
    pool = unit_vectors(rng, n, 6).astype(np.float16)
    probabilities = classifier.predict_proba(pool)
    assert probabilities.shape == (n, 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_array_equal(probabilities, classifier.predict_proba(pool.astype(np.float32)))
    for place in range(0, n, 1000):
        np.testing.assert_allclose(
            classifier.predict_proba(pool[place : place + 1])[0], probabilities[place], atol=1e-6
        )


def test_extreme_vectors_give_probabilities_all_the_same() -> None:
    rng = np.random.default_rng(8)
    vectors = unit_vectors(rng, 40, 5) * np.float32(1000)
    vectors[3] = 0
    probabilities = LogisticRegression(3).fit(vectors, labels_of(rng, vectors, 3)).predict_proba(vectors * 10)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)


def test_another_process_goes_on_from_the_state() -> None:
    rng = np.random.default_rng(9)
    vectors = unit_vectors(rng, 50, 6)
    classifier = LogisticRegression(4).fit(vectors, labels_of(rng, vectors, 4))
    other = LogisticRegression(4)
    other.set_state(classifier.get_state())
    np.testing.assert_array_equal(other.predict_proba(vectors), classifier.predict_proba(vectors))
    np.testing.assert_array_equal(other.classes_seen, classifier.classes_seen)
    with pytest.raises(ValueError, match="4 choices, not 5"):
        LogisticRegression(5).set_state(classifier.get_state())


def test_a_fit_leaves_the_state_of_an_earlier_one_alone() -> None:
    rng = np.random.default_rng(10)
    vectors = unit_vectors(rng, 50, 6)
    classifier = LogisticRegression(3).fit(vectors[:20], labels_of(rng, vectors[:20], 3))
    state = classifier.get_state()
    before = {name: array.copy() for name, array in state.items()}
    classifier.fit(vectors, labels_of(rng, vectors, 3))
    for name, array in before.items():
        np.testing.assert_array_equal(state[name], array)


def test_a_fit_takes_a_small_part_of_scikit_learns_time() -> None:
    rng = np.random.default_rng(11)
    vectors = unit_vectors(rng, 500, 128)
    labels = labels_of(rng, vectors, 6)
    classifier = LogisticRegression(6).fit(vectors[:-1], labels[:-1])

    def cpu_s(fit: Callable[[], object]) -> float:
        start = time.process_time()
        fit()
        return time.process_time() - start

    ours = min(cpu_s(lambda: classifier.fit(vectors, labels)) for _ in range(3))
    theirs = min(cpu_s(lambda: Reference(C=10, max_iter=1000).fit(vectors, labels)) for _ in range(3))
    assert ours < theirs


def test_float16_becomes_float32_exactly() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    np.testing.assert_array_equal(as_float32(finite), finite.astype(np.float32))
    np.testing.assert_array_equal(as_float32(finite[::2]), finite[::2].astype(np.float32))
    float32 = np.ones(3, np.float32)
    assert as_float32(float32) is float32
