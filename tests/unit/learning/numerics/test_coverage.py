"""Coverage: the greedy choice is what a plain computation of generalized coverage says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prepal.learning.numerics.coverage import Coverage


def expected(points: np.ndarray, labelled: np.ndarray, weights: np.ndarray, measures: list[int]) -> list[int]:
    """The same choices, each from all distances anew."""
    points, labelled = points.astype(np.float64), labelled.astype(np.float64)

    def squared(some: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.asarray(((some[:, None] - others[None]) ** 2).sum(axis=2))

    among = squared(points, points)
    reach = min(10, len(points) - 1)
    width = np.median(np.sort(among[:: -(-len(points) // 256)], axis=1)[:, reach])
    kernel, chosen = np.exp(-among / width), list[int]()
    for measure in measures:
        covered = kernel[:, chosen].max(axis=1, initial=0)
        if len(labelled):
            covered = np.maximum(covered, np.exp(-squared(points, labelled) / width).max(axis=1))
        gains = weights[measure] @ np.maximum(kernel - covered[:, None], 0)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
    return chosen


@given(
    st.integers(2, 300),
    st.integers(0, 20),
    st.lists(st.integers(0, 1), min_size=1, max_size=12),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_each_choice_covers_most_of_what_is_left(size: int, labelled: int, measures: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(size, 5)).astype(np.float32)
    known = rng.normal(size=(labelled, 5)).astype(np.float32)
    weights = rng.random((2, size)).astype(np.float32)
    measures = measures[:size]
    coverage = Coverage(points, known, weights)
    assert [coverage.take(measure) for measure in measures] == expected(points, known, weights, measures)


@pytest.mark.parametrize("size", [1, 2, 400])
def test_equal_texts_are_all_taken_once(size: int) -> None:
    points = np.ones((size, 3), np.float32)
    coverage = Coverage(points, points[:1], np.ones((1, size), np.float32))
    assert sorted(coverage.take(0) for _ in range(size)) == list(range(size))


def test_what_a_labelled_text_is_near_is_covered() -> None:
    rng = np.random.default_rng(0)
    centres = 20 * np.eye(3, dtype=np.float32)
    kind = np.repeat([0, 1, 2], [200, 60, 40])
    points = (centres[kind] + 0.5 * rng.normal(size=(300, 3))).astype(np.float32)
    coverage = Coverage(points, points[:100], np.ones((1, 300), np.float32))
    assert {int(kind[coverage.take(0)]) for _ in range(2)} == {1, 2}
