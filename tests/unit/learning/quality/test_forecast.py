"""Forecasts of labels needed: of curves that are known, and of classifiers that are."""

import math

import numpy as np
import pytest

from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.quality.forecast import LEAST_LABELS, Curve, looking_back


def accuracy(labels: float, scale: float, shape: float, most: float = 0.9) -> float:
    return most * -math.expm1(-((labels / scale) ** shape))


def after(labels: int, scale: float, shape: float, noise: float = 0.0, rng: np.random.Generator | None = None) -> Curve:
    seen = {
        round(part * labels): accuracy(part * labels, scale, shape) / accuracy(labels, scale, shape)
        for part in (0.2, 0.4, 0.6, 0.8)
    }
    if rng is not None:
        seen = {n: worth * np.exp(noise * np.log2(labels / n) * rng.normal()) for n, worth in seen.items()}
    return Curve.after(labels, seen)


def test_the_band_holds_the_labels_needed_nine_times_in_ten() -> None:
    rng, held = np.random.default_rng(0), []
    for _ in range(200):
        scale, shape = np.exp(rng.multivariate_normal([1.0, -1.2], [[5.0, 0.4], [0.4, 0.3]]))
        band = after(100, scale, shape, 0.04, rng).until_part(0.95, 300)
        left = 1 - 0.95 * accuracy(300, scale, shape, 1.0)
        held.append(band.low <= scale * (-math.log(left)) ** (1 / shape) <= band.high)
    assert 0.84 < np.mean(held) < 0.97


@pytest.mark.parametrize("goal", [0.7, 0.8, 0.85])
def test_an_accuracy_is_foretold_from_where_it_is_now(goal: float) -> None:
    scale, shape = 50.0, 0.6
    now = accuracy(100, scale, shape)
    true = scale * (-math.log(1 - goal / 0.9)) ** (1 / shape)
    band = after(100, scale, shape).until(goal, (now, now - 0.03, now + 0.03))
    assert band.low <= true <= band.high
    assert (band.about > 100) is (goal > now)


def test_a_curve_that_still_rises_takes_more_labels_than_one_that_does_not() -> None:
    known = (0.8, 0.77, 0.83)
    flat, steep = (after(100, scale, 0.6).until(0.83, known) for scale in (5.0, 80.0))
    assert steep.about < flat.about
    # Of what it is heading for, the steep one lacks more.
    flat, steep = (after(100, scale, 0.6).until_part(0.95, 300) for scale in (5.0, 80.0))
    assert steep.about > flat.about


def test_less_known_of_the_accuracy_is_less_known_of_the_labels() -> None:
    curve = after(100, 50.0, 0.6)
    close, far = (curve.until(0.75, (0.7, 0.7 - doubt, 0.7 + doubt)) for doubt in (0.01, 0.1))
    assert far.low < close.low
    assert far.high > close.high


def test_what_is_never_reached_is_not_foretold() -> None:
    curve = after(100, 5.0, 0.8)
    assert curve.until(0.99, (0.6, 0.58, 0.62)).about == math.inf
    assert curve.next_goal((0.6, 0.595, 0.605), 1000) is None
    assert curve.next_goal((0.995, 0.99, 0.999), 10**6) is None


def test_the_next_goal_lies_above_the_accuracy_and_within_the_texts() -> None:
    curve, known = after(100, 60.0, 0.5), (0.72, 0.68, 0.76)
    found = curve.next_goal(known, 100_000)
    assert found is not None
    assert found.goal == 0.75
    assert 100 <= found.low < found.about < (found.high or math.inf)
    fewer = curve.next_goal(known, found.about)
    assert fewer is not None
    assert (fewer.about, fewer.high) == (found.about, None)
    assert curve.next_goal(known, found.about - 1) is None


@pytest.mark.parametrize("multilabel", [False, True])
def test_earlier_classifiers_are_worth_less_the_fewer_labels_they_learnt_from(multilabel: bool) -> None:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(6, 16))
    choices = rng.integers(6, size=1200)
    vectors = (centres[choices] + rng.normal(size=(1200, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = np.eye(6, dtype=bool)[choices] if multilabel else choices
    seen = looking_back(vectors[:200], labels[:200], vectors[200:], 6, multilabel=multilabel)
    assert list(seen) == [40, 80, 120, 160]
    worth = list(seen.values())
    assert worth[0] < worth[2] < 1.01
    assert worth[0] < worth[3] < 1.01
    if not multilabel:
        early, now = (LogisticRegression(6).fit(vectors[:n], labels[:n]) for n in (40, 200))
        right = [np.mean(one.predict_proba(vectors[200:]).argmax(1) == choices[200:]) for one in (early, now)]
        assert worth[0] == pytest.approx(right[0] / right[1], abs=0.08)


def test_there_is_no_looking_back_where_there_is_nothing_to_see() -> None:
    rng = np.random.default_rng(2)
    vectors, labels = rng.normal(size=(100, 4)).astype(np.float32), rng.integers(2, size=100)
    few = LEAST_LABELS - 1
    assert looking_back(vectors[:few], labels[:few], vectors, 2) == {}
    assert looking_back(vectors, labels, vectors[:0], 2) == {}
    assert looking_back(vectors, np.zeros(100, np.int64), vectors, 2) == {}
    # The first twenty and forty labels tell no two texts apart.
    labels[:50] = 0
    assert list(looking_back(vectors, labels, vectors, 2)) == [60, 80]
    assert Curve.after(20, {}).until_part(0.95, 300).about > 0
