"""Entropy: the texts whose predicted distribution is the widest."""

import numpy as np
from numpy.typing import NDArray

from prepal.learning.pool import ScoreStrategy

_TINY = np.finfo(np.float32).tiny  # keeps 0 · log 0 at 0


def entropy(probabilities: NDArray[np.float32], multilabel: bool) -> NDArray[np.float32]:
    """Return the entropy `(n,)`, in nats, of each row of `(n, k)` probabilities.

    If multilabel: the mean, over the choices, of the entropy of being present or absent.

    Dagan & Engelson, Committee-Based Sampling for Training Probabilistic Classifiers (1995), after Shannon (1948).
    """
    scores = np.zeros(len(probabilities), np.float32)
    for column in probabilities.T:
        scores -= column * np.log(np.maximum(column, _TINY))
        if multilabel:
            absent = 1.0 - column
            scores -= absent * np.log(np.maximum(absent, _TINY))
    return scores / np.float32(probabilities.shape[1]) if multilabel else scores


STRATEGY = ScoreStrategy("entropy", entropy)
