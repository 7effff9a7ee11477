"""Margin: the texts that the classifier can hardly tell between two choices."""

import numpy as np
from numpy.typing import NDArray

from prepal.learning.pool import ScoreStrategy


def closeness(probabilities: NDArray[np.float32], multilabel: bool) -> NDArray[np.float32]:
    """Return minus the distance `(n,)` between the two largest of each row of `(n, k)` probabilities.

    If multilabel: minus the smallest distance, over the choices, between being present and being absent, |2p - 1|.

    Scheffer, Decomain & Wrobel, Active Hidden Markov Models for Information Extraction (2001); for several choices
    Brinker, On Active Learning in Multi-label Classification (2006).
    """
    if multilabel:
        distance = np.ones(len(probabilities), np.float32)
        for column in probabilities.T:
            np.minimum(distance, np.abs(2.0 * column - 1.0), out=distance)
        return -distance
    first = probabilities[:, 0].copy()
    second = np.zeros_like(first)
    for column in probabilities.T[1:]:
        np.maximum(second, np.minimum(first, column), out=second)
        np.maximum(first, column, out=first)
    return second - first


STRATEGY = ScoreStrategy("margin", closeness)
