"""Least confidence: the texts whose best choice is the least likely to be right."""

import numpy as np
from numpy.typing import NDArray

from prepal.learning.pool import ScoreStrategy


def doubt(probabilities: NDArray[np.float32], multilabel: bool) -> NDArray[np.float32]:
    """Return 1 minus the probability of the predicted choice, `(n,)`, from `(n, k)` probabilities.

    If multilabel: of the choice in greatest doubt, the probability that predicting it present or absent is wrong. That
    is the order of `margin`, on another scale.

    Lewis & Gale, A Sequential Algorithm for Training Text Classifiers (1994); Culotta & McCallum, Reducing Labeling
    Effort for Structured Prediction Tasks (2005).
    """
    scores = np.zeros(len(probabilities), np.float32)
    for column in probabilities.T:
        np.maximum(scores, np.minimum(column, 1.0 - column) if multilabel else column, out=scores)
    return scores if multilabel else 1.0 - scores


STRATEGY = ScoreStrategy("least_confidence", doubt)
