"""The network against the logistic regression, whose place it takes."""

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prepal.learning.classifiers.labels import NothingToLearn
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.classifiers.network import HIDDEN_UNITS, Network
from prepal.learning.classifiers.prior import Prior
from prepal.learning.numerics.threads import CHUNK_ROWS


def rings(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes that no straight line tells apart."""
    vectors = rng.normal(size=(n, 2))
    return vectors.astype(np.float32), (np.linalg.norm(vectors, axis=1) > 1.2).astype(np.int64)


def blobs(rng: np.random.Generator, n: int, k: int, d: int = 16) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % k
    return (3 * np.eye(d)[labels] + rng.normal(size=(n, d))).astype(np.float32), labels


def refusal_of(classifier: Network | LogisticRegression, vectors: np.ndarray, labels: np.ndarray) -> str | None:
    try:
        classifier.fit(vectors, labels)
    except NothingToLearn as refusal:
        return str(refusal)
    return None


def test_it_learns_what_no_straight_line_tells_apart() -> None:
    rng = np.random.default_rng(0)
    vectors, labels = rings(rng, 300)
    fresh, truth = rings(rng, 1000)
    assert (LogisticRegression(2).fit(vectors, labels).predict_proba(fresh).argmax(axis=1) == truth).mean() < 0.75
    assert (Network(2).fit(vectors, labels).predict_proba(fresh).argmax(axis=1) == truth).mean() > 0.95


@pytest.mark.parametrize("k", [2, 5])
def test_where_straight_lines_do_it_is_as_good_as_the_logistic_regression(k: int) -> None:
    rng = np.random.default_rng(k)
    vectors, labels = blobs(rng, 100, k)
    fresh, truth = blobs(rng, 1000, k)
    ours, theirs = (
        (classifier.fit(vectors, labels).predict_proba(fresh).argmax(axis=1) == truth).mean()
        for classifier in (Network(k), LogisticRegression(k))
    )
    assert ours > theirs - 0.02


@settings(max_examples=25, deadline=None)
@given(k=st.integers(2, 6), n=st.integers(2, 30), multilabel=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_it_learns_and_refuses_where_the_logistic_regression_does(k: int, n: int, multilabel: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 4)).astype(np.float32)
    often = rng.random(k) ** 2
    labels = rng.random((n, k)) < often if multilabel else rng.choice(k, n, p=often / often.sum())
    reference = LogisticRegression(k, multilabel=multilabel)
    refusal = refusal_of(reference, vectors, labels)
    network = Network(k, multilabel=multilabel)
    assert refusal_of(network, vectors, labels) == refusal
    if refusal is not None:
        return
    expected, probabilities = reference.predict_proba(vectors), network.predict_proba(vectors)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (n, k)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    if multilabel:
        constant = labels.all(axis=0) | ~labels.any(axis=0)
        np.testing.assert_allclose(probabilities[:, constant], expected[:, constant], rtol=1e-5)
    else:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        assert (probabilities[:, ~reference.classes_seen] == 0).all()


def test_several_choices_are_learnt_each_for_itself() -> None:
    rng = np.random.default_rng(1)
    vectors, outside = rings(rng, 400)
    labels = np.column_stack([outside == 1, vectors[:, 0] > 0, np.ones(400, bool)])
    probabilities = Network(3, multilabel=True).fit(vectors[:300], labels[:300]).predict_proba(vectors[300:])
    assert ((probabilities > 0.5) == labels[300:]).mean(axis=0).min() > 0.9
    alone = Network(2, multilabel=True).fit(vectors[:300], labels[:300, 1:]).predict_proba(vectors[300:])
    assert ((alone > 0.5) == labels[300:, 1:]).mean() > 0.9


def test_the_prior_maps_the_vectors_of_labels_and_texts() -> None:
    rng = np.random.default_rng(3)
    vectors, labels = blobs(rng, 90, 3)
    prior = Prior.of(vectors)
    with_mean = Prior(prior.centre, prior.shape, rng.normal(size=(17, 3)))
    ours = Network(3, prior=with_mean).fit(vectors[:60], labels[:60]).predict_proba(vectors[60:])
    mapped = prior.map(vectors)
    np.testing.assert_allclose(
        ours, Network(3).fit(mapped[:60], labels[:60]).predict_proba(mapped[60:]), rtol=1e-4, atol=1e-6
    )


def test_earlier_fits_leave_no_trace() -> None:
    rng = np.random.default_rng(4)
    vectors, labels = blobs(rng, 80, 4)
    used = Network(4).fit(vectors[:30], labels[:30] % 2).fit(vectors, labels)
    np.testing.assert_array_equal(used.predict_proba(vectors), Network(4).fit(vectors, labels).predict_proba(vectors))


def test_a_pool_is_predicted_in_chunks_whatever_its_type() -> None:
    rng = np.random.default_rng(5)
    vectors, labels = blobs(rng, 60, 3)
    network = Network(3).fit(vectors, labels)
    pool = rng.normal(size=(20 * CHUNK_ROWS + 1, 16)).astype(np.float16)
    tracemalloc.start()
    probabilities = network.predict_proba(pool)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    hidden_layer_of_a_chunk = CHUNK_ROWS * HIDDEN_UNITS * 4
    assert peak < probabilities.nbytes + 3 * hidden_layer_of_a_chunk * os.cpu_count()
    few = [0, CHUNK_ROWS - 1, CHUNK_ROWS, len(pool) - 1]
    np.testing.assert_allclose(probabilities[few], network.predict_proba(pool[few].astype(np.float32)), rtol=1e-4)
    assert network.predict_proba(pool[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: Network(3).predict_proba(np.zeros((2, 4), np.float32)), "call fit first"),
        (lambda: Network(3).fit(np.zeros((2, 4), np.float32), np.array([0, 3])), "must lie in 0 … 2"),
        (lambda: Network(3).fit(np.full((2, 4), np.nan, np.float32), np.array([0, 1])), "not finite"),
        (
            lambda: Network(2).fit(np.eye(2, dtype=np.float32), np.arange(2)).predict_proba(np.zeros((1, 3))),
            r"must be \(n, 2\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(ask: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask()


def test_who_asks_for_no_network_does_not_load_scikit_learn() -> None:
    code = "import sys, prepal.learning.active_learner; print('sklearn' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "False\n"
