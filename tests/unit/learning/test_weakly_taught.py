"""Predictions that somebody imported help from the start where they are right, and hardly harm where they are not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.weak_labels import WeakLabels
from prepal.learning.weakly_taught import WeaklyTaught

K, RIGHT = 4, 0.7


def texts(count: int = 1500, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors of texts, their classes mixed a little, and their classes."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(K, size=count)
    vectors = 0.35 * np.eye(K, 24)[kind] + rng.normal(0, 0.1, (count, 24))
    return vectors.astype(np.float32), kind


def said(kind: NDArray[np.int64], how: str, seed: int = 0) -> NDArray[np.int64]:
    """What somebody predicted: right 70 % of the time, shuffled, always the next class, or always the same."""
    rng = np.random.default_rng(seed)
    noisy = np.where(rng.random(len(kind)) < RIGHT, kind, (kind + rng.integers(1, K, len(kind))) % K)
    return {
        "right": noisy,
        "shuffled": rng.permutation(noisy),
        "reversed": (kind + 1) % K,
        "constant": np.zeros_like(kind),
    }[how]


def accuracy(learner: ActiveLearner, labels: int, seed: int = 0) -> float:
    """Of a learner that has chosen so many labels."""
    vectors, kind = texts()
    labelled = np.empty(0, np.int64)
    while True:
        free = np.setdiff1d(np.arange(len(vectors)), labelled)
        learner.fit(vectors[labelled], kind[labelled], vectors[free])
        if len(labelled) == labels:
            break
        picks = learner.select(vectors[free], min(5, labels - len(labelled)), np.random.default_rng(seed))
        labelled = np.concatenate([labelled, free[picks]])
    probabilities = learner.predict_proba(vectors)
    assert probabilities is not None
    assert np.isfinite(probabilities).all()
    return float((probabilities.argmax(axis=1) == kind).mean())


def taught(how: str, names: NDArray[np.float32] | None = None) -> WeaklyTaught:
    vectors, kind = texts()
    return WeaklyTaught(K, "auto", WeakLabels(vectors.astype(np.float16), said(kind, how)), names)


NAMES = {"no names": None, "names": np.eye(K, 24, dtype=np.float32)}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_before_any_label_the_classifier_is_more_often_right_than_the_predictions(
    names: NDArray[np.float32] | None,
) -> None:
    assert accuracy(taught("right", names), 0) > RIGHT + 0.1


@pytest.mark.parametrize("how", ["shuffled", "reversed", "constant"])
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_thirty_labels_turn_off_what_misleads(how: str, names: NDArray[np.float32] | None) -> None:
    # Names that are right are what there is without predictions.
    without = accuracy(ActiveLearner(K, "auto", name_vectors=NAMES["names"]), 30)
    learner = taught(how, names)
    assert accuracy(learner, 30) > without - 0.05
    if how == "reversed":
        assert learner.weights[0] < 0.5


def test_what_is_right_goes_on_to_count() -> None:
    for names in NAMES.values():
        learner = taught("right", names)
        accuracy(learner, 30)
        assert learner.weights[0] > 0.5


def test_of_one_weak_label_nothing_is_learnt() -> None:
    vectors, kind = texts()
    learner = WeaklyTaught(K, "auto", WeakLabels(vectors[:1], kind[:1]), NAMES["names"])
    plain = ActiveLearner(K, "auto", name_vectors=NAMES["names"])
    for one in (learner, plain):
        one.fit(vectors[:0], kind[:0], vectors)
    np.testing.assert_allclose(learner.predict_proba(vectors), plain.predict_proba(vectors), atol=1e-6)  # type: ignore[arg-type]


def test_the_same_labels_lead_to_the_same_classifier_whatever_came_before() -> None:
    vectors, kind = texts()
    one, other = taught("right", NAMES["names"]), taught("right", NAMES["names"])
    one.fit(vectors[:7], kind[:7], vectors[7:])
    for learner in (one, other):
        learner.fit(vectors[:20], kind[:20], vectors[20:])
    np.testing.assert_allclose(one.predict_proba(vectors), other.predict_proba(vectors), atol=2e-3)  # type: ignore[arg-type]
