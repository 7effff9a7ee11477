"""Thresholds that keep what they promise: what judged texts leave possible, and what they contradict."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prepal.learning.classifiers.decisions import HowMany
from prepal_workers.final_model.predict import Threshold, find_threshold
from prepal_workers.final_model.trust import Trust
from prepal_workers.training.measures import confidences, fit_temperature, right

Drawn = tuple[NDArray[np.float32], NDArray[np.int64]]


def shown(rng: np.random.Generator, n: int, spread: float, overconfident: float = 1.0) -> Drawn:
    """Labels drawn from what logits say, and these logits, too sure by a factor."""
    logits = rng.normal(0, spread, (n, 4)).astype(np.float32)
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return logits * np.float32(overconfident), labels


def mislabelled(rng: np.random.Generator, n: int, share: float, *, surest: bool = False) -> Drawn:
    """Texts that a model knows well, some of them, or of its surest half, with another label than they look."""
    labels = rng.integers(4, size=n)
    logits = rng.normal(size=(n, 4))
    logits[np.arange(n), labels] += 6
    sure = confidences(logits.astype(np.float32), "one")
    wrong = rng.random(n) < share * (2 * (sure > np.median(sure)) if surest else 1)
    return logits.astype(np.float32), np.where(wrong, (labels + rng.integers(1, 4, size=n)) % 4, labels)


def promised(judged: Drawn, asked: Drawn, accuracy: float = 0.95) -> tuple[float, float]:
    """The share of texts that are called sure, and of these the share that is right."""
    temperature = np.float32(fit_temperature(*judged))
    trust = Trust.of(judged[0] / temperature, judged[1], "one", np.arange(len(judged[1])))
    logits = asked[0] / temperature
    least = find_threshold(trust, logits, "one", accuracy)
    sure = confidences(logits, "one") >= (np.inf if least is None else least)
    return float(sure.mean()), float((logits.argmax(axis=1) == asked[1])[sure].mean()) if sure.any() else np.nan


@pytest.mark.parametrize("judged", [200, 1000])
@pytest.mark.parametrize("share", [0.06, 0.1, 0.15])
@pytest.mark.parametrize("surest", [False, True])
def test_what_judged_texts_contradict_is_not_promised(judged: int, share: float, surest: bool) -> None:
    kept = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sure, right_of_these = promised(
            mislabelled(rng, judged, share, surest=surest), mislabelled(rng, 1000, share, surest=surest)
        )
        kept += [right_of_these] if sure else []
    assert not kept or np.mean(kept) >= 0.95


@pytest.mark.parametrize("judged", [60, 200])
@pytest.mark.parametrize("overconfident", [0.7, 2.5])
def test_a_threshold_keeps_its_promise(judged: int, overconfident: float) -> None:
    kept = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        # The judged texts are harder than the others: their classes lie nearer together.
        sure, right_of_these = promised(shown(rng, judged, 1.5, overconfident), shown(rng, 1000, 3.0, overconfident))
        kept += [right_of_these] if sure else []
    assert len(kept) >= 12
    assert np.mean(np.array(kept) >= 0.94) > 0.88


@pytest.mark.parametrize("judged", [60, 300])
def test_texts_that_are_known_well_are_sure(judged: int) -> None:
    rng = np.random.default_rng(0)
    assert promised(mislabelled(rng, judged, 0), mislabelled(rng, 500, 0))[0] > 0.8


def test_equal_texts_count_once() -> None:
    rng = np.random.default_rng(0)
    logits, labels = mislabelled(rng, 40, 0)
    once = Trust.of(logits, labels, "one", np.arange(40))
    again = Trust.of(np.tile(logits, (9, 1)), np.tile(labels, 9), "one", np.tile(np.arange(40), 9))
    assert len(again.sure) == 40
    np.testing.assert_allclose(again.sure, once.sure)
    np.testing.assert_allclose(again.chances, once.chances, rtol=1e-6)


def test_a_surer_model_is_believed_less() -> None:
    rng = np.random.default_rng(0)
    trust = Trust.of(*shown(rng, 300, 3.0), "one", np.arange(300))
    asked, _ = shown(rng, 1000, 3.0)
    usual = find_threshold(trust, asked, "one", 0.95)
    surer = find_threshold(replace(trust, surer=1.5), asked * np.float32(1.5), "one", 0.95)
    assert usual is not None
    assert surer is not None
    assert (
        (confidences(asked, "one") >= usual) == (confidences(asked * np.float32(1.5), "one") >= surer)
    ).mean() > 0.95


@given(
    st.sampled_from(["one", "some", "any"]),
    st.integers(1, 40),
    st.integers(2, 4),
    st.floats(0.01, 0.99),
    st.floats(0, 30),
    st.integers(0, 9),
)
@settings(deadline=None, max_examples=60)
def test_whatever_was_judged_a_threshold_is_a_confidence_or_none_and_survives_a_file(
    each: HowMany, n: int, k: int, accuracy: float, spread: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (n, k)).astype(np.float32)
    labels = rng.integers(k, size=n) if each == "one" else rng.random((n, k)) < 0.5
    if each == "some":
        labels[:, 0] |= ~labels.any(axis=1)
    trust = Trust.of(logits, labels, each, rng.integers(n, size=n))
    assert trust.chances.sum() == pytest.approx(1)
    kept = Trust.from_json(json.loads(json.dumps(trust.to_json())))
    for asked in (logits, logits[:1], logits[:0]):
        least = find_threshold(kept, asked, each, accuracy)
        sure = confidences(asked, each)
        if least is not None:
            assert least in sure
            as_sure = trust.sure >= least - 1e-5
            assert not as_sure.any() or trust.hits[as_sure].mean() >= accuracy - 0.01
    assert len(logits) == len(right(logits, labels, each))


def test_texts_that_are_equally_sure_are_sure_together() -> None:
    rng = np.random.default_rng(0)
    trust = Trust.of(*mislabelled(rng, 300, 0), "one", np.arange(300))
    # The mean of all is enough for 92 %, the one of the first two for 95 %.
    asked = np.repeat(np.array([[9.0, 0, 0, 0], [3.2, 0, 0, 0]], np.float32), [2, 9], axis=0)
    sure = confidences(asked, "one")
    for accuracy, of_these in ((0.8, 11), (0.95, 2)):
        least = find_threshold(trust, asked, "one", accuracy)
        assert least is not None
        assert (sure >= least).sum() == of_these
    assert find_threshold(trust, asked[2:], "one", 0.95) is None
    assert find_threshold(trust, asked[:0], "one", 0.5) is None


def test_what_is_safe_for_none_is_said() -> None:
    assert str(Threshold(0.95, None, 40)).endswith("95 % is safe for none: label more.")
    assert str(Threshold(0.95, None, None)).endswith("95 % is safe for none: fine-tune it again.")
    assert str(Threshold(0.95, 0.9, 40)).startswith("Sure from a confidence of 0.900 on")
