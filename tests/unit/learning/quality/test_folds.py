"""Dealing texts to parts: equal ones together, classes evenly."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prepal.learning.quality.folds import alike, deal, equal


def test_vectors_that_hardly_differ_have_one_number() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3000, 64)).astype(np.float32)
    again = rng.permutation(3000)
    # Read with other texts, and stored as float16.
    noisy = vectors[again] * rng.uniform(0.5, 2, size=(3000, 1)) + 1e-3 * rng.normal(size=(3000, 64))
    numbers = alike(np.vstack([vectors, noisy, np.zeros((2, 64))]).astype(np.float16).astype(np.float32))
    assert numbers[3000:6000].tolist() == numbers[again].tolist()
    assert len(np.unique(numbers)) == 3002
    assert alike(np.empty((0, 64), np.float32)).shape == (0,)


def test_equal_texts_have_one_number() -> None:
    assert equal(["a", "b", "a", ("a", "b"), ("a", "b"), "\ud800"]).tolist() == [0, 1, 0, 2, 2, 3]
    assert equal([]).shape == (0,)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.lists(st.booleans(), min_size=3, max_size=3)), max_size=40),
    st.integers(2, 6),
    st.integers(0, 99),
)
@settings(deadline=None)
def test_a_group_is_never_parted_and_no_part_is_much_larger(
    texts: list[tuple[int, list[bool]]], parts: int, seed: int
) -> None:
    groups = np.array([group for group, _ in texts], np.int64)
    marks = np.array([row for _, row in texts], bool).reshape(-1, 3)
    part = deal(marks, groups, parts, np.random.default_rng(seed))
    assert part.shape == groups.shape
    assert ((part >= 0) & (part < parts)).all()
    for group in np.unique(groups):
        assert len(np.unique(part[groups == group])) == 1
    sizes = np.bincount(groups) if len(groups) else np.zeros(1, int)
    counts = np.bincount(part, minlength=parts)
    # Of four classes, none included, each can leave a part behind by the largest group.
    assert counts.max() - counts.min() <= 4 * sizes.max()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(2, 6), st.integers(0, 99))
@settings(deadline=None)
def test_texts_that_are_all_different_are_dealt_class_by_class_and_evenly(
    labels: list[int], parts: int, seed: int
) -> None:
    marks: NDArray[np.bool_] = np.array(labels)[:, None] == np.arange(5)
    part = deal(marks, np.arange(len(labels)), parts, np.random.default_rng(seed))
    for own in marks.T:
        counts = np.bincount(part[own], minlength=parts)
        assert counts.max() - counts.min() <= 1
    counts = np.bincount(part, minlength=parts)
    assert counts.max() - counts.min() <= 1


def test_a_rare_label_beside_frequent_ones_is_dealt_to_all_parts() -> None:
    rng = np.random.default_rng(0)
    marks = rng.random((100, 4)) < np.array([0.9, 0.8, 0.7, 0])
    marks[:5, 3] = True
    part = deal(marks, np.arange(100), 5, rng)
    assert sorted(part[:5]) == [0, 1, 2, 3, 4]


def test_the_same_draw_gives_the_same_parts_and_another_one_others() -> None:
    marks = np.ones((50, 1), bool)
    first, second, other = (deal(marks, np.arange(50), 5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == second).all()
    assert (first != other).any()
