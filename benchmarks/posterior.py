"""BALD and BatchBALD with the other posterior: a Laplace approximation instead of the bootstrap that ours have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifier import LogisticRegression
from prepal.learning.ensemble import MEMBERS
from prepal.learning.float16 import as_float32
from prepal.learning.strategies.bald import information
from prepal.learning.strategies.base import Pool, best, draw
from prepal.learning.strategies.batch_bald import joint_picks

# Intercepts are not penalised; this is only so that each has a variance.
_INTERCEPT_PRECISION = 1e-2
_CANDIDATES, _JOINT_PICKS = 1000, 16


@dataclass(frozen=True)
class LaplaceBald:
    """BALD, or BatchBALD if joint, over samples of a Laplace approximation of the logistic regression.

    MacKay, A Practical Bayesian Framework for Backpropagation Networks (1992), with a block of the Hessian for each
    class, as the whole one has the square of d times k numbers.
    """

    name: str
    joint: bool
    needs_classifier: bool = True
    multilabel: bool = False

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        n = min(n, len(pool))
        if pool.probabilities is None or not len(pool.labelled):
            return draw(len(pool), n, rng)
        members = _sample_predictions(pool, rng)
        told = information(members, multilabel=False)
        if not self.joint:
            return best(told, n)
        candidates = best(told, max(n, _CANDIDATES))
        predictions = np.stack([member[candidates] for member in members]).astype(np.float64)
        picked = joint_picks(predictions, min(n, _JOINT_PICKS), rng)
        rest = np.setdiff1d(np.arange(len(candidates)), picked)
        return np.asarray(candidates[np.concatenate([picked, rest])[:n]], np.int64)


def _sample_predictions(pool: Pool, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    classifier, prior = pool.classifier, pool.prior
    assert isinstance(classifier, LogisticRegression)
    assert prior is not None
    mean = classifier.get_state()["coefficients"].astype(np.float64)
    sure = classifier.predict_proba(pool.labelled_vectors).astype(np.float64)
    design = np.ones((len(pool.labelled), len(mean)))
    design[:, :-1] = prior.map(pool.labelled_vectors)
    precision = np.ones(len(mean))
    precision[-1] = _INTERCEPT_PRECISION
    noise = rng.standard_normal((len(mean), MEMBERS, mean.shape[1]))
    for c in range(mean.shape[1]):
        curvature = classifier.C * sure[:, c] * (1 - sure[:, c])
        hessian = (design * curvature[:, None]).T @ design + np.diag(precision)
        noise[:, :, c] = np.linalg.solve(np.linalg.cholesky(hessian).T, noise[:, :, c])
    vectors, seen = as_float32(pool.vectors), classifier.classes_seen
    members = []
    for member in range(MEMBERS):
        coefficients = (mean + prior.fold(noise[:, member])).astype(np.float32)
        logits = vectors @ coefficients[:-1] + np.where(seen, coefficients[-1], -np.inf)
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        members.append(np.asarray(logits / logits.sum(axis=1, keepdims=True), np.float32))
    return members


STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        LaplaceBald("bald, Laplace posterior", joint=False),
        LaplaceBald("batch_bald, Laplace posterior", joint=True),
    )
}
