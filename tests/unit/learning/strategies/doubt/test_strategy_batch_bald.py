"""BatchBALD: joint mutual information of the labels of several texts and the classifier."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.pool import Pool
from prepal.learning.strategies.doubt.bald import information, sample_predictions
from prepal.learning.strategies.doubt.batch_bald import STRATEGY, joint_picks


def ensemble(members: int, texts: int, k: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).dirichlet(np.full(k, 0.4), (members, texts))


def joint_information(predictions: NDArray[np.float64], places: list[int]) -> float:
    """By brute force over all combinations of labels."""
    chosen = predictions[:, places]
    k = predictions.shape[2]
    total = 0.0
    for labels in product(range(k), repeat=len(places)):
        p = chosen[:, np.arange(len(places)), labels].prod(axis=1).mean()
        total -= p * np.log(p)
    return total + float((chosen * np.log(chosen)).sum(axis=(1, 2)).mean())


@pytest.mark.parametrize("seed", range(5))
def test_each_pick_has_the_largest_joint_information_with_those_before_it(seed: int) -> None:
    predictions = ensemble(4, 12, 3, seed)
    expected: list[int] = []
    for _ in range(4):
        free = [place for place in range(12) if place not in expected]
        expected.append(max(free, key=lambda place: joint_information(predictions, [*expected, place])))
    np.testing.assert_array_equal(joint_picks(predictions, 4, np.random.default_rng(0)), expected)


def test_a_copy_of_a_picked_text_tells_nothing_new() -> None:
    # Texts 0 and 1 are the same and tell most alone; text 2 tells the other pair of members apart.
    sure, unsure = 0.99, 0.9
    first = [sure, sure, 1 - sure, 1 - sure]
    other = [unsure, 1 - unsure, unsure, 1 - unsure]
    positive = np.array([first, first, other]).T
    predictions = np.stack([positive, 1 - positive], axis=2)
    np.testing.assert_array_equal(joint_picks(predictions, 2, np.random.default_rng(0)), [0, 2])


def test_far_more_combinations_than_can_be_counted_are_no_obstacle() -> None:
    # 16 texts of 5 choices have 150 billion; the last picks are in the order of BALD.
    vectors = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
    kinds = np.arange(30) % 5
    model = LogisticRegression(5).fit(vectors[70:], kinds)
    pool = Pool(vectors[:70], model.predict_proba(vectors[:70]), vectors[70:], kinds, False, classifier=model)
    picks = STRATEGY.select(pool, 40, np.random.default_rng(0))
    scores = information(sample_predictions(pool, np.random.default_rng(0)), multilabel=False)
    left = np.setdiff1d(np.argsort(-scores), picks[:16])
    assert (np.diff(scores[picks[16:]]) <= 0).all()
    assert set(picks[16:]) == set(left[np.argsort(-scores[left])][:24])
