"""A model of word counts: it learns what scikit-learn would, and is the same when it is read again."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from skops.io import load

from prepal.errors import PrepalError
from prepal.learning.classifiers.decisions import marks
from prepal_workers.model.word_counts import FILE, WordCounts, word_counter
from prepal_workers.training.beliefs import Beliefs
from prepal_workers.training.counting import check_wishes, count_words
from prepal_workers.training.recipe import Wishes

# Three words of each label, and words of none.
OF_LABELS = [["red", "Über", "rouge"], ["blue", "дом", "bleu"], ["green", "naïve", "vert"], ["x2", "a_b", "two"]]
OTHERS = ["the", "of", "你好", "don't", "in", "at"]


def made_up(size: int, k: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts with a word of their label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, size)
    texts = [" ".join([*rng.choice(OF_LABELS[label], 1), *rng.choice(OTHERS, 4)]) for label in labels]
    return texts, labels


@pytest.mark.parametrize("k", [2, 3, 4])
def test_it_is_the_logistic_regression_of_scikit_learn(k: int) -> None:
    texts, labels = made_up(200, k)
    model = count_words(texts, labels, k).model
    counts = word_counter().fit_transform(texts)
    expected = LogisticRegression(C=10, tol=1e-6, max_iter=1000).fit(counts, labels).predict_proba(counts)
    np.testing.assert_allclose(model.predict_proba(texts), expected, atol=0.01)


def test_beliefs_of_other_texts_are_learnt_from() -> None:
    texts, labels = made_up(200, 3)
    few = np.array([np.flatnonzero(labels == label)[0] for label in range(3)])
    rest = np.setdiff1d(np.arange(200), few)
    beliefs = Beliefs(
        [texts[place] for place in rest], marks(labels[rest], 3).astype(np.float32), np.ones(len(rest), np.float32)
    )
    tested, truth = made_up(300, 3, seed=1)
    plain, believing = (
        count_words([texts[place] for place in few], labels[few], 3, unlabelled=texts, beliefs=one).model
        for one in (None, beliefs)
    )
    alone, helped = ((model.logits(tested).argmax(axis=1) == truth).mean() for model in (plain, believing))
    assert helped > alone + 0.1


def test_a_doubtful_belief_pulls_less_than_a_sure_one() -> None:
    texts = ["red red", "blue blue", "red red", "blue blue", "green", "green"]
    said = []
    for sure in (0.6, 1.0):
        targets = np.float32([[1, 0], [0, 1], [1, 0], [0, 1], [sure, 1 - sure], [sure, 1 - sure]])
        said.append(WordCounts.fit(texts, targets, np.ones(6, np.float32)).predict_proba(["green"])[0, 0])
    assert 0.5 < said[0] < 0.7 < said[1]


def test_a_label_that_no_text_has_is_possible_and_never_likely() -> None:
    texts, labels = made_up(100, 2)
    probabilities = count_words(texts, labels, 4).model.predict_proba(texts)
    assert probabilities.shape == (100, 4)
    assert 0 < probabilities[:, 2:].max() < 0.1


def test_texts_of_one_label_are_all_given_it() -> None:
    texts, labels = made_up(50, 3)
    logits = count_words(texts, np.ones_like(labels), 3).model.logits(texts)
    assert (logits.argmax(axis=1) == 1).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.booleans(), st.floats(0.2, 5), st.integers(0, 1000))
def test_what_is_read_again_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, k: int, multilabel: bool, temperature: float, seed: int
) -> None:
    if k == 1 and not multilabel:
        return
    texts, labels = made_up(60, max(k, 2), seed)
    given_labels = marks(labels, max(k, 2))[:, :k] if multilabel else labels
    model = count_words(texts, given_labels, k).model
    before = model.logits(texts)
    model.soften(temperature)
    folder, names = tmp_path_factory.mktemp("model"), [f"label, {number} ü" for number in range(k)]
    model.save(folder, names)
    again = WordCounts.load(folder)
    np.testing.assert_allclose(again.logits(texts), before / temperature, rtol=1e-4, atol=1e-5)
    assert again.label_names == tuple(names)
    assert again.multilabel == multilabel
    assert again.logits([]).shape == (0, k)
    if not multilabel:
        # As anybody reads it who has scikit-learn and skops alone.
        told = load(folder / FILE).predict(texts)
        assert [names.index(name) for name in told] == before.argmax(axis=1).tolist()


def test_several_labels_are_learnt_each_by_itself() -> None:
    texts, labels = made_up(200, 3)
    both = marks(labels, 3)
    both[:, 0] |= ["the" in text for text in texts]
    probabilities = count_words(texts, both, 3).model.predict_proba(texts)
    assert ((probabilities > 0.5) == both).mean() > 0.9


def test_pairs_of_texts_are_read_whole() -> None:
    texts, labels = made_up(100, 3)
    pairs = [("red green", text) for text in texts]
    assert (count_words(pairs, labels, 3).model.logits(pairs).argmax(axis=1) == labels).mean() > 0.7


def test_a_pickle_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "a"}, "multilabel": False}))
    (tmp_path / FILE).write_bytes(pickle.dumps(print))
    with pytest.raises(PrepalError, match=r"has no word_counts\.skops that can be read"):
        WordCounts.load(tmp_path)


def test_texts_without_a_common_word_are_refused() -> None:
    with pytest.raises(PrepalError, match="needs a word that occurs in two texts"):
        count_words(["one", "two"], np.array([0, 1]), 2)


@pytest.mark.parametrize("wish", [{"epochs": 2}, {"learning_rate": 1e-4}, {"lora": False}, {"method": "contrast"}])
def test_what_only_networks_have_is_refused_by_name(wish: dict[str, object]) -> None:
    (name,) = wish
    with pytest.raises(PrepalError, match=f"has no --{name.replace('_', '-')}: leave it out"):
        check_wishes(Wishes(**wish))  # type: ignore[arg-type]
