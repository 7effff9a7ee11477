"""Vectors of word counts."""

import numpy as np
import pytest

from prepal.errors import PrepalError
from prepal_workers.simulate.word_counts import word_counts


def test_word_counts_are_unit_vectors_that_tell_texts_apart() -> None:
    texts = ["a red car", "the red car", "a blue sky", "the blue sky"] * 3
    train, test = word_counts(texts, ["red car", "blue sky"])
    np.testing.assert_allclose(np.linalg.norm(train, axis=1), 1, atol=1e-5)
    assert test[0] @ train[0] > test[0] @ train[2]


@pytest.mark.parametrize("texts", [["all", "differ"], ["one word", "one thing", "", "one"]])
def test_word_counts_of_hardly_any_words_are_refused(texts: list[str]) -> None:
    with pytest.raises(PrepalError, match=r"^word-counts needs two words that occur in two texts each"):
        word_counts(texts)
