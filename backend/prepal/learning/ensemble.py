"""A posterior of the classifier: refits on bootstrap resamples of the labels."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifier import LogisticRegression, NothingToLearn

if TYPE_CHECKING:  # strategies import this module
    from prepal.learning.strategies.base import Pool

MEMBERS = 10  # picks hardly change with more, and each is a pass over the pool


def sample_predictions(pool: "Pool", rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """Return each member's probabilities `(n, k)` for the pool; none while there is nothing to learn from.

    The bootstrap as a posterior: Newton & Raftery, Approximate Bayesian Inference with the Weighted Likelihood
    Bootstrap (1994). Weights are drawn from a Dirichlet distribution, so that every label counts in every member.
    """
    if pool.probabilities is None or not len(pool.labelled):
        return []
    k = pool.probabilities.shape[1]
    classifier = LogisticRegression(k, multilabel=pool.multilabel, prior=pool.prior)
    members = []
    for _ in range(MEMBERS):
        weights = rng.dirichlet(np.ones(len(pool.labelled))) * len(pool.labelled)
        try:
            classifier.fit(pool.labelled_vectors, pool.labelled, np.maximum(weights, 1e-6))
        except NothingToLearn:
            return []
        members.append(classifier.predict_proba(pool.vectors))
    return members
