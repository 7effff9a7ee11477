"""Whose strategy picks: as often as needed, evenly spread, and no text twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal.learning.questions import merged, need, turns

shares = st.lists(st.floats(0, 1), min_size=1, max_size=5)


@given(shares, st.integers(0, 5000))
def test_each_question_picks_as_often_as_it_needs(needs: list[float], labels: int) -> None:
    found = np.bincount(turns(needs, labels, 200), minlength=len(needs)) / 200
    wanted = np.array(needs) / sum(needs) if sum(needs) > 0 else np.full(len(needs), 1 / len(needs))
    assert np.abs(found - wanted).max() < 0.03


@given(shares, st.integers(0, 5000), st.integers(1, 30))
def test_one_round_goes_on_where_the_one_before_began(needs: list[float], labels: int, n: int) -> None:
    np.testing.assert_array_equal(turns(needs, labels, n + 1)[1:], turns(needs, labels + 1, n))


picks = st.lists(st.lists(st.integers(0, 30), max_size=8), min_size=1, max_size=4)


@given(picks, st.data())
def test_the_merged_order_has_each_text_once_and_the_best_of_whose_turn_it_is(
    own: list[list[int]], data: st.DataObject
) -> None:
    turn = data.draw(st.lists(st.integers(0, len(own) - 1), max_size=12))
    order = merged([np.array(one, np.int64) for one in own], np.array(turn, np.int64)).tolist()
    assert len(set(order)) == len(order) == min(len(turn), len({text for one in own for text in one}))
    for place, text in enumerate(order):
        left = [one for one in own[turn[place]] if one not in order[:place]]
        assert not left or text == left[0]


def test_need_is_the_expected_share_of_wrong_predictions_where_a_question_is_asked() -> None:
    sure = np.array([1.0, 0.5, 0.25, np.nan], np.float32)
    assert need(sure, np.ones(4, bool)) == pytest.approx((0 + 0.5 + 0.75 + 1) / 4)
    assert need(sure, np.array([True, True, False, False])) == pytest.approx(0.5 / 4)
    assert need(sure[:0], np.ones(0, bool)) == 0
