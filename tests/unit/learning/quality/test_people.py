"""How well people agree, and how long they take."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from prepal.learning.quality.people import LEAST_SHARED, agreement, pairs, usual_seconds

labels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@given(labels)
def test_kappa_is_the_one_that_everybody_computes(both: list[tuple[int, int]]) -> None:
    one, other = np.array(both, np.int64).T
    found = agreement(one, other)
    assert found.agreed == pytest.approx((one == other).mean())
    if len(np.union1d(one, other)) == 1:
        assert found.kappa is None
    else:
        assert found.kappa == pytest.approx(cohen_kappa_score(one, other))


def test_who_always_agrees_has_one_and_who_draws_lots_about_nothing() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(3, size=(2, 3000))
    assert agreement(one, one).kappa == pytest.approx(1.0)
    assert agreement(one, other).kappa == pytest.approx(0.0, abs=0.05)


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 4), st.integers(0, 2)), max_size=120))
def test_every_two_people_are_compared_on_what_both_labelled(given_labels: list[tuple[int, int, int]]) -> None:
    tasks, people, of = np.array(given_labels, np.int64).reshape(-1, 3).T
    found = pairs(tasks, people, of)
    for (one, other), how in found.items():
        assert one < other
        shared = set(tasks[people == one]) & set(tasks[people == other])
        assert how.tasks == len(shared) >= LEAST_SHARED
        assert 0 <= how.agreed <= 1
        assert how.kappa is None or -1 <= how.kappa <= 1
    everybody = {(a, b) for a in people.tolist() for b in people.tolist() if a < b}
    few = everybody - found.keys()
    assert all(len(set(tasks[people == a]) & set(tasks[people == b])) < LEAST_SHARED for a, b in few)


def test_lunch_does_not_count() -> None:
    assert usual_seconds([]) is None
    assert usual_seconds([4.0, 5.0, 3600.0]) == 5.0
