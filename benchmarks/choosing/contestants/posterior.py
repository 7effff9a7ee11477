"""BALD and BatchBALD with the other posterior: a bootstrap instead of the Laplace approximation that ours have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifiers.labels import NothingToLearn
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.pool import Pool, best, draw
from prepal.learning.strategies.doubt.bald import information
from prepal.learning.strategies.doubt.batch_bald import joint_picks
from prepal.learning.strategies.doubt.posterior import MEMBERS

_CANDIDATES, _JOINT_PICKS = 1000, 16


@dataclass(frozen=True)
class BootstrapBald:
    """BALD, or BatchBALD if joint, over refits on labels whose weights are drawn from a Dirichlet distribution.

    Newton & Raftery, Approximate Bayesian Inference with the Weighted Likelihood Bootstrap (1994).
    """

    name: str
    joint: bool
    multilabel: bool = False

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        n = min(n, len(pool))
        members = _sample_predictions(pool, rng)
        if not members:
            return draw(len(pool), n, rng)
        told = information(members, multilabel=False)
        if not self.joint:
            return best(told, n)
        candidates = best(told, max(n, _CANDIDATES))
        predictions = np.stack([member[candidates] for member in members]).astype(np.float64)
        picked = joint_picks(predictions, min(n, _JOINT_PICKS), rng)
        rest = np.setdiff1d(np.arange(len(candidates)), picked)
        return np.asarray(candidates[np.concatenate([picked, rest])[:n]], np.int64)


def _sample_predictions(pool: Pool, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    if pool.probabilities is None or not len(pool.labelled):
        return []
    classifier = LogisticRegression(pool.probabilities.shape[1], prior=pool.prior)
    members = []
    for _ in range(MEMBERS):
        weights = rng.dirichlet(np.ones(len(pool.labelled))) * len(pool.labelled)
        try:
            classifier.fit(pool.labelled_vectors, pool.labelled, np.maximum(weights, 1e-6))
        except NothingToLearn:
            return []
        members.append(classifier.predict_proba(pool.vectors))
    return members


STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        BootstrapBald("bald, bootstrap posterior", joint=False),
        BootstrapBald("batch_bald, bootstrap posterior", joint=True),
    )
}
