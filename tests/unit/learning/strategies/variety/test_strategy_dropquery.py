"""DropQuery: texts whose prediction flips when coordinates are dropped."""

import numpy as np
import pytest

from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.pool import Pool, best
from prepal.learning.strategies.doubt.margin import closeness
from prepal.learning.strategies.variety.dropquery import STRATEGY

SIZE, D = 300, 24


def make_pool(seed: int, *, sure: int = 0) -> Pool:
    """The first `sure` texts lie so far from the boundary, in all coordinates, that hardly any can be missed."""
    rng = np.random.default_rng(seed)
    labelled = rng.normal(size=(40, D)).astype(np.float32)
    kinds = (labelled.sum(axis=1) > 0).astype(np.int64)
    model = LogisticRegression(2).fit(labelled, kinds)
    vectors = 0.3 * rng.normal(size=(SIZE, D)).astype(np.float32)
    weights = model.predict_proba(np.eye(D, dtype=np.float32))[:, 1] - 0.5
    vectors[:sure] = 3 * np.sign(weights)
    vectors[:sure:2] *= -1
    return Pool(vectors, model.predict_proba(vectors), labelled, kinds, False, classifier=model)


def flips(pool: Pool, seed: int) -> np.ndarray:
    """How many of three copies, of which each keeps a quarter of the coordinates, are predicted otherwise."""
    assert pool.classifier is not None
    assert pool.probabilities is not None
    rng = np.random.default_rng(seed)
    count = np.zeros(len(pool), int)
    for _ in range(3):
        copy = np.where(rng.random(D) < 0.25, 4 * pool.vectors, 0).astype(np.float32)
        count += pool.classifier.predict_proba(copy).argmax(axis=1) != pool.probabilities.argmax(axis=1)
    return count


@pytest.mark.parametrize("seed", range(4))
def test_it_picks_texts_of_which_most_copies_are_predicted_otherwise(seed: int) -> None:
    pool = make_pool(seed, sure=100)
    count = flips(pool, seed)
    assert 10 < (count >= 2).sum() < 150
    assert (count[100:] == 1).any(), "one copy alone is not enough"
    picks = STRATEGY.select(pool, 10, np.random.default_rng(seed))
    assert (count[picks] >= 2).all()


def test_too_few_that_flip_are_filled_up_by_margin() -> None:
    pool = make_pool(0, sure=295)
    assert pool.probabilities is not None
    flipping = np.flatnonzero(flips(pool, 0) >= 2)
    assert 0 < len(flipping) < 5
    picks = STRATEGY.select(pool, 20, np.random.default_rng(0))
    doubtful = best(closeness(pool.probabilities, multilabel=False), SIZE)
    expected = [*flipping, *[place for place in doubtful if place not in flipping]]
    np.testing.assert_array_equal(picks, expected[:20])


def test_picks_are_of_different_kinds() -> None:
    # Every text flips, since its label rests on a coordinate that copies mostly lose; there are four kinds of them.
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(4), 50)
    vectors = (10 * np.eye(4, D)[kind] + 0.01 * rng.normal(size=(200, D))).astype(np.float32)
    labelled = np.eye(D, dtype=np.float32)[:6]
    model = LogisticRegression(2).fit(labelled, np.array([1, 1, 1, 1, 0, 0]))
    wrong = 1 - model.predict_proba(vectors).argmax(axis=1)
    pool = Pool(vectors, np.eye(2, dtype=np.float32)[wrong], labelled, np.array([1, 1, 1, 1, 0, 0]), False, model)
    assert sorted(kind[STRATEGY.select(pool, 4, np.random.default_rng(0))]) == [0, 1, 2, 3]
