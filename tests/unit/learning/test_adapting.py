"""When an encoder is trained on the labels, and what makes it better."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from prepal.learning.adapting import LEAST_LABELS, is_better, is_due, softened


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_training_is_due_again_only_when_labels_have_doubled(labels: int, before: int) -> None:
    assert is_due(labels, before) == (labels >= LEAST_LABELS and labels >= 2 * before)


def test_trainings_of_one_project_take_half_of_the_time_at_most() -> None:
    assert not is_due(1000, 100, after_s=59, took_s=60)
    assert is_due(1000, 100, after_s=60, took_s=60)


def test_an_encoder_is_taken_unless_labels_speak_against_it() -> None:
    assert is_better(0.9, 0.5, 1.0, 50)
    assert is_better(0.5, 0.5, 1.0, 50)
    assert is_better(0.50, 0.55, 1.0, 50)
    assert not is_better(0.50, 0.55, 1.0, 100)


def test_an_encoder_that_tells_no_more_than_frequencies_is_not_taken() -> None:
    assert not is_better(0.69, 0.68, 0.69, 100)
    assert is_better(0.69, 0.60, 0.69, 100)


@pytest.mark.parametrize("multilabel", [False, True])
def test_a_temperature_divides_logits(multilabel: bool) -> None:
    logits = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) * 3
    by = expit if multilabel else partial(softmax, axis=1)
    np.testing.assert_allclose(softened(by(logits), 2.5, multilabel=multilabel), by(logits / 2.5), atol=1e-5)
    certain = np.eye(4, dtype=np.float32)
    np.testing.assert_array_equal(softened(certain, 3.0, multilabel=multilabel), certain)
