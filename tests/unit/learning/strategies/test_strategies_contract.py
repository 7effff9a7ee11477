"""What every strategy keeps, whichever it is: a new one is held to it by being in the registry."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from prepal.learning import strategies
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.numerics.rows import Rows
from prepal.learning.pool import Pool, Strategy

SINGLE, MULTIPLE = False, True


@pytest.fixture(params=strategies.names())
def strategy(request: pytest.FixtureRequest) -> Strategy:
    return strategies.get(request.param)


def make_pool(size: int, *, multilabel: bool, classifier: bool = True, dtype: type = np.float32, seed: int = 0) -> Pool:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(size + 20, 6))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    single = vectors @ rng.normal(size=(6, 4)) + rng.normal(size=(size + 20, 4))
    labels = single > 1 if multilabel else single.argmax(axis=1)
    model = LogisticRegression(4, multilabel=multilabel).fit(vectors[size:], labels[size:])
    return Pool(
        vectors=vectors[:size].astype(dtype),
        probabilities=model.predict_proba(vectors[:size]) if classifier else None,
        labelled_vectors=vectors[size:],
        labelled=labels[size:],
        multilabel=multilabel,
        classifier=model if classifier else None,
    )


def each_pool(strategy: Strategy, size: int, **how: Any) -> Iterator[Pool]:
    for multilabel in (SINGLE, MULTIPLE) if strategy.multilabel else (SINGLE,):
        yield make_pool(size, multilabel=multilabel, **how)


def check_places(places: NDArray[np.int64], size: int, n: int) -> None:
    assert places.shape == (min(n, size),)
    assert places.dtype == np.int64
    assert len(set(places.tolist())) == len(places)
    assert ((places >= 0) & (places < size)).all()


@pytest.mark.parametrize(("size", "n"), [(50, 0), (50, 1), (50, 10), (50, 50), (50, 80), (1, 1), (1, 5), (0, 3)])
def test_it_picks_as_many_different_places_as_asked_for(strategy: Strategy, size: int, n: int) -> None:
    for pool in each_pool(strategy, size):
        check_places(strategy.select(pool, n, np.random.default_rng(0)), size, n)


def test_it_picks_without_a_classifier(strategy: Strategy) -> None:
    for pool in each_pool(strategy, 50, classifier=False):
        check_places(strategy.select(pool, 10, np.random.default_rng(0)), 50, 10)


def test_it_picks_before_the_first_label(strategy: Strategy) -> None:
    for pool in each_pool(strategy, 50, classifier=False):
        empty = replace(pool, labelled_vectors=pool.labelled_vectors[:0], labelled=pool.labelled[:0])
        check_places(strategy.select(empty, 10, np.random.default_rng(0)), 50, 10)


def test_it_takes_float16_vectors(strategy: Strategy) -> None:
    for pool in each_pool(strategy, 50, dtype=np.float16):
        check_places(strategy.select(pool, 10, np.random.default_rng(0)), 50, 10)


@pytest.mark.parametrize("classifier", [True, False])
def test_the_same_seed_gives_the_same_places(strategy: Strategy, classifier: bool) -> None:
    for pool in each_pool(strategy, 200, classifier=classifier):
        first, second = (strategy.select(pool, 20, np.random.default_rng(7)) for _ in range(2))
        np.testing.assert_array_equal(first, second)


def test_it_takes_probabilities_in_either_memory_order(strategy: Strategy) -> None:
    for pool in each_pool(strategy, 200):
        turned = replace(pool, probabilities=np.asfortranarray(pool.probabilities))
        first, second = (strategy.select(p, 20, np.random.default_rng(7)) for p in (pool, turned))
        np.testing.assert_array_equal(first, second)


def test_it_picks_the_same_wherever_the_vectors_lie(strategy: Strategy) -> None:
    for pool in each_pool(strategy, 200, dtype=np.float16):
        rows = np.random.default_rng(1).permutation(300)[:200]
        room = np.zeros((300, 6), np.float16)
        room[rows] = pool.vectors[:]
        first, second = (
            strategy.select(replace(pool, vectors=vectors), 20, np.random.default_rng(7))
            for vectors in (pool.vectors, Rows(room, rows))
        )
        np.testing.assert_array_equal(first, second)


def test_it_takes_choices_that_are_impossible_or_certain(strategy: Strategy) -> None:
    for pool in each_pool(strategy, 30):
        probabilities = np.zeros((30, 4), np.float32)
        probabilities[np.arange(30), np.arange(30) % 4] = 1
        sure = replace(pool, probabilities=probabilities)
        check_places(strategy.select(sure, 10, np.random.default_rng(0)), 30, 10)


def test_it_leaves_the_pool_as_it_was(strategy: Strategy) -> None:
    for pool in each_pool(strategy, 50):
        vectors, probabilities = pool.vectors.copy(), pool.probabilities.copy()
        strategy.select(pool, 10, np.random.default_rng(0))
        np.testing.assert_array_equal(pool.vectors, vectors)
        np.testing.assert_array_equal(pool.probabilities, probabilities)


def test_it_refuses_several_choices_in_one_sentence_if_it_must(strategy: Strategy) -> None:
    refusal = contextlib.nullcontext() if strategy.multilabel else pytest.raises(ValueError, match=r"^[^.]+\.$")
    with refusal:
        strategy.select(make_pool(20, multilabel=MULTIPLE), 5, np.random.default_rng(0))


def test_its_name_is_the_registrys(strategy: Strategy) -> None:
    assert strategies.get(strategy.name) is strategy
