"""CAL: texts predicted otherwise than their labelled neighbours."""

from dataclasses import replace

import numpy as np
import pytest

from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.pool import Pool
from prepal.learning.strategies.variety.contrastive import STRATEGY


def make_pool(size: int, labels: int, seed: int) -> Pool:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(size + labels, 4)).astype(np.float32)
    kinds = (vectors @ rng.normal(size=(4, 3)) + rng.gumbel(size=(size + labels, 3))).argmax(axis=1)
    kinds[size : size + 3] = range(3)
    model = LogisticRegression(3, C=1.0).fit(vectors[size:], kinds[size:])
    return Pool(
        vectors[:size], model.predict_proba(vectors[:size]), vectors[size:], kinds[size:], False, classifier=model
    )


@pytest.mark.parametrize("labels", [4, 10, 60])
def test_its_order_is_the_mean_divergence_from_the_ten_nearest_labelled_texts(labels: int) -> None:
    pool = make_pool(80, labels, seed=labels)
    assert pool.classifier is not None
    assert pool.probabilities is not None
    theirs = pool.classifier.predict_proba(pool.labelled_vectors)
    scores = []
    for vector, own in zip(pool.vectors, pool.probabilities, strict=True):
        nearest = np.argsort(((pool.labelled_vectors - vector) ** 2).sum(axis=1))[:10]
        scores.append(np.mean([(row * np.log(row / own)).sum() for row in theirs[nearest]]))
    np.testing.assert_array_equal(STRATEGY.select(pool, 80, np.random.default_rng(0)), np.argsort(scores)[::-1])


def test_a_text_that_contradicts_its_neighbours_comes_before_a_doubtful_one() -> None:
    pool = make_pool(30, 20, seed=1)
    assert pool.classifier is not None
    theirs = pool.classifier.predict_proba(pool.labelled_vectors)
    vectors = np.concatenate([pool.labelled_vectors[:1]] * 3)
    about = theirs[np.argsort(((pool.labelled_vectors - vectors[0]) ** 2).sum(axis=1))[:10]].mean(axis=0)
    contrary = np.full(3, 0.01, np.float32)
    contrary[about.argmin()] = 0.98
    probabilities = np.array([about, contrary, np.full(3, 1 / 3)], np.float32)
    picks = STRATEGY.select(replace(pool, vectors=vectors, probabilities=probabilities), 3, np.random.default_rng(0))
    assert picks[0] == 1
    assert picks[2] == 0
