"""The registry, and what the strategies with a score have in common."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prepal.learning import strategies
from prepal.learning.pool import Pool, ScoreStrategy, best


def test_the_registry_knows_every_strategy() -> None:
    assert {"entropy", "least_confidence", "margin", "random"} <= set(strategies.names())
    assert strategies.names() == sorted(strategies.names())


def test_an_unknown_strategy_is_answered_with_the_nearest_and_the_list() -> None:
    with pytest.raises(ValueError, match=r'no strategy "margn". Did you mean "margin"\? The strategies are .*entropy'):
        strategies.get("margn")
    with pytest.raises(ValueError, match=r'^There is no strategy "qqq". The strategies are '):
        strategies.get("qqq")


def test_a_strategy_for_single_choices_refuses_several() -> None:
    def score(probabilities: np.ndarray, multilabel: bool) -> np.ndarray:  # noqa: ARG001
        return probabilities[:, 0]

    vectors = np.ones((2, 3), np.float32)
    pool = Pool(vectors, np.ones((2, 2), np.float32), vectors, np.ones((2, 2), bool), multilabel=True)
    with pytest.raises(
        ValueError, match=r'^The strategy "single" needs a single choice per text; choose another one\.$'
    ):
        ScoreStrategy("single", score, multilabel=False).select(pool, 1, np.random.default_rng(0))


@given(
    scores=arrays(np.float32, st.integers(0, 60), elements=st.sampled_from([-1.5, 0.0, 0.25, 0.5, 3.0])),
    n=st.integers(0, 70),
)
def test_best_is_the_head_of_a_stable_sort(scores: np.ndarray, n: int) -> None:
    np.testing.assert_array_equal(best(scores, n), np.argsort(-scores, kind="stable")[:n])
