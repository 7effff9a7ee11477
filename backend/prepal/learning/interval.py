"""The 95 % interval of a share: what it may be of all texts, by a few that were drawn at random."""

import math

import numpy as np

_TAIL = 0.025  # on each side
_HALVINGS = 40


def share_interval(right: int, n: int) -> tuple[float, float]:
    """Return both ends of the exact mid-P interval: Lancaster, Significance Tests in Discrete Distributions (1961).

    Wilson's (1927) is as narrow, but holds a share near 1 as seldom as 86 times in 100 where n is small, and that is
    where a good classifier lies; Clopper's and Pearson's (1934) is a tenth wider.

    Args:
        right: how many of the texts count.
        n: how many there are, at least 1.
    """
    return (0.0 if right == 0 else 1.0 - _upper(n - right, n)), (1.0 if right == n else _upper(right, n))


def _upper(right: int, n: int) -> float:
    """The share of which so few, or fewer, would be seen in one of forty draws of n; those as few count half."""
    counts = np.arange(right + 1)
    ways = np.array([math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in counts.tolist()])
    weights = np.where(counts < right, 1.0, 0.5)
    low, high = right / n, 1.0
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        tail = float(weights @ np.exp(ways + counts * math.log(share) + (n - counts) * math.log1p(-share)))
        low, high = (share, high) if tail > _TAIL else (low, share)
    return high
