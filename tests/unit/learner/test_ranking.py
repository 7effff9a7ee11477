"""The order behind the head is that of the confidences, and equal ones keep their places."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prepal.learning.pool import by_confidence

confidences = st.floats(0, 1, width=32, allow_subnormal=True).map(abs)


@given(st.lists(st.sampled_from([0.0, 0.25, np.nextafter(np.float32(0.25), np.float32(1)), 1.0]) | confidences))
def test_tasks_are_sorted_by_confidence_and_stay_in_their_order_where_it_is_the_same(values: list[float]) -> None:
    confidence = np.array(values, np.float32)
    places = np.arange(len(values))[::2]
    expected = places[np.argsort(confidence[places], kind="stable")]
    np.testing.assert_array_equal(by_confidence(confidence, places), expected)
