"""Whose strategy picks, and that no text is picked twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal.learning.questions import merged, need

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
