"""Vectors that lie somewhere in a larger array are as those of an array of their own."""

import numpy as np
import pytest

from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.numerics.rows import Rows

PLACES = [slice(None), slice(10, 20), slice(0, None, 7), slice(5, 5), np.array([3, 1, 3]), np.array([], np.int64)]


@pytest.mark.parametrize("rows", [np.arange(40, 90), np.r_[40:60, 61:91], np.random.default_rng(0).permutation(100)])
def test_a_part_is_what_an_array_has_there(rows: np.ndarray) -> None:
    vectors = np.random.default_rng(1).normal(size=(100, 6)).astype(np.float16)
    lazy, array = Rows(vectors, rows), vectors[rows]
    assert (len(lazy), lazy.shape, lazy.ndim, lazy.dtype) == (len(array), array.shape, array.ndim, array.dtype)
    for places in PLACES:
        np.testing.assert_array_equal(lazy[places], array[places])
    classifier = LogisticRegression(2).fit(array.astype(np.float32), np.arange(len(array)) % 2)
    np.testing.assert_array_equal(classifier.predict_proba(lazy), classifier.predict_proba(array))
