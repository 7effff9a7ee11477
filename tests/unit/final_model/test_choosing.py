"""Whether beliefs are learnt from, by what models say of texts that they did not learn from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prepal.learning.classifiers.labels import Labels
from prepal_workers.final_model.choosing import Helped, Tried, best, of_chosen

WITHOUT, WITH = Tried("fine-tune", 3), Tried("fine-tune", 1, True)


def said(labels: Labels, k: int, share_right: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Logits that are right of such a share of texts, and as sure when they are wrong."""
    truth = labels if labels.ndim == 2 else labels[:, None] == np.arange(k)
    wrong = rng.random(len(labels)) >= share_right
    found = np.where(wrong[:, None], np.roll(truth, 1, axis=1), truth)
    return (np.where(found, 3.0, -3.0) + rng.normal(size=found.shape)).astype(np.float32)


def drawn(n: int, k: int, rng: np.random.Generator, *, several: bool) -> Labels:
    return rng.random((n, k)) < 0.4 if several else rng.integers(k, size=n)


@settings(deadline=None)
@given(st.integers(60, 300), st.integers(3, 6), st.booleans(), st.integers(0, 999))
def test_beliefs_that_do_not_help_are_left_out(n: int, k: int, several: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = drawn(n, k, rng, several=several)
    each = "any" if several else "one"
    tried = {WITHOUT: said(labels, k, 0.95, rng), WITH: said(labels, k, 0.45, rng)}
    assert best(tried, labels, each) == WITHOUT
    helped = Helped.of(tried, tried[WITH], labels, each, 1000, "an encoder")
    assert not helped.helped
    assert helped.log_loss["without them"] < helped.log_loss["with them"]
    assert "Beliefs do not help, and are left out" in str(helped)
    chosen = of_chosen(tried, labels, each, rng.permutation(n) % 4)
    assert (chosen == tried[WITHOUT]).mean() > 0.7


@settings(deadline=None)
@given(st.integers(20, 300), st.integers(2, 6), st.booleans(), st.integers(0, 999))
def test_beliefs_that_help_or_do_no_harm_are_learnt_from(n: int, k: int, several: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = drawn(n, k, rng, several=several)
    each = "any" if several else "one"
    same = said(labels, k, 0.7, rng)
    assert best({WITHOUT: same, WITH: same.copy()}, labels, each) == WITH
    assert best({WITHOUT: said(labels, k, 0.45, rng), WITH: said(labels, k, 0.95, rng)}, labels, each) == WITH


def test_the_more_texts_judge_the_less_it_takes_to_leave_beliefs_out() -> None:
    for n, taken in ((25, True), (1000, False)):
        labels = np.arange(n) % 2
        without = np.where(np.eye(2)[labels] > 0, 2.0, 0.0).astype(np.float32)
        without[: n // 10] *= -1
        worse = without.copy()
        worse[n // 10 : n // 10 + n // 25] *= -1
        assert best({WITHOUT: without, WITH: worse}, labels, "one").believed == taken


def test_the_choice_is_no_part_of_what_is_said_of_it() -> None:
    """Of models that know nothing, with beliefs and without, the best is not said to be better than it is."""
    accuracies = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = rng.integers(2, size=60)
        tried = {Tried("fine-tune", epoch): rng.normal(size=(60, 2)).astype(np.float32) for epoch in range(6)}
        tried[WITH] = rng.normal(size=(60, 2)).astype(np.float32)
        chosen = of_chosen(tried, labels, "one", rng.permutation(60) % 4)
        accuracies.append((chosen.argmax(axis=1) == labels).mean())
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.02)
