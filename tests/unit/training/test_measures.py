"""Figures on predictions."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from prepal.learning.classifiers.decisions import HowMany, how_many
from prepal.learning.quality.interval import independent, share_interval
from prepal_workers.training.measures import (
    Share,
    calibration_error,
    confidences,
    fit_temperature,
    how_much_surer,
    macro_f1,
    report,
    right,
)


def draw(
    n: int, k: int = 4, *, overconfident: float = 1.0, spread: float = 2.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from what logits say, and these logits, too sure by a factor."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (n, k)).astype(np.float32)
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return logits * np.float32(overconfident), labels


def test_a_temperature_takes_overconfidence_back() -> None:
    logits, labels = draw(4000, overconfident=3)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(3, rel=0.1)
    assert calibration_error(logits, labels, "one") > 0.1
    assert calibration_error(logits / np.float32(temperature), labels, "one") < 0.03


def test_a_temperature_for_several_labels_a_text() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (3000, 3)).astype(np.float32)
    labels = logits + rng.logistic(size=logits.shape) > 0
    assert fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("each", ["one", "some", "any"])
def test_a_confidence_is_how_often_what_is_given_is_right(each: HowMany) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 1.5, (20_000, 4)).astype(np.float32)
    if each == "one":
        labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    else:
        labels = logits + rng.logistic(size=logits.shape) > 0
        if each == "some":
            logits, labels = logits[labels.any(axis=1)], labels[labels.any(axis=1)]
    assert how_many(labels) == each
    assert calibration_error(logits, labels, each) < 0.015


def test_nothing_overflows_where_no_label_is_likely() -> None:
    sure = confidences(np.array([[-80, -90, -80], [-700, -800, -900]], np.float32), "some")
    assert sure == pytest.approx([0.5, 1.0], abs=1e-3)


def test_few_texts_that_are_all_right_do_not_make_certain() -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]] * 5
    assert confidences(logits / fit_temperature(logits, np.array([0, 1, 2, 0])), "one").max() < 0.999


def test_a_share_has_the_interval_that_the_live_accuracy_has() -> None:
    share = Share.of(18, 20)
    assert (share.low, share.high) == pytest.approx(share_interval(18, 20))
    assert (share.low, share.high) == (pytest.approx(0.707, abs=1e-3), pytest.approx(0.983, abs=1e-3))


def test_figures_agree_with_scikit_learn() -> None:
    logits, labels = draw(300)
    said = report(logits, labels, ("a", "b", "c", "d"), "one", np.arange(300))
    assert macro_f1(logits, labels, "one") == pytest.approx(f1_score(labels, logits.argmax(axis=1), average="macro"))
    assert said["accuracy"].estimate == pytest.approx(right(logits, labels, "one").mean())
    assert np.sum(said["confusion"]) == 300
    assert said["per_class"]["a"]["examples"] == (labels == 0).sum()


def test_equal_texts_tell_less_than_different_ones() -> None:
    once, twice = Share.of(15, 30), Share.of(30, 60, independent(np.arange(60) // 2))
    assert (twice.low, twice.high) == (once.low, once.high)
    assert twice.n == 60


def test_a_model_may_be_surer_than_another() -> None:
    logits, _ = draw(100)
    assert how_much_surer(3 * logits + 1, logits) == pytest.approx(3)
    assert how_much_surer(logits, 3 * logits) == 1.0
    assert how_much_surer(logits, np.zeros_like(logits)) == 1.0
