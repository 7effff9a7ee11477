"""What a question needs: the expected share of wrong predictions among the texts of which it is asked."""

import numpy as np
import pytest

from prepal.learning.questions import need


def test_need_is_the_expected_share_of_wrong_predictions_where_a_question_is_asked() -> None:
    sure = np.array([1.0, 0.5, 0.25, np.nan], np.float32)
    assert need(sure, np.ones(4, bool)) == pytest.approx((0 + 0.5 + 0.75 + 1) / 4)
    assert need(sure, np.array([True, True, False, False])) == pytest.approx(0.5 / 4)
    assert need(sure[:0], np.ones(0, bool)) == 0
