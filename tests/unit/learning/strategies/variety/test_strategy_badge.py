"""BADGE: k-means++ on gradients that are never made."""

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from prepal.learning.pool import Pool
from prepal.learning.strategies.variety.badge import STRATEGY


def make_pool(size: int, d: int, k: int, *, multilabel: bool, seed: int = 0) -> Pool:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(size, d)).astype(np.float32)
    probabilities = rng.uniform(size=(size, k)) if multilabel else rng.dirichlet(np.ones(k), size)
    return Pool(
        vectors, probabilities.astype(np.float32), vectors[:0], np.empty(0, np.int64), multilabel, classifier=None
    )


def gradients(pool: Pool) -> NDArray[np.float64]:
    assert pool.probabilities is not None
    p = pool.probabilities.astype(np.float64)
    predicted = p >= 0.5 if pool.multilabel else np.eye(p.shape[1])[p.argmax(axis=1)]
    return np.einsum("ik,id->ikd", p - predicted, pool.vectors).reshape(len(pool), -1)


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_k_means_plus_plus_on_the_gradients(multilabel: bool, seed: int) -> None:
    pool = make_pool(80, 7, 4, multilabel=multilabel, seed=seed)
    points = gradients(pool)
    rng = np.random.default_rng(seed)
    expected = [int((points**2).sum(axis=1).argmax())]
    while len(expected) < 20:
        distances = ((points[:, None] - points[expected]) ** 2).sum(axis=2).min(axis=1)
        expected.append(int(np.searchsorted(np.cumsum(distances), rng.random() * distances.sum(), side="right")))
    np.testing.assert_array_equal(STRATEGY.select(pool, 20, np.random.default_rng(seed)), expected)


def test_no_gradient_is_ever_made() -> None:
    pool = make_pool(4000, 64, 50, multilabel=False)
    STRATEGY.select(pool, 2, np.random.default_rng(0))
    tracemalloc.start()
    STRATEGY.select(pool, 5, np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4000 * 64 * 50 * 4 / 10


def test_texts_of_which_the_classifier_is_sure_are_all_alike() -> None:
    pool = make_pool(30, 5, 3, multilabel=False)
    assert pool.probabilities is not None
    pool.probabilities[10:] = [1, 0, 0]
    for seed in range(10):
        picks = STRATEGY.select(pool, 11, np.random.default_rng(seed))
        assert set(range(10)) < set(picks.tolist())
