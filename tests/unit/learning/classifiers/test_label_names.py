"""The names of the choices as a classifier of their own."""

import numpy as np
import pytest

from prepal.learning.classifiers.label_names import name_text, name_weights


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SCIENCE_TECH", "science tech"),
        ("Refund_not_showing_up", "refund not showing up"),
        ("billingIssue", "billing issue"),
        ("Sci/Tech", "sci tech"),
        ("  spam ", "spam"),
        ("日本", "日本"),
    ],
)
def test_a_name_is_read_as_words(name: str, text: str) -> None:
    assert name_text(name) == text


def test_texts_go_to_the_name_they_are_like() -> None:
    rng = np.random.default_rng(0)
    kind = np.arange(300) % 3
    vectors = (np.eye(3, 16)[kind] + 0.3 * rng.normal(size=(300, 16))).astype(np.float32)
    weights = name_weights(vectors, np.eye(3, 16, dtype=np.float32))
    logits = vectors @ weights[:-1] + weights[-1]
    assert (logits.argmax(axis=1) == kind).mean() > 0.95


def test_one_example_of_each_choice_puts_names_right_that_say_nothing() -> None:
    rng = np.random.default_rng(0)
    kind = np.arange(300) % 3
    vectors = (np.eye(3, 16)[kind] + 0.3 * rng.normal(size=(300, 16))).astype(np.float32)
    names = rng.normal(size=(3, 16)).astype(np.float32)
    right = []
    for labels in (None, kind[:3]):
        weights = name_weights(vectors, names, labels)
        right.append(float(((vectors @ weights[:-1] + weights[-1]).argmax(axis=1) == kind).mean()))
    assert right[1] > max(0.9, right[0])


def test_names_alone_are_only_moderately_sure() -> None:
    vectors = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    weights = name_weights(vectors, np.eye(4, 16, dtype=np.float32))
    logits = vectors @ weights[:-1] + weights[-1]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert (odds / odds.sum(axis=1, keepdims=True)).max(axis=1).mean() == pytest.approx(0.25 + 0.6 * 0.75, abs=0.01)


def test_the_same_names_twice_and_fewer_texts_than_stand_for_one_are_no_trouble() -> None:
    vectors = np.eye(2, 8, dtype=np.float32)
    assert np.isfinite(name_weights(vectors, np.ones((3, 8), np.float32))).all()
