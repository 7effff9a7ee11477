"""The audit tasks among those of the strategy."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prepal.learning.quality import audit as policy


def interleave(order: Sequence[int], candidates: Sequence[int], **others: Any) -> tuple[list[int], list[bool]]:
    arguments = {"labels": 0, "audits": 0, "fraction": 0.1, "head": 100} | others
    head = policy.interleave_audit(np.array(order, np.int64), np.array(candidates, np.int64), **arguments)
    return head.places.tolist(), head.is_audit.tolist()


def test_an_audit_task_comes_as_soon_as_it_is_due() -> None:
    places, is_audit = interleave(range(6), [9, 8], fraction=0.5, labels=1)
    assert places == [9, 0, 8, 1, 2, 3]
    assert is_audit == [True, False, True, False, False, False]


def test_an_audit_task_is_taken_out_of_the_strategys_order() -> None:
    places, is_audit = interleave([3, 2, 1, 0], [2, 1], fraction=0.25)
    assert places == [3, 1, 0, 2]
    assert is_audit == [False, False, False, True]


def test_what_was_already_audited_counts() -> None:
    assert interleave(range(3), [7], labels=20, audits=3)[1] == [False] * 3
    assert interleave(range(3), [7], labels=20, audits=1)[1] == [True, False, False]


def test_without_audits_the_order_stays() -> None:
    assert interleave([4, 2, 0], [1, 3], fraction=0.0) == ([4, 2, 0], [False] * 3)


def test_with_audits_only_the_order_is_that_of_the_candidates() -> None:
    assert interleave([0, 1, 2, 3], [2, 0, 3, 1], fraction=1.0) == ([2, 0, 3, 1], [True] * 4)


def test_when_the_candidates_run_out_the_strategy_goes_on() -> None:
    assert interleave([0, 1, 2], [1], fraction=1.0) == ([1, 0, 2], [True, False, False])


@pytest.mark.parametrize("head", [0, 2])
def test_no_more_places_are_filled_than_the_head_has(head: int) -> None:
    assert interleave(range(5), [4], head=head)[0] == list(range(head))


@given(
    order=st.permutations(range(25)),
    candidates=st.permutations(range(25)),
    taken=st.integers(0, 25),
    labels=st.integers(0, 300),
    audits=st.integers(0, 30),
    fraction=st.floats(0, 1),
    head=st.integers(0, 40),
)
def test_no_task_is_placed_twice_and_each_audit_is_due(
    order: list[int], candidates: list[int], taken: int, labels: int, audits: int, fraction: float, head: int
) -> None:
    candidates = candidates[:taken]
    places, is_audit = interleave(order, candidates, labels=labels, audits=audits, fraction=fraction, head=head)
    assert len(places) == len(set(places)) == min(25, head)
    placed = 0
    for j, audit in enumerate(is_audit):
        due = audits + placed < math.floor(fraction * (labels + j + 1)) and placed < len(candidates)
        assert audit == due
        if audit:
            assert places[j] == candidates[placed]
            placed += 1


@settings(max_examples=25, deadline=None)
@given(fraction=st.floats(0, 1), head=st.integers(1, 12), seed=st.integers(0, 1000))
def test_the_share_of_audit_tasks_served_is_the_one_asked_for(fraction: float, head: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    task_ids = np.arange(1000, 1300)
    priorities = policy.audit_priority(task_ids, seed)
    left = np.ones(300, bool)
    audits = 0
    for labels in range(200):
        pool = np.flatnonzero(left)
        found = policy.interleave_audit(
            rng.permutation(len(pool)),
            np.argsort(priorities[pool]),
            labels=labels,
            audits=audits,
            fraction=fraction,
            head=head,
        )
        assert left[pool[found.places]].all()
        left[pool[found.places[0]]] = False
        audits += int(found.is_audit[0])
    assert abs(audits - fraction * 200) <= 1


def test_a_text_that_is_drawn_when_it_has_a_label_is_an_audit_task_without_being_served() -> None:
    arguments = {"labels": 39, "audits": 1, "fraction": 0.1, "head": 3}
    head = policy.interleave_audit(np.arange(9), np.array([-1, -1, 7, -1, 5]), **arguments)
    assert (head.places.tolist(), head.is_audit.tolist(), head.found) == ([7, 0, 1], [True, False, False], 2)
    arguments["audits"] = 2
    head = policy.interleave_audit(np.arange(9), np.array([-1, -1, 7, -1, 5]), **arguments)
    assert (head.places.tolist(), head.is_audit.tolist(), head.found) == ([0, 1, 2], [False, False, False], 2)


def test_audit_tasks_are_a_uniform_draw_from_all_texts_though_the_strategy_takes_most_of_one_kind() -> None:
    is_hard = np.arange(200) < 100
    shares = []
    for seed in range(200):
        priorities = policy.audit_priority(np.arange(200), seed)
        labelled, audits = np.zeros(200, bool), np.zeros(200, bool)
        while labelled.sum() < 120:
            lot = np.argsort(priorities)
            lot = lot[~audits[lot]]
            pool = np.flatnonzero(~labelled)
            place = np.full(200, -1)
            place[pool] = np.arange(len(pool))
            head = policy.interleave_audit(
                np.arange(len(pool)),
                place[lot],
                labels=int(labelled.sum()),
                audits=int((audits & labelled).sum()),
                fraction=0.2,
                head=1,
            )
            audits[lot[labelled[lot]][: head.found]] = True
            chosen = pool[head.places[0]]
            audits[chosen] |= head.is_audit[0]
            labelled[chosen] = True
        shares.append(is_hard[audits & labelled].mean())
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)


def test_what_is_drawn_first_is_the_same_whatever_is_labelled() -> None:
    priorities = policy.audit_priority(np.arange(100_000), 3)
    assert policy.by_lot(priorities, 0.1).mean() == pytest.approx(0.1, abs=0.005)
    assert not policy.by_lot(priorities, 0.0).any()
    assert policy.by_lot(priorities, 1.0).all()
    assert (priorities[policy.by_lot(priorities, 0.1)].max() < priorities[~policy.by_lot(priorities, 0.1)].min()).all()


def test_the_priority_of_a_task_is_fixed_and_its_own() -> None:
    ids = np.arange(100_000)
    priorities = policy.audit_priority(ids, 5)
    assert priorities.dtype == np.uint64
    assert len(np.unique(priorities)) == len(ids)
    np.testing.assert_array_equal(policy.audit_priority(ids[::-1], 5)[::-1], priorities)
    assert (policy.audit_priority(ids, 6) != priorities).all()
    assert policy.audit_priority(ids[:0], 5).shape == (0,)


def test_the_smallest_priority_is_a_uniform_draw() -> None:
    ids = np.arange(10) * 7 + 3
    firsts = np.bincount([policy.audit_priority(ids, seed).argmin() for seed in range(5000)], minlength=10)
    assert (abs(firsts - 500) < 5 * np.sqrt(500 * 0.9)).all()


@pytest.mark.parametrize("seed", [-1, 0, 2**63, 2**64 + 1])
def test_any_seed_will_do(seed: int) -> None:
    policy.audit_priority(np.array([0, -1, 2**62]), seed)
