"""AnchorAL: a strategy on the part of the pool that is like labelled texts of every class."""

import numpy as np
import pytest

from prepal.learning.pool import Pool
from prepal.learning.strategies import get
from prepal.learning.strategies.variety.anchoral import STRATEGY, AnchorAl

D = 16


def around(direction: int, size: int, rng: np.random.Generator, spread: float = 0.08) -> np.ndarray:
    """Unit vectors near an axis."""
    vectors = np.eye(D)[direction] + spread * rng.normal(size=(size, D))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def make_pool(common: int, size: int, *, doubtful: slice) -> Pool:
    """Texts of so many common classes, 60 alike of a rare one with a single label, and 60 like no labelled text."""
    rng = np.random.default_rng(0)
    groups = [around(kind, size, rng) for kind in range(common)]
    vectors = np.concatenate([*groups, around(common, 60, rng, 0.02), -around(common + 1, 60, rng)])
    labelled = np.concatenate([*[around(kind, 30, rng) for kind in range(common)], around(common, 1, rng, 0.02)])
    labels = np.append(np.repeat(np.arange(common), 30), common)
    probabilities = np.zeros((len(vectors), common + 1), np.float32)
    probabilities[:, 0] = 1
    probabilities[doubtful] = 1 / (common + 1)
    return Pool(vectors, probabilities, labelled, labels, multilabel=False)


@pytest.mark.parametrize(("common", "size"), [(1, 3000), (9, 600)])
def test_neighbours_of_a_rare_class_are_in_the_part(common: int, size: int) -> None:
    rare = slice(common * size, common * size + 60)
    picks = STRATEGY.select(make_pool(common, size, doubtful=rare), 50, np.random.default_rng(0))
    assert ((picks >= rare.start) & (picks < rare.stop)).mean() >= 0.9


def test_texts_like_no_labelled_one_are_not_in_the_part_however_doubtful() -> None:
    pool = make_pool(1, 3000, doubtful=slice(3060, None))
    assert STRATEGY.select(pool, 50, np.random.default_rng(0)).max() < 3060
    assert get("margin").select(pool, 50, np.random.default_rng(0)).min() >= 3060


def test_where_all_texts_are_in_the_part_it_is_the_other_strategy() -> None:
    pool = make_pool(2, 20, doubtful=slice(0, 0))
    assert pool.probabilities is not None
    pool.probabilities[:] = np.random.default_rng(1).dirichlet(np.ones(3), len(pool))
    whole = AnchorAl(inner=get("entropy")).select(pool, len(pool), np.random.default_rng(0))
    np.testing.assert_array_equal(whole, get("entropy").select(pool, len(pool), np.random.default_rng(0)))
