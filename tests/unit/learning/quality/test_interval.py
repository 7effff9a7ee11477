"""The interval of a share: that it holds the share as often as it says, and no wider than it must be."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from prepal.learning.quality.interval import independent, share_interval


@pytest.mark.parametrize("n", [5, 10, 20, 30, 60, 200])
def test_it_holds_any_share_about_19_times_in_20(n: int) -> None:
    intervals = [share_interval(right, n) for right in range(n + 1)]
    held = [
        sum(binom.pmf(right, n, share) for right, (low, high) in enumerate(intervals) if low <= share <= high)
        for share in np.arange(0.5, 0.995, 0.005)
    ]
    assert min(held) > 0.91
    assert 0.945 < np.mean(held) < 0.98


@pytest.mark.parametrize("n", [1, 7, 40, 3000])
def test_it_lies_within_the_exact_one_and_around_the_share(n: int) -> None:
    for right in {0, 1, n // 3, n - 1, n}:
        low, high = share_interval(right, n)
        exact = binomtest(right, n).proportion_ci(method="exact")
        assert exact.low - 1e-9 <= low <= right / n <= high <= exact.high + 1e-9
        assert share_interval(n - right, n) == pytest.approx((1 - high, 1 - low))


def test_equal_texts_tell_less_than_different_ones() -> None:
    assert independent(np.arange(60)) == 60
    assert independent(np.arange(60) // 2) == 30
    assert independent(np.r_[np.zeros(30, int), np.arange(1, 31)]) < 4
    assert share_interval(12.5, 25.5)[0] > share_interval(12.5 / 2, 25.5 / 2)[0]
    assert share_interval(0.01, 2.5)[0] == pytest.approx(0, abs=1e-6)
