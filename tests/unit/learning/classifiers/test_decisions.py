"""Which labels a text is given, how likely that is right, and macro-F1: the definitions that all figures share."""

import subprocess
import sys
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.metrics import f1_score

from prepal.learning.classifiers.decisions import HowMany, confidences, decide, how_many, macro_f1, marks, right


def test_texts_that_all_have_some_label_are_given_one() -> None:
    logits = np.array([[2, 1, -1], [-3, -1, -2], [-1, -1, 4]], np.float32)
    some, any_number = decide(logits, "some", 0), decide(logits, "any", 0)
    assert some.tolist() == [[True, True, False], [False, True, False], [False, False, True]]
    assert any_number.tolist() == [[True, True, False], [False, False, False], [False, False, True]]
    assert how_many(some) == "some"
    assert how_many(any_number) == "any"
    assert how_many(np.array([0, 1])) == "one"
    assert right(some, any_number).tolist() == [True, False, True]


@pytest.mark.parametrize("order", ["C", "F"])
def test_of_choices_that_are_as_likely_a_text_is_given_the_first(order: Literal["C", "F"]) -> None:
    scores = np.array(np.random.default_rng(0).integers(3, size=(200, 5)), np.float32, order=order)
    np.testing.assert_array_equal(decide(scores, "one"), marks(scores.argmax(axis=1), 5))


# No two alike, and none on the boundary.
logits_of_texts = st.integers(1, 6).flatmap(
    lambda k: st.lists(
        st.lists(st.integers(-30, 30).filter(bool), min_size=k, max_size=k, unique=True), min_size=1, max_size=8
    )
)


@given(logits_of_texts, st.sampled_from(["one", "some", "any"]))
@settings(deadline=None)
def test_logits_and_probabilities_give_the_same_labels_and_as_many_as_a_text_has(
    rows: list[list[int]], each: HowMany
) -> None:
    logits = np.array(rows, np.float64)
    probabilities = softmax(logits, axis=1) if each == "one" else expit(logits)
    given_labels = decide(probabilities, each)
    assert (given_labels == decide(logits, each, 0)).all()
    counts = given_labels.sum(axis=1)
    assert (counts == 1).all() if each == "one" else (counts >= 1).all() if each == "some" else True
    sure = confidences(probabilities, each)
    assert ((sure >= 0) & (sure <= 1)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("each", ["some", "any"])
def test_a_confidence_is_how_often_what_is_given_is_right(each: HowMany, dtype: type[np.floating]) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 1.5, (100_000, 4))
    truth = logits + rng.logistic(size=logits.shape) > 0
    if each == "some":
        logits, truth = logits[truth.any(axis=1)], truth[truth.any(axis=1)]
    probabilities = expit(logits).astype(dtype)
    sure = confidences(probabilities, each)
    assert sure.dtype == dtype
    hit = right(decide(probabilities, each), truth)
    for low in (0.1, 0.3, 0.5, 0.7):
        part = (sure >= low) & (sure < low + 0.2)
        assert hit[part].mean() == pytest.approx(sure[part].mean(), abs=0.04)


def test_nothing_overflows_where_no_label_is_likely() -> None:
    probabilities = expit(np.array([[-80, -90, -80], [-700, -800, -900], [-900, -900, -900], [900, 900, 900]], float))
    assert confidences(probabilities, "some") == pytest.approx([0.5, 1.0, 1 / 3, 1.0], abs=1e-3)


@pytest.mark.parametrize("several", [False, True])
def test_macro_f1_is_scikit_learns_of_the_labels_that_occur(several: bool) -> None:
    rng = np.random.default_rng(0)

    def drawn() -> NDArray[np.bool_]:
        # The last two of six labels are never had nor given.
        return marks(rng.random((40, 4)) < 0.3 if several else rng.integers(4, size=40), 6 if not several else 4)

    truth, given_labels = drawn(), drawn()
    expected = f1_score(truth, given_labels, average="macro", labels=range(4), zero_division=0)
    assert macro_f1(truth, given_labels) == pytest.approx(expected)
    assert macro_f1(np.zeros((3, 2), bool), np.zeros((3, 2), bool)) == 1


def test_deciding_needs_no_scikit_learn() -> None:
    modules = "prepal.learning.classifiers.decisions, prepal.learning.quality.folds"
    code = f"import sys, {modules}; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
