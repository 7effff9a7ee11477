"""The loss of labels and of beliefs: what it is where both are sure, and how much each counts."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from prepal_workers.training.trainer import class_weights, log_loss, masses

SHAPES = st.tuples(st.integers(1, 40), st.integers(2, 9), st.integers(0, 999))


def loss(logits: np.ndarray, told: np.ndarray) -> float:
    return float(log_loss(SimpleNamespace(logits=torch.from_numpy(logits)), torch.from_numpy(told)))


@given(SHAPES)
def test_it_is_the_log_loss_of_one_label_each(shape: tuple[int, int, int]) -> None:
    n, k, seed = shape
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(n, k)).astype(np.float32), rng.integers(k, size=n)
    weights = class_weights(np.bincount(labels, minlength=k).astype(float))
    told = masses(np.eye(k)[labels], weights[None], several=False)
    wanted = functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels), weight=torch.from_numpy(weights.astype(np.float32))
    )
    assert loss(logits, told) == pytest.approx(float(wanted), rel=1e-4)


@given(SHAPES)
def test_it_is_the_log_loss_of_several_labels_each(shape: tuple[int, int, int]) -> None:
    n, k, seed = shape
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(n, k)).astype(np.float32), rng.random((n, k)) < 0.4
    told = masses(labels.astype(float), np.ones((1, k)), several=True)
    assert told.shape == (n, 2, k)
    wanted = functional.binary_cross_entropy_with_logits(
        torch.from_numpy(logits), torch.from_numpy(labels.astype(np.float32))
    )
    assert loss(logits, told) == pytest.approx(float(wanted), rel=1e-4)


@given(SHAPES, st.booleans())
def test_what_counts_twice_is_like_the_same_text_twice(shape: tuple[int, int, int], several: bool) -> None:
    n, k, seed = shape
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)).astype(np.float32)
    targets = rng.random((n, k)) if several else rng.dirichlet(np.ones(k), size=n)
    times = rng.integers(1, 4, size=n)
    weighted = masses(targets, times[:, None].astype(float), several=several)
    repeated = masses(targets.repeat(times, axis=0), np.ones((1, 1)), several=several)
    assert loss(logits, weighted) == pytest.approx(loss(logits.repeat(times, axis=0), repeated), rel=1e-4)


@given(SHAPES, st.booleans())
def test_nothing_is_better_than_what_the_teacher_says(shape: tuple[int, int, int], several: bool) -> None:
    n, k, seed = shape
    rng = np.random.default_rng(seed)
    targets = rng.uniform(0.01, 0.99, (n, k)) if several else rng.dirichlet(np.ones(k), size=n) * 0.98 + 0.02 / k
    best = np.log(targets / (1 - targets)) if several else np.log(targets)
    told = masses(targets, rng.uniform(0.1, 2, (n, 1)), several=several)
    other = best + rng.normal(size=(n, k))
    assert loss(best.astype(np.float32), told) <= loss(other.astype(np.float32), told) + 1e-6


def test_texts_that_count_nothing_give_no_loss_and_no_numbers_that_are_none() -> None:
    assert loss(np.ones((3, 2), np.float32), np.zeros((3, 2), np.float32)) == 0.0
