"""The accuracy estimate against accuracies that are known."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.quality.accuracy import MIN_AUDIT_TASKS, Accuracy
from prepal.learning.quality.accuracy import estimate_accuracy as estimate_with_pool
from prepal.learning.quality.interval import share_interval


def texts(rng: np.random.Generator, centres: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(len(centres), size=n)
    vectors = centres[labels] + rng.normal(size=(n, centres.shape[1]))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def estimate_accuracy(
    vectors: np.ndarray, labels: np.ndarray, is_audit: np.ndarray, k: int, pool: np.ndarray | None = None, **how: Any
) -> Accuracy | None:
    """Without a pool, of a project whose texts are all labelled."""
    return estimate_with_pool(vectors, labels, is_audit, vectors[:0] if pool is None else pool, k, **how)


def test_the_interval_holds_the_true_accuracy_though_the_strategy_picked_hard_texts() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 8)) * 0.8
    test_vectors, test_labels = texts(rng, centres, 5000)
    held = biased_low = 0
    narrower = []
    for repeat in range(40):
        vectors, labels = texts(rng, centres, 1000)
        first = LogisticRegression(3).fit(vectors[:60], labels[:60])
        closest = np.argsort(first.predict_proba(vectors).max(axis=1))[:150]
        audited = rng.choice(1000, 20, replace=False)
        rows = np.union1d(closest, audited)
        pool = np.delete(vectors, rows, axis=0)
        estimate = estimate_accuracy(vectors[rows], labels[rows], np.isin(rows, audited), 3, pool, seed=repeat)
        final = LogisticRegression(3).fit(vectors[rows], labels[rows])
        true = (final.predict_proba(test_vectors).argmax(axis=1) == test_labels).mean()
        held += estimate.low <= true <= estimate.high
        biased_low += (final.predict_proba(vectors[closest]).argmax(axis=1) == labels[closest]).mean() < true
        low, high = share_interval(20 * estimate.audit_right, 20)
        narrower.append((estimate.high - estimate.low) / (high - low))
    assert held >= 36
    assert biased_low >= 30
    assert np.mean(narrower) < 0.7


@pytest.mark.parametrize("multilabel", [False, True])
def test_labels_that_the_strategy_chose_hardly_count_where_audit_tasks_contradict_them(multilabel: bool) -> None:
    rng = np.random.default_rng(1)
    audit_labels, chosen_labels = np.arange(40) % 2, rng.integers(2, size=60)
    vectors = np.zeros((100, 6), np.float32)
    vectors[np.arange(40), audit_labels] = 1  # told apart at once
    vectors[40:, 2:] = rng.normal(size=(60, 4))  # cannot be told apart: labels drawn by lot
    labels = np.concatenate([audit_labels, chosen_labels])
    is_audit, pool = np.arange(100) < 40, np.repeat(vectors[:40], 50, axis=0)  # as the audit tasks are
    wanted = np.eye(2, dtype=bool)[labels] if multilabel else labels
    accuracy = estimate_accuracy(vectors, wanted, is_audit, 2, pool, multilabel=multilabel)
    assert accuracy.audit_right == accuracy.macro_f1 == 1.0
    assert accuracy.estimate > 0.93
    assert accuracy.high > 0.98
    assert accuracy.audit_tasks == 40
    everything = estimate_accuracy(vectors, wanted, np.ones(100, bool), 2, multilabel=multilabel)
    assert everything.estimate < 0.9


def test_an_audit_task_is_predicted_by_a_classifier_that_has_not_seen_it() -> None:
    rng = np.random.default_rng(2)
    vectors = np.eye(64, dtype=np.float32)  # whoever has seen a label knows it; nobody else can
    accuracy = estimate_accuracy(vectors, rng.integers(2, size=64), np.ones(64, bool), 2)
    assert accuracy.estimate < 0.75


def test_labels_that_must_not_judge_do_not() -> None:
    """Their vectors know them already, as those of an encoder that learnt from them do."""
    rng = np.random.default_rng(3)
    labels = rng.integers(2, size=90)
    vectors = np.eye(90, 92, dtype=np.float32)
    vectors[:60, 90:] = np.eye(2)[labels[:60]]
    judging = np.arange(90) >= 60
    accuracy = estimate_accuracy(vectors, labels, np.ones(90, bool), 2, judging=judging)
    assert accuracy.audit_tasks == 30
    assert accuracy.audit_right < 0.75
    assert accuracy.estimate < 0.75
    assert estimate_accuracy(vectors, labels, np.arange(90) < 60, 2, judging=judging) is None


def test_what_softens_predictions_softens_what_is_expected() -> None:
    rng = np.random.default_rng(3)
    vectors, labels = texts(rng, 2 * rng.normal(size=(3, 5)), 1000)
    few = {"pool": vectors[60:], "is_audit": np.arange(60) < 5}
    sure, softer = (estimate_accuracy(vectors[:60], labels[:60], k=3, **few, temperature=t) for t in (1.0, 3.0))
    assert softer.estimate < sure.estimate
    assert softer.audit_right == sure.audit_right


def test_macro_f1_is_scikit_learns() -> None:
    rng = np.random.default_rng(4)
    vectors, labels = texts(rng, rng.normal(size=(4, 5)), 30)
    accuracy = estimate_accuracy(vectors, labels, np.ones(30, bool), 4, folds=30)
    predicted = [
        LogisticRegression(4)
        .fit(np.delete(vectors, i, 0), np.delete(labels, i))
        .predict_proba(vectors[i : i + 1])
        .argmax()
        for i in range(30)
    ]
    assert accuracy.audit_right == pytest.approx(np.mean(predicted == labels))
    assert accuracy.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_several_choices_are_right_when_all_are_and_no_other() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(60, 4)).astype(np.float32)
    labels = np.column_stack([vectors[:, 0] > 0, rng.random(60) < 0.5])
    accuracy = estimate_accuracy(vectors, labels, np.ones(60, bool), 2, multilabel=True)
    assert 0.3 < accuracy.estimate < 0.65


def test_noise_among_many_choices_is_not_nearly_always_right() -> None:
    rng = np.random.default_rng(6)
    vectors = rng.normal(size=(80, 8)).astype(np.float32)
    labels = np.zeros((80, 28), bool)
    labels[np.arange(80), rng.integers(28, size=80)] = True
    accuracy = estimate_accuracy(vectors, labels, np.ones(80, bool), 28, multilabel=True)
    assert accuracy.estimate < 0.2


def test_equal_texts_are_held_out_together() -> None:
    rng = np.random.default_rng(7)
    once, labels = np.eye(40, 48, dtype=np.float32), rng.integers(2, size=40)
    vectors, twice, groups = np.repeat(once, 2, axis=0), np.repeat(labels, 2), np.repeat(np.arange(40), 2)
    leaking = estimate_accuracy(vectors, twice, np.ones(80, bool), 2)
    accuracy = estimate_accuracy(vectors, twice, np.ones(80, bool), 2, groups=groups)
    assert leaking.estimate > 0.9
    assert accuracy.estimate < 0.75


def test_equal_texts_count_once_for_the_interval() -> None:
    """Who takes two copies of each text for two texts is too sure."""
    held, narrower = 0, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        vectors, labels = texts(rng, 0.45 * rng.normal(size=(2, 16)), 1040)
        place, pool = np.repeat(np.arange(40), 2), vectors[40:]
        accuracy = estimate_accuracy(vectors[place], labels[place], np.ones(80, bool), 2, pool, groups=place)
        alone = estimate_accuracy(vectors[:40], labels[:40], np.ones(40, bool), 2, pool)
        classifier = LogisticRegression(2).fit(vectors[place], labels[place])
        right = classifier.predict_proba(pool).argmax(axis=1) == labels[40:]
        held += accuracy.low <= right.mean() <= accuracy.high
        narrower.append((accuracy.high - accuracy.low) / (alone.high - alone.low))
    assert held >= 34
    assert 0.9 < np.mean(narrower) < 1.15


@pytest.mark.parametrize("audits", [60, 20])
def test_what_the_names_say_is_learnt_without_the_texts_that_are_held_out(audits: int) -> None:
    """Names that say nothing, and labels by lot: examples that were held out would seem to be predicted."""
    rng = np.random.default_rng(8)
    vectors = rng.normal(size=(660, 32)).astype(np.float32)
    labels = np.arange(60) % 30
    learner = ActiveLearner(30, "random", name_vectors=rng.normal(size=(30, 32)).astype(np.float32))
    learner.fit(vectors[:60], labels, vectors[60:])
    accuracy = estimate_accuracy(vectors[:60], labels, np.arange(60) < audits, 30, prior=learner.prior)
    assert accuracy.estimate <= 0.15


def test_too_few_audit_tasks_give_no_estimate() -> None:
    rng = np.random.default_rng(6)
    vectors, labels = texts(rng, rng.normal(size=(2, 5)), 40)
    assert estimate_accuracy(vectors, labels, np.arange(40) < MIN_AUDIT_TASKS - 1, 2) is None
    assert estimate_accuracy(vectors, labels, np.arange(40) < MIN_AUDIT_TASKS, 2) is not None


def test_labels_that_tell_nothing_apart_give_no_estimate() -> None:
    vectors = np.random.default_rng(7).normal(size=(20, 3)).astype(np.float32)
    assert estimate_accuracy(vectors, np.zeros(20, np.int64), np.ones(20, bool), 2) is None
    nearly = np.zeros(20, np.int64)
    nearly[0] = 1
    assert estimate_accuracy(vectors, nearly, np.ones(20, bool), 2) is None
    assert estimate_accuracy(vectors, np.zeros((20, 2), bool), np.ones(20, bool), 2, multilabel=True) is None


def test_the_same_seed_gives_the_same_estimate() -> None:
    rng = np.random.default_rng(8)
    vectors, labels = texts(rng, rng.normal(size=(3, 5)), 60)
    first, second = (estimate_accuracy(vectors, labels, np.arange(60) < 40, 3, seed=3) for _ in range(2))
    assert first == second
