"""The accuracy on all texts by confidences: that it is honest whatever these are worth, and told better by them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from prepal.learning.quality import bearing_out
from prepal.learning.quality.bearing_out import Judged
from prepal.learning.quality.interval import share_interval

NOBODY = Judged(np.empty(0), np.empty(0, bool), np.empty(0))


def accuracy_on_all(confidence: np.ndarray, drawn: Judged, chosen: Judged) -> tuple[float, float, float]:
    return bearing_out.accuracy_on_all(confidence, drawn, chosen, len(confidence))


def judged(rng: np.random.Generator, confidence: np.ndarray, offset: float) -> Judged:
    """Texts whose classifier is right as often as its confidences with that offset say."""
    right = rng.random(len(confidence)) < expit(logit(confidence) + offset)
    return Judged(confidence, right, np.ones(len(confidence)))


@pytest.mark.parametrize(("audits", "others"), [(5, 45), (10, 90), (30, 270)])
@pytest.mark.parametrize("surest", [0.9, 0.999])
def test_it_holds_the_truth_and_is_narrower_than_what_audit_tasks_say(audits: int, others: int, surest: float) -> None:
    rng, held, narrower = np.random.default_rng(audits), [], []
    for _ in range(200):
        confidence = rng.uniform(0.5, surest, 2000)
        offset, other = rng.normal(0, 0.4, 2)
        true = expit(logit(confidence) + offset).mean()
        drawn = judged(rng, rng.choice(confidence, audits), offset)
        chosen = judged(rng, rng.uniform(0.4, 0.8, others), offset + other / 2)
        _, low, high = accuracy_on_all(confidence, drawn, chosen)
        least, most = share_interval(drawn.right.sum(), audits)
        held.append(low <= true <= high)
        narrower.append((high - low) / (most - least))
    assert np.mean(held) > 0.92
    assert np.mean(narrower) < 0.7


@pytest.mark.parametrize("offset", [-3.0, 3.0])
def test_many_that_were_drawn_decide_alone(offset: float) -> None:
    """However wrong the confidences are, and whatever others say."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 0.95, 2000)
    true = expit(logit(confidence) + offset).mean()
    drawn = judged(rng, rng.choice(confidence, 3000), offset)
    estimate, low, high = accuracy_on_all(confidence, drawn, judged(rng, confidence[:300], -offset))
    assert low < true < high
    assert estimate == pytest.approx(true, abs=0.02)


def test_others_are_soon_given_up_where_those_that_were_drawn_contradict_them() -> None:
    """As where people accept whatever they are shown, but for the audit tasks, which hide it."""
    rng = np.random.default_rng(1)
    confidence = np.full(2000, 0.9)
    drawn = judged(rng, confidence[:60], logit(0.6) - logit(0.9))
    estimate, low, _ = accuracy_on_all(confidence, drawn, judged(rng, confidence[:540], logit(0.95) - logit(0.9)))
    assert estimate < 0.72
    assert low < 0.6


def test_equal_texts_count_as_one() -> None:
    confidence, right = np.array([0.6, 0.7, 0.9]), np.array([True, False, True])
    once = Judged(confidence, right, np.ones(3))
    twice = Judged(np.repeat(confidence, 2), np.repeat(right, 2), np.full(6, 0.5))
    assert accuracy_on_all(confidence, once, NOBODY) == pytest.approx(accuracy_on_all(confidence, twice, NOBODY))
    assert accuracy_on_all(confidence, NOBODY, once) == pytest.approx(accuracy_on_all(confidence, NOBODY, twice))


@settings(deadline=None)
@given(data=st.data(), all_texts=st.lists(st.floats(0, 1), min_size=1, max_size=700))
def test_any_confidences_have_an_interval_around_the_estimate(data: st.DataObject, all_texts: list[float]) -> None:
    def some() -> Judged:
        pairs = data.draw(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=20))
        confidence, right = (np.array([pair[at] for pair in pairs], of) for at, of in enumerate((float, bool)))
        return Judged(confidence, right, np.ones(len(pairs)))

    drawn, chosen = some(), some()
    estimate, low, high = accuracy_on_all(np.array(all_texts), drawn, chosen)
    assert 0 <= low <= estimate <= high <= 1
    if len(drawn.right):
        better = Judged(drawn.confidence, np.ones(len(drawn.right), bool), drawn.weight)
        assert accuracy_on_all(np.array(all_texts), better, chosen)[0] >= estimate - 1e-9
