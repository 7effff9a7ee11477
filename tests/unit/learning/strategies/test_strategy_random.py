import numpy as np

from prepal.learning.pool import Pool
from prepal.learning.strategies.random import STRATEGY


def test_every_text_is_as_likely_as_any_other() -> None:
    vectors = np.zeros((10, 2), np.float32)
    pool = Pool(vectors, None, vectors[:0], np.empty(0, np.int64), multilabel=False)
    rng = np.random.default_rng(0)
    counts = np.bincount(np.concatenate([STRATEGY.select(pool, 3, rng) for _ in range(2000)]), minlength=10)
    assert (abs(counts - 600) < 5 * np.sqrt(600 * 0.7)).all()


def test_the_classifier_makes_no_difference() -> None:
    vectors = np.zeros((50, 2), np.float32)
    sure = np.repeat(np.array([[1, 0]], np.float32), 50, axis=0)
    pools = [Pool(vectors, p, vectors[:0], np.empty(0, np.int64), multilabel=False) for p in (None, sure)]
    first, second = (STRATEGY.select(pool, 5, np.random.default_rng(1)) for pool in pools)
    np.testing.assert_array_equal(first, second)
