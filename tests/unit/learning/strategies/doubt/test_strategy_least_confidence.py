import numpy as np

from prepal.learning.strategies.doubt.least_confidence import STRATEGY, doubt
from prepal.learning.strategies.doubt.margin import closeness


def test_it_is_one_minus_the_largest_probability() -> None:
    rows = np.array([[0.7, 0.2, 0.1], [0.4, 0.3, 0.3]], np.float32)
    np.testing.assert_allclose(doubt(rows, False), [0.3, 0.6], atol=1e-6)


def test_several_choices_count_by_the_one_in_greatest_doubt() -> None:
    rows = np.array([[0.9, 0.45], [0.2, 0.8]], np.float32)
    np.testing.assert_allclose(doubt(rows, True), [0.45, 0.2], atol=1e-6)


def test_with_several_choices_its_order_is_the_margins() -> None:
    rows = (np.random.default_rng(0).permutation(400).reshape(100, 4) / 800).astype(np.float32)
    np.testing.assert_array_equal(np.argsort(doubt(rows, True)), np.argsort(closeness(rows, True)))


def test_its_name_is_least_confidence() -> None:
    assert STRATEGY.name == "least_confidence"
