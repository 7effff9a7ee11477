"""Figures on predictions, and thresholds that keep what they promise."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from prepal_workers.measures import Share, calibration_error, confidences, fit_temperature, macro_f1, report, right
from prepal_workers.predict import find_threshold


def draw(n: int, k: int = 4, *, overconfident: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from what logits say, and these logits, too sure by a factor."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, k)).astype(np.float32)
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


def test_a_threshold_keeps_its_promise() -> None:
    kept = []
    for seed in range(60):
        logits, labels = draw(200, seed=seed)
        sure, hits = confidences(logits, multilabel=False), right(logits, labels)
        order = np.argsort(-sure)
        limit = find_threshold(sure[order].tolist(), hits[order].tolist(), 0.9)
        logits, labels = draw(4000, seed=1000 + seed)
        reached = confidences(logits, multilabel=False) >= (limit.confidence or np.inf)
        if reached.any():
            kept.append(right(logits, labels)[reached].mean())
    assert len(kept) > 40
    assert np.mean(np.array(kept) > 0.89) > 0.85


def test_too_few_texts_prove_nothing() -> None:
    assert find_threshold([0.9] * 10, [True] * 10, 0.95).confidence is None
    limit = find_threshold([0.9] * 60, [True] * 60, 0.95)
    assert (limit.confidence, limit.sure, limit.right) == (0.9, 60, 60)
