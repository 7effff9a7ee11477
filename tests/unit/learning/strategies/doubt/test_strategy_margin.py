import numpy as np

from prepal.learning.strategies.doubt.margin import STRATEGY, closeness


def test_it_is_the_distance_between_the_two_largest() -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(6), 50).astype(np.float32)
    largest = np.sort(rows, axis=1)
    np.testing.assert_allclose(closeness(rows, False), largest[:, -2] - largest[:, -1], atol=1e-7)


def test_two_equal_largest_are_no_distance_apart() -> None:
    rows = np.array([[0.1, 0.45, 0.45], [0.45, 0.45, 0.1]], np.float32)
    np.testing.assert_array_equal(closeness(rows, False), [0, 0])


def test_several_choices_count_by_the_one_nearest_to_the_boundary() -> None:
    rows = np.array([[0.9, 0.45], [0.0, 1.0]], np.float32)
    np.testing.assert_allclose(closeness(rows, True), [-0.1, -1.0], atol=1e-6)


def test_its_name_is_margin() -> None:
    assert STRATEGY.name == "margin"
