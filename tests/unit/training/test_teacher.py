"""What a teacher believes, how sure it is, and of which texts a model learns that."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, softmax

from prepal.learning.classifiers.labels import Labels, NothingToLearn
from prepal_workers.training.teacher import believe, draw, words_of


def world(
    n: int, m: int, k: int, seed: int, *, several: bool = False
) -> tuple[NDArray[np.float32], Labels, NDArray[np.int64]]:
    """Vectors of k clouds that overlap, the labels of the first n, and the clouds of the m others."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, 12))
    own, others = rng.permutation(n) % k, rng.integers(k, size=m)
    vectors = centres[np.r_[own, others]] + rng.normal(size=(n + m, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), own[:, None] == np.arange(k) if several else own, others


@pytest.mark.parametrize("several", [False, True])
def test_it_knows_other_texts_and_is_about_as_sure_as_it_is_right(several: bool) -> None:
    sure, right = [], []
    for seed in range(6):
        vectors, labels, truth = world(90, 400, 3, seed, several=several)
        logits = believe(vectors, labels, np.arange(90), 3)[90:]
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
    vectors, labels, _ = world(60, 80, 3, seed, several=several)
    hidden = np.arange(60) % 5 == 0
    before = believe(vectors, labels, np.flatnonzero(~hidden), 3)
    labels[hidden] = ~labels[hidden] if several else (labels[hidden] + 1) % 3
    np.testing.assert_array_equal(believe(vectors, labels, np.flatnonzero(~hidden), 3), before)


def test_labels_that_are_all_the_same_teach_nothing() -> None:
    vectors, labels, _ = world(30, 20, 3, 0)
    with pytest.raises(NothingToLearn):
        believe(vectors, labels, np.flatnonzero(labels == 1), 3)


def test_a_student_that_is_sure_is_believed_where_the_classifier_is_not() -> None:
    vectors, labels, truth = world(30, 200, 3, 0)
    alone = believe(vectors, labels, np.arange(30), 3)[30:].argmax(axis=1)
    knows = (10.0 * (np.r_[labels, truth][:, None] == np.arange(3))).astype(np.float32)
    together = believe(vectors, labels, np.arange(30), 3, [knows])[30:].argmax(axis=1)
    assert (together == truth).mean() > (alone == truth).mean()


def test_words_of_pairs_are_those_of_both_texts() -> None:
    first, second = "the parcel is late again", "my refund has not come"
    found = words_of([(first, second), first, second, f"{first} {second}"])
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
