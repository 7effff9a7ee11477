"""Figures on predictions, and thresholds that keep what they promise."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from prepal_workers.measures import (
    Share,
    calibration_error,
    confidences,
    fit_temperature,
    highest_temperature,
    macro_f1,
    report,
    right,
)
from prepal_workers.predict import find_threshold


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
    assert calibration_error(logits, labels) > 0.1
    assert calibration_error(logits / np.float32(temperature), labels) < 0.03


def test_a_temperature_for_several_labels_a_text() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (3000, 3)).astype(np.float32)
    labels = logits + rng.logistic(size=logits.shape) > 0
    assert fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.1)


def test_few_texts_that_are_all_right_do_not_make_certain() -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]] * 5
    assert confidences(logits / fit_temperature(logits, np.array([0, 1, 2, 0])), multilabel=False).max() < 0.999


def test_an_interval_is_wilsons() -> None:
    share = Share.of(18, 20)
    assert (share.low, share.high) == (pytest.approx(0.699, abs=1e-3), pytest.approx(0.972, abs=1e-3))


def test_figures_agree_with_scikit_learn() -> None:
    logits, labels = draw(300)
    said = report(logits, labels, ("a", "b", "c", "d"))
    assert macro_f1(logits, labels) == pytest.approx(f1_score(labels, logits.argmax(axis=1), average="macro"))
    assert said["accuracy"]["estimate"] == pytest.approx(right(logits, labels).mean())
    assert np.sum(said["confusion"]) == 300
    assert said["per_class"]["a"]["examples"] == (labels == 0).sum()


@pytest.mark.parametrize("judged", [40, 60, 200])
@pytest.mark.parametrize("overconfident", [0.7, 2.5])
def test_a_threshold_keeps_its_promise(judged: int, overconfident: float) -> None:
    kept = []
    for seed in range(50):
        # The judged texts are harder than the others: their classes lie nearer together.
        logits, labels = draw(judged, overconfident=overconfident, spread=1.5, seed=seed)
        fitted = fit_temperature(logits, labels)
        highest = highest_temperature(logits, labels, fitted)
        assert highest > fitted
        logits, labels = draw(2000, overconfident=overconfident, spread=3.0, seed=1000 + seed)
        usual, careful = (confidences(logits / np.float32(t), multilabel=False) for t in (fitted, highest))
        least = find_threshold(usual, careful, 0.95)
        if least is not None:
            kept.append(right(logits, labels)[usual >= least].mean())
    assert len(kept) > 40
    assert np.mean(np.array(kept) >= 0.94) > 0.88


def test_more_judged_texts_leave_less_in_doubt() -> None:
    doubts = []
    for n in (50, 500, 5000):
        logits, labels = draw(n, overconfident=2)
        fitted = fit_temperature(logits, labels)
        doubts.append(highest_temperature(logits, labels, fitted) / fitted)
    assert doubts == sorted(doubts, reverse=True)
    assert 1.0 < doubts[-1] < 1.05


def test_texts_that_are_equally_sure_are_sure_together() -> None:
    confidences = np.array([0.9, 0.99, 0.9, 0.9])
    assert find_threshold(confidences, confidences, 0.95) == 0.99
    assert find_threshold(confidences, confidences, 0.92) == 0.9
    assert find_threshold(confidences, confidences, 0.995) is None
    assert find_threshold(np.empty(0), np.empty(0), 0.5) is None
