"""TypiClust: the most typical text of each part of the space without a label."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from prepal.learning.pool import Pool
from prepal.learning.strategies.variety.typiclust import STRATEGY

SIZES = np.array([30, 60, 40, 50, 25])


def blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Texts of five kinds, far apart."""
    kind = np.repeat(np.arange(5), SIZES)
    vectors = 20 * np.eye(5, 6)[kind] + np.random.default_rng(seed).normal(size=(len(kind), 6))
    return vectors.astype(np.float32), kind


def pool_without(vectors: np.ndarray, labelled: np.ndarray) -> Pool:
    return Pool(vectors, None, labelled, np.zeros(len(labelled), np.int64), multilabel=False)


def test_it_picks_from_clusters_without_a_label_first_and_from_the_largest_of_them() -> None:
    vectors, kind = blobs(0)
    labelled = vectors[[np.flatnonzero(kind == 1)[0], np.flatnonzero(kind == 4)[0]]]
    for seed in range(10):
        picks = STRATEGY.select(pool_without(vectors, labelled), 3, np.random.default_rng(seed))
        assert kind[picks].tolist() == [3, 2, 0]


def test_of_each_cluster_it_picks_the_text_nearest_to_its_twenty_nearest() -> None:
    vectors, kind = blobs(1)
    picks = STRATEGY.select(pool_without(vectors, vectors[:0]), 5, np.random.default_rng(0))
    assert kind[picks].tolist() == [1, 3, 2, 0, 4]
    for pick in picks:
        members = np.flatnonzero(kind == kind[pick])
        distances = np.sort(cdist(vectors[members], vectors[members]), axis=1)[:, 1:21].mean(axis=1)
        assert distances[members == pick][0] == pytest.approx(distances.min(), abs=1e-3)


def test_labelled_texts_shape_the_clusters_but_are_never_picked() -> None:
    vectors, kind = blobs(2)
    labelled = vectors[kind == 1]
    rest, kinds = vectors[kind != 1], kind[kind != 1]
    picks = STRATEGY.select(pool_without(rest, labelled[:1]), 4, np.random.default_rng(0))
    assert sorted(kinds[picks]) == [0, 2, 3, 4]
    assert len(STRATEGY.select(pool_without(rest, labelled), 200, np.random.default_rng(0))) == len(rest)


def test_a_second_text_of_a_cluster_comes_after_one_of_each() -> None:
    rng = np.random.default_rng(3)
    vectors = np.concatenate([20 * np.eye(3, 6)[kind] + rng.normal(size=(2, 6)) for kind in range(3)])
    pool = pool_without(vectors[:5].astype(np.float32), vectors[5:].astype(np.float32))
    for seed in range(5):
        picks = STRATEGY.select(pool, 5, np.random.default_rng(seed))
        assert sorted(picks.tolist()) == [0, 1, 2, 3, 4]


def test_asked_for_nothing_it_clusters_nothing() -> None:
    # Auto asks for nothing in every round once there are labels enough, and clustering a large pool takes seconds.
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    vectors, _ = blobs(1)
    assert STRATEGY.select(pool_without(vectors, vectors[:5]), 0, rng).shape == (0,)
    assert rng.bit_generator.state == before
