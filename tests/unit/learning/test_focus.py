"""What a focus puts first: the surest of a choice with doubtful ones between, and what is like one text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from prepal.learning.focus import like, likeness, surest
from prepal.learning.numerics.rows import Rows

shares = st.lists(st.floats(0, 1, width=32), min_size=0, max_size=40).map(lambda of: np.array(of, np.float32))


def some_vectors(n: int, seed: int = 0) -> NDArray[np.float16]:
    return np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float16)


@given(shares, st.integers(0, 1000), st.integers(0, 50))
def test_of_a_choice_the_surest_come_first_and_every_fourth_is_the_most_doubtful(
    likely: NDArray[np.float32], labels: int, n: int
) -> None:
    chosen = surest(likely, labels, n)
    assert len(chosen) == len(set(chosen.tolist())) == min(n, len(likely))
    left = set(range(len(likely)))
    for number, place in enumerate(chosen.tolist(), start=labels):
        doubt = {at: abs(float(likely[at]) - 0.5) for at in left}
        if number % 4 == 3:
            assert doubt[place] == min(doubt.values())
        else:
            assert likely[place] == max(likely[at] for at in left)
        left.remove(place)


@given(shares, st.integers(0, 1000), st.integers(0, 12))
def test_rounds_of_one_label_each_go_on_where_the_last_one_ended(
    likely: NDArray[np.float32], labels: int, n: int
) -> None:
    at_once = surest(likely, labels, n).tolist()
    places, one_by_one = np.arange(len(likely)), []
    for number in range(labels, labels + len(at_once)):
        (first,) = surest(likely[places], number, 1)
        one_by_one.append(int(places[first]))
        places = np.delete(places, first)
    assert [likely[at] for at in one_by_one] == [likely[at] for at in at_once]


def test_likeness_is_the_cosine_wherever_the_vectors_lie() -> None:
    vectors, query = some_vectors(20), some_vectors(1, seed=1)[0].astype(np.float32)
    vectors[3] = 0
    exact = vectors.astype(np.float64) @ query / np.maximum(np.linalg.norm(vectors.astype(np.float64), axis=1), 1e-9)
    expected = exact / np.linalg.norm(query)
    rows = np.random.default_rng(2).permutation(20)
    np.testing.assert_allclose(likeness(vectors, query), expected, atol=1e-5)
    np.testing.assert_allclose(likeness(Rows(vectors, rows), query), expected[rows], atol=1e-5)
    np.testing.assert_array_equal(likeness(vectors, np.zeros(6, np.float32)), np.zeros(20))


def test_a_text_is_most_like_itself_and_labels_pull_what_has_the_same_one_and_push_what_has_not() -> None:
    vectors = some_vectors(30)
    query = vectors[7].astype(np.float32)
    assert like(vectors, query, None, None).argmax() == 7
    probabilities = np.full((30, 2), 0.5, np.float32)
    before = like(vectors, query, probabilities, np.array([True, False]))
    np.testing.assert_array_equal(np.argsort(before), np.argsort(like(vectors, query, None, None)))
    probabilities[4], probabilities[5] = (0.9, 0.1), (0.1, 0.9)
    after = like(vectors, query, probabilities, np.array([True, False]))
    assert after[4] > before[4]
    assert after[5] < before[5]
    np.testing.assert_array_equal(np.delete(after, [4, 5]), np.delete(before, [4, 5]))


@pytest.mark.parametrize("belief", [np.zeros(2), np.array([0.0, 1.0]), np.array([0.3, 0.9])])
def test_whatever_is_believed_of_the_text_every_other_has_a_place(belief: NDArray[np.float64]) -> None:
    probabilities = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    found = like(some_vectors(3), some_vectors(1, seed=1)[0].astype(np.float32), probabilities, belief)
    assert np.isfinite(found).all()
