"""A posterior of the classifier: classifiers that fit the labels about as well, by a Laplace approximation."""

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifiers.labels import NothingToLearn
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.pool import Pool

MEMBERS = 10  # picks hardly change with more, and each is a pass over the pool
# Intercepts are not penalised; this is only so that each has a variance.
_INTERCEPT_PRECISION = 1e-2


def sample_predictions(pool: Pool, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """Return each member's probabilities `(n, k)` for the pool; none while there is nothing to learn from.

    MacKay, A Practical Bayesian Framework for Backpropagation Networks (1992), with a block of the Hessian for each
    choice, as the whole one has the square of d times k numbers. benchmarks/RESULTS.md has the bootstrap beside it.
    """
    if pool.probabilities is None or not len(pool.labelled):
        return []
    k = pool.probabilities.shape[1]
    classifier = LogisticRegression(k, multilabel=pool.multilabel, prior=pool.prior)
    try:
        state = classifier.fit(pool.labelled_vectors, pool.labelled).get_state()
    except NothingToLearn:
        return []
    deviations = _deviations(classifier, pool, rng)
    members = []
    for deviation in deviations:
        classifier.set_state({**state, "coefficients": state["coefficients"] + deviation})
        members.append(classifier.predict_proba(pool.vectors))
    return members


def _deviations(classifier: LogisticRegression, pool: Pool, rng: np.random.Generator) -> NDArray[np.float64]:
    """How far each member's coefficients are from the likeliest ones: `(members, d + 1, k)`, of plain vectors."""
    sure = classifier.predict_proba(pool.labelled_vectors).astype(np.float64)
    design = np.ones((len(sure), pool.labelled_vectors.shape[1] + 1))
    design[:, :-1] = pool.map(pool.labelled_vectors)
    precision = np.ones(design.shape[1])
    precision[-1] = _INTERCEPT_PRECISION
    drawn = rng.standard_normal((MEMBERS, design.shape[1], sure.shape[1]))
    for choice in range(sure.shape[1]):
        curvature = classifier.C * sure[:, choice] * (1 - sure[:, choice])
        root = np.linalg.cholesky((design * curvature[:, None]).T @ design + np.diag(precision))
        drawn[:, :, choice] = np.linalg.solve(root.T, drawn[:, :, choice].T).T
    return drawn if pool.prior is None else np.stack([pool.prior.fold(member) for member in drawn])
