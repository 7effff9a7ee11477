"""Figures on predictions, and thresholds that keep what they promise."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from prepal_workers.measures import (
    HowMany,
    Share,
    calibration_error,
    confidences,
    decide,
    fit_temperature,
    highest_temperature,
    how_many,
    how_much_surer,
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
    assert calibration_error(logits, labels, "one") > 0.1
    assert calibration_error(logits / np.float32(temperature), labels, "one") < 0.03


def test_a_temperature_for_several_labels_a_text() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (3000, 3)).astype(np.float32)
    labels = logits + rng.logistic(size=logits.shape) > 0
    assert fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.1)


def test_texts_that_all_have_some_label_are_given_one() -> None:
    logits = np.array([[2, 1, -1], [-3, -1, -2], [-1, -1, 4]], np.float32)
    given = decide(logits, "some")
    assert given.tolist() == [[True, True, False], [False, True, False], [False, False, True]]
    assert decide(logits, "any").tolist() == [[True, True, False], [False, False, False], [False, False, True]]
    assert how_many(given) == "some"
    assert how_many(decide(logits, "any")) == "any"
    assert how_many(np.array([0, 1])) == "one"
    assert right(logits, given, "some").all()
    assert right(logits, given, "any").tolist() == [True, False, True]


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


def test_an_interval_is_wilsons() -> None:
    share = Share.of(18, 20)
    assert (share.low, share.high) == (pytest.approx(0.699, abs=1e-3), pytest.approx(0.972, abs=1e-3))


def test_figures_agree_with_scikit_learn() -> None:
    logits, labels = draw(300)
    said = report(logits, labels, ("a", "b", "c", "d"), "one")
    assert macro_f1(logits, labels, "one") == pytest.approx(f1_score(labels, logits.argmax(axis=1), average="macro"))
    assert said["accuracy"]["estimate"] == pytest.approx(right(logits, labels, "one").mean())
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
        usual, careful = (confidences(logits / np.float32(t), "one") for t in (fitted, highest))
        least = find_threshold(usual, careful, 0.95)
        if least is not None:
            kept.append(right(logits, labels, "one")[usual >= least].mean())
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


def test_a_model_may_be_surer_than_another() -> None:
    logits, _ = draw(100)
    assert how_much_surer(3 * logits + 1, logits) == pytest.approx(3)
    assert how_much_surer(logits, 3 * logits) == 1.0
    assert how_much_surer(logits, np.zeros_like(logits)) == 1.0


def test_texts_that_are_equally_sure_are_sure_together() -> None:
    confidences = np.array([0.9, 0.99, 0.9, 0.9])
    assert find_threshold(confidences, confidences, 0.95) == 0.99
    assert find_threshold(confidences, confidences, 0.92) == 0.9
    assert find_threshold(confidences, confidences, 0.995) is None
    assert find_threshold(np.empty(0), np.empty(0), 0.5) is None
