import numpy as np
from scipy.stats import entropy as scipy_entropy

from prepal.learning.strategies.doubt.entropy import STRATEGY, entropy


def test_it_is_shannons_entropy() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(5), 40).astype(np.float32)
    np.testing.assert_allclose(entropy(probabilities, False), scipy_entropy(probabilities, axis=1), rtol=1e-5)


def test_an_impossible_choice_adds_nothing() -> None:
    rows = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], np.float32)
    np.testing.assert_allclose(entropy(rows, False), [np.log(2), 0], atol=1e-6)


def test_several_choices_count_by_the_mean_of_their_own_entropies() -> None:
    rows = np.array([[0.5, 0.5], [0.5, 1.0], [0.0, 1.0]], np.float32)
    np.testing.assert_allclose(entropy(rows, True), [np.log(2), np.log(2) / 2, 0], atol=1e-6)


def test_its_name_is_entropy() -> None:
    assert STRATEGY.name == "entropy"
