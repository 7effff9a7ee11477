"""What a teacher believes, how sure it is, and of which texts a model learns that."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, softmax

from prepal.learning.classifiers.labels import Labels, NothingToLearn
from prepal_workers.model.sequence_model import Answers
from prepal_workers.training.teacher import believe, draw, lexical_of


def world(n: int, m: int, k: int, seed: int, *, several: bool = False) -> tuple[Answers, Labels, NDArray[np.int64]]:
    """What a model makes of k clouds that overlap, the labels of the first n, and the clouds of the m others."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, 12))
    own, others = rng.permutation(n) % k, rng.integers(k, size=m)
    vectors = centres[np.r_[own, others]] + rng.normal(size=(n + m, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    answers = Answers(vectors.astype(np.float32), np.zeros((n + m, k), np.float32))
    return answers, own[:, None] == np.arange(k) if several else own, others


def said(model: Answers, labels: Labels, places: NDArray[np.int64], k: int = 3) -> NDArray[np.float32]:
    return believe([model], np.zeros((len(model.vectors), 0), np.float32), labels, places, k)


@pytest.mark.parametrize("several", [False, True])
def test_it_knows_other_texts_and_is_about_as_sure_as_it_is_right(several: bool) -> None:
    sure, right = [], []
    for seed in range(6):
        model, labels, truth = world(90, 400, 3, seed, several=several)
        logits = said(model, labels, np.arange(90))[90:]
        probabilities = expit(logits) if several else softmax(logits, axis=1)
        hit = (probabilities > 0.5) == (truth[:, None] == np.arange(3)) if several else logits.argmax(axis=1) == truth
        sure.append(
            np.maximum(probabilities, 1 - probabilities).mean() if several else probabilities.max(axis=1).mean()
        )
        right.append(hit.mean())
    assert np.mean(right) > 0.8
    assert np.mean(sure) == pytest.approx(np.mean(right), abs=0.1)


@given(st.integers(0, 99), st.booleans())
@settings(deadline=None, max_examples=15)
def test_labels_that_may_not_be_learnt_from_change_nothing(seed: int, several: bool) -> None:
    model, labels, _ = world(60, 80, 3, seed, several=several)
    hidden = np.arange(60) % 5 == 0
    before = said(model, labels, np.flatnonzero(~hidden))
    labels[hidden] = ~labels[hidden] if several else (labels[hidden] + 1) % 3
    np.testing.assert_array_equal(said(model, labels, np.flatnonzero(~hidden)), before)


def test_labels_that_are_all_the_same_teach_nothing() -> None:
    model, labels, _ = world(30, 20, 3, 0)
    with pytest.raises(NothingToLearn):
        said(model, labels, np.flatnonzero(labels == 1))


def test_of_few_labels_a_model_is_believed_that_is_sure_where_the_classifier_is_not() -> None:
    model, labels, truth = world(45, 200, 3, 0)
    knows = (10.0 * (np.r_[labels, truth][:, None] == np.arange(3))).astype(np.float32)
    sure = Answers(model.vectors, knows)

    def right(places: NDArray[np.int64], of: Answers) -> float:
        return float((said(of, labels, places)[45:].argmax(axis=1) == truth).mean())

    few, many = np.arange(29), np.arange(45)
    assert right(few, sure) > right(few, model)
    assert right(many, sure) == right(many, model)


def test_what_two_models_see_is_seen_together() -> None:
    model, labels, truth = world(60, 200, 3, 0)
    halves = [Answers(part, model.logits) for part in np.split(model.vectors, 2, axis=1)]
    words = np.zeros((260, 0), np.float32)
    one, both = (
        float((believe(of, words, labels, np.arange(60), 3)[60:].argmax(axis=1) == truth).mean())
        for of in (halves[:1], halves)
    )
    assert both > one


def test_words_of_pairs_are_those_of_both_texts() -> None:
    first, second = "the parcel is late again", "my refund has not come"
    found = lexical_of([(first, second), first, second, f"{first} {second}"])
    likeness = found @ found.T
    assert likeness[0, 3] > max(likeness[0, 1], likeness[0, 2]) > 0


@given(st.integers(2, 6), st.integers(1, 300), st.integers(1, 400), st.booleans(), st.integers(0, 99))
@settings(deadline=None)
def test_so_many_texts_are_drawn_each_once(k: int, m: int, most: int, several: bool, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(m, k)).astype(np.float32) * 3
    texts = [f"text {n}" for n in range(m)]
    found = draw(logits, texts, most, several=several, seed=seed)
    assert len(found.texts) == len(set(found.texts)) == min(m, most)
    wanted = expit(logits) if several else softmax(logits, axis=1)
    np.testing.assert_allclose(found.targets, wanted[[int(text.split()[1]) for text in found.texts]], atol=1e-6)
    assert ((found.weights > 0) & (found.weights <= 1)).all()


def test_labels_are_drawn_as_often_as_they_are_likely_and_sure_texts_more_often() -> None:
    """A label that is believed of most texts, but of none for sure, does not flood the others."""
    rng = np.random.default_rng(0)
    likely = np.array([0.45, 0.35, 0.2])
    unsure = np.log(np.tile(likely, (900, 1)))
    surely = np.log(np.where(np.eye(3)[rng.integers(1, 3, size=300)] > 0, 0.96, 0.02))
    logits = np.vstack([unsure, surely]).astype(np.float32)
    found = draw(logits, [str(n) for n in range(1200)], 300, several=False, seed=0)
    shares = np.bincount(found.targets.argmax(axis=1), minlength=3) / 300
    np.testing.assert_allclose(shares, softmax(logits, axis=1).mean(axis=0), atol=0.1)

    mixed = np.vstack([np.log(np.tile([0.5, 0.3, 0.2], (500, 1))), np.log(np.tile([0.96, 0.02, 0.02], (500, 1)))])
    found = draw(mixed.astype(np.float32), [str(n) for n in range(1000)], 300, several=False, seed=0)
    assert (found.weights > 0.9).mean() > 0.58
