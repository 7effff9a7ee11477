"""The advice to stop: models that really settle, and the words that are said of it."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.quality.stopping import Stability, advise, agreement, hardly_predicted


def test_agreement_is_what_goes_beyond_chance() -> None:
    # Cohen's own way: they agree on 7 of 10; by chance on 0.5 * 0.4 + 0.5 * 0.6.
    before = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    after = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 0])
    assert agreement(before, after) == pytest.approx((0.7 - 0.5) / (1 - 0.5))


def test_that_models_predict_the_same_one_choice_for_everything_is_no_agreement() -> None:
    assert agreement(np.zeros(5, np.int64), np.zeros(5, np.int64)) is None
    assert agreement(np.zeros(5, np.int64), np.ones(5, np.int64)) == 0.0
    assert agreement(np.zeros((5, 3), bool), np.zeros((5, 3), bool)) is None


def test_choices_that_are_never_predicted_do_not_make_models_agree() -> None:
    rng = np.random.default_rng(0)
    before = np.zeros((2000, 50), bool)
    before[:, :2] = rng.random((2000, 2)) < 0.5
    after = before.copy()
    after[:, :2] ^= rng.random((2000, 2)) < 0.1
    assert agreement(before, after) == pytest.approx(0.8, abs=0.05)


def test_a_choice_of_hardly_any_text_is_said_and_keeps_from_stopping() -> None:
    chosen = np.zeros((3000, 4), bool)
    chosen[:2998, 0] = True
    chosen[2998:, 1] = True
    chosen[:40, 2] = True
    assert hardly_predicted(chosen).tolist() == [1, 3]
    advice = advise([1.0] * 3, 50, unseen=["spam", "fraud", "scam", "phishing", "virus"])
    assert advice.word == "close"
    assert "'spam', 'fraud', 'scam' and 2 others" in advice.reason


def test_agreement_on_several_choices_is_the_mean_over_them() -> None:
    before = np.array([[True, False], [True, False], [False, False], [False, False]])
    after = np.array([[True, False], [False, False], [True, False], [False, False]])
    assert agreement(before, after) == pytest.approx(0.0)
    before[2:, 1] = after[2:, 1] = True
    assert agreement(before, after) == pytest.approx((0.0 + 1.0) / 2)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_agreement_does_not_depend_on_the_order_of_models_or_choices(pairs: list[tuple[int, int]]) -> None:
    before, after = np.array(pairs).T
    kappa = agreement(before, after)
    if kappa is None:
        assert len(set(before.tolist() + after.tolist())) == 1
        return
    assert -1 <= kappa <= 1
    assert kappa == pytest.approx(agreement(after, before))
    assert kappa == pytest.approx(agreement(4 - before, 4 - after))
    assert agreement(before, before) in (1.0, None)
    assert kappa == pytest.approx(cohen_kappa_score(before, after))


def test_predictions_of_different_texts_or_of_none_are_refused() -> None:
    with pytest.raises(ValueError, match="same texts"):
        agreement(np.zeros(3, np.int64), np.zeros(4, np.int64))
    with pytest.raises(ValueError, match="same texts"):
        agreement(np.zeros(0, np.int64), np.zeros(0, np.int64))


@pytest.mark.parametrize(
    ("kappas", "labels_per_class", "word", "reason"),
    [
        ([1.0] * 5, 9.5, "keep going", "There are 9.5 labels per choice, and below 10 it is too early to tell."),
        (
            [0.99, 1.0],
            50,
            "keep going",
            "Successive models were compared 2 times, and it takes 3 to tell whether they settle.",
        ),
        (
            [1.0, 1.0, 0.9, 0.9, 0.9],
            50,
            "keep going",
            "The last 3 models agree on 90.0 % of predictions beyond chance; labels still change them.",
        ),
        (
            [0.5, 0.95, 0.98, 0.995],
            50,
            "close",
            "The last 3 models agree on 97.5 % of predictions beyond chance; labels change them less and less.",
        ),
        (
            [0.5, 0.992, 0.993, 0.994],
            50,
            "you can stop",
            "The last 3 models agree on 99.3 % of predictions beyond chance; more labels hardly change them.",
        ),
    ],
)
def test_the_advice_says_what_it_rests_on(kappas: list[float], labels_per_class: float, word: str, reason: str) -> None:
    advice = advise(kappas, labels_per_class)
    assert (advice.word, advice.reason) == (word, reason)


def test_all_three_comparisons_must_agree_before_anyone_may_stop() -> None:
    assert advise([0.989, 1.0, 1.0], 50).word == "close"
    assert advise([0.0, 0.99, 0.99, 0.99], 50).word == "you can stop"


def test_accuracy_that_still_rises_contradicts_stable_models() -> None:
    stable = [0.995] * 3
    advice = advise(stable, 50, [(100, 0.70), (160, 0.75), (200, 0.80)])
    assert advice.word == "close"
    assert advice.reason.endswith("but accuracy still rose by 5.0 points over the last labels.")
    assert advise(stable, 50, [(100, 0.70), (160, 0.79), (200, 0.80)]).word == "you can stop"
    assert advise(stable, 50, [(190, 0.70), (200, 0.80)]).word == "you can stop"


def test_models_are_compared_ten_labels_apart_or_a_twentieth() -> None:
    start = Stability()
    assert [start.due(n) for n in (0, 9, 10)] == [False, False, True]
    later = Stability(labels=1000)
    assert [later.due(n) for n in (1000, 1040, 1053)] == [False, False, True]
    assert later.due(900)  # labels that were taken back change a model, too
    assert [later.due(1000, apart) for apart in (0, 49, 50)] == [False, False, True]  # and ones that are corrected


@given(st.lists(st.floats(-1, 1), max_size=50))
def test_history_survives_json_and_stays_short(kappas: list[float]) -> None:
    stability = Stability().after(10, None)
    assert stability == Stability(10, [])
    for n, kappa in enumerate(kappas):
        stability = stability.after(20 + n, kappa)
    assert stability.kappas == kappas[-20:]
    assert Stability(**json.loads(json.dumps(asdict(stability)))) == stability


def test_labelling_is_stopped_when_the_classes_are_known_but_not_before() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=3000)
    vectors = (2.5 * np.eye(8)[truth] + rng.normal(size=(3000, 8))).astype(np.float32)
    fixed, stability, predictions, words = vectors[2000:], Stability(), None, {}
    for n in range(10, 2001, 5):
        if not stability.due(n):
            continue
        now = LogisticRegression(3).fit(vectors[:n], truth[:n]).predict_proba(fixed).argmax(axis=1)
        stability = stability.after(n, None if predictions is None else agreement(predictions, now))
        predictions = now
        words.setdefault(advise(stability.kappas, n / 3).word, n)
    assert list(words) == ["keep going", "close", "you can stop"]
    accuracy_when_stopped = (
        LogisticRegression(3)
        .fit(vectors[: words["you can stop"]], truth[: words["you can stop"]])
        .predict_proba(fixed)
        .argmax(axis=1)
        == truth[2000:]
    ).mean()
    accuracy_of_all = (predictions == truth[2000:]).mean()
    assert words["you can stop"] < 1500
    assert accuracy_when_stopped > accuracy_of_all - 0.01
