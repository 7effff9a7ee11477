"""CoreSet: the greedy k-centre."""

from dataclasses import replace

import numpy as np
import pytest

from prepal.learning.pool import Pool
from prepal.learning.strategies.variety.coreset import STRATEGY


def make_pool(size: int, labels: int, seed: int = 0) -> Pool:
    vectors = np.random.default_rng(seed).normal(size=(size + labels, 5)).astype(np.float32)
    return Pool(vectors[:size], None, vectors[size:], np.zeros(labels, np.int64), multilabel=False)


@pytest.mark.parametrize("seed", range(5))
def test_each_pick_is_the_farthest_from_all_labelled_and_picked_texts(seed: int) -> None:
    pool = make_pool(100, 8, seed)
    centres = list(pool.labelled_vectors)
    expected = []
    for _ in range(30):
        distances = np.linalg.norm(pool.vectors[:, None] - np.array(centres), axis=2).min(axis=1)
        expected.append(int(distances.argmax()))
        centres.append(pool.vectors[expected[-1]])
    np.testing.assert_array_equal(STRATEGY.select(pool, 30, np.random.default_rng(0)), expected)


def test_before_the_first_label_the_first_pick_is_any_and_the_second_the_farthest_from_it() -> None:
    pool = make_pool(40, 0)
    picks = np.array([STRATEGY.select(pool, 2, np.random.default_rng(seed)) for seed in range(60)])
    assert len(set(picks[:, 0].tolist())) > 15
    away = np.linalg.norm(pool.vectors[picks[:, 0], None] - pool.vectors, axis=2)
    np.testing.assert_array_equal(picks[:, 1], away.argmax(axis=1))


def test_copies_of_a_labelled_text_come_last() -> None:
    pool = make_pool(20, 3)
    copies = replace(pool, vectors=np.concatenate([pool.labelled_vectors, pool.vectors]))
    assert set(STRATEGY.select(copies, 20, np.random.default_rng(0))) == set(range(3, 23))
