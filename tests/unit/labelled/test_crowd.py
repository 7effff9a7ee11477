"""Settling labels by how reliable each annotator is."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prepal_workers.labelled.crowd import kappa, overlaps_enough, settle_by_crowdlab
from prepal_workers.labelled.data import LabelledData

N, K = 240, 3
TRUTH = np.arange(N) % K


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    """Unit vectors of three groups that lie close together."""
    rng = np.random.default_rng(0)
    found = np.eye(K, 16)[TRUTH] + 0.4 * rng.standard_normal((N, 16))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def voted(*errors: float, tasks: int = N, seed: int = 1) -> LabelledData:
    """Tasks that each annotator labelled, wrong as often as `errors` says; a tie goes to the last one."""
    rng = np.random.default_rng(seed)
    wrong = [(TRUTH + rng.integers(1, K, N)) % K for _ in errors]
    votes = np.stack([np.where(rng.random(N) < e, w, TRUTH) for e, w in zip(errors, wrong, strict=True)], axis=1)
    counts = (votes[:, :, None] == np.arange(K)).sum(axis=1)
    majority = np.where(counts.max(axis=1) > 1, counts.argmax(axis=1), votes[:, -1])
    return LabelledData(
        kind="JSON",
        texts=[f"text {n}" for n in range(tasks)],
        labels=majority[:tasks],
        label_names=("a", "b", "c"),
        is_audit=np.zeros(tasks, bool),
        task_ids=np.arange(tasks) + 1,
        tasks=tasks,
        fields=("text",),
        choice="topic",
        disagreements=int((counts.max(axis=1) < len(errors))[:tasks].sum()),
        left_out={},
        votes=votes[:tasks],
    )


@pytest.mark.parametrize("errors", [(0.1, 0.1), (0.1, 0.1, 0.4), (0.2, 0.25, 0.3)])
def test_crowdlab_is_right_more_often_than_the_majority(
    vectors: NDArray[np.float32], errors: tuple[float, ...]
) -> None:
    data = voted(*errors)
    assert overlaps_enough(data)
    settled = settle_by_crowdlab(data, vectors, seed=0)
    assert settled.settled_by == "CROWDLAB"
    assert (settled.labels == TRUTH).mean() > (data.labels == TRUTH).mean() + 0.02
    changed = int((settled.labels != data.labels).sum())
    assert settled.notes[-1] == f"CROWDLAB weighed the annotators: {changed} labels differ from the majority's."


def test_ground_truth_stays(vectors: NDArray[np.float32]) -> None:
    data = voted(0.1, 0.1)
    assert data.votes is not None
    votes = data.votes.copy()
    votes[:60] = -1
    labels = data.labels.copy()
    labels[:60] = (TRUTH[:60] + 1) % K
    settled = settle_by_crowdlab(dataclasses.replace(data, labels=labels, votes=votes), vectors, seed=0)
    assert (settled.labels[:60] == labels[:60]).all()


def test_few_overlaps_and_annotators_who_hardly_agree_are_left_to_the_majority() -> None:
    assert not overlaps_enough(voted(0.1, 0.1, 0.1, tasks=90))
    assert not overlaps_enough(voted(0.2, 0.7))
    assert not overlaps_enough(voted(0.1))
    assert not overlaps_enough(voted(0.0, 0.0))
    assert not overlaps_enough(dataclasses.replace(voted(0.1, 0.1), votes=None))


def test_kappa_is_one_for_agreement_and_zero_for_chance() -> None:
    assert kappa(np.array([[0, 0, -1], [1, 1, 1]]), 2) == 1
    rng = np.random.default_rng(0)
    assert kappa(rng.integers(0, 2, (5000, 2)), 2) == pytest.approx(0, abs=0.05)


def test_a_label_that_no_text_would_keep_is_left_to_the_majority(vectors: NDArray[np.float32]) -> None:
    data = voted(0.1, 0.1)
    assert data.votes is not None
    # Two texts amid the first group have a fourth label, by one annotator of two.
    labels, votes = data.labels.copy(), data.votes.copy()
    odd = np.flatnonzero(TRUTH == 0)[:2]
    labels[odd], votes[odd, 1], votes[odd, 0] = 3, 3, 0
    data = dataclasses.replace(data, labels=labels, votes=votes, label_names=("a", "b", "c", "rare"))
    settled = settle_by_crowdlab(data, vectors, seed=0)
    assert np.flatnonzero(settled.labels == 3).tolist() == odd.tolist()
    assert settled.settled_by == "CROWDLAB"
    assert settled.notes[-1].startswith("CROWDLAB weighed the annotators")
    others = np.delete(np.arange(N), odd)
    assert (settled.labels == TRUTH)[others].mean() > (data.labels == TRUTH)[others].mean()


@given(st.integers(2, 5), st.integers(2, 4), st.floats(0.02, 0.3), st.integers(0, 999))
@settings(deadline=None, max_examples=25)
def test_whatever_is_voted_every_label_is_kept(k: int, annotators: int, errors: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 130
    # Some labels are rare, some texts equal, some votes missing.
    truth = rng.choice(k, size=n, p=rng.dirichlet(np.full(k, 0.4)))
    votes = np.where(rng.random((n, annotators)) < errors, rng.integers(k, size=(n, annotators)), truth[:, None])
    votes[rng.random((n, annotators)) < 0.05] = -1
    voted_on = dataclasses.replace(
        voted(0.1, 0.1),
        texts=[f"text {number}" for number in rng.integers(n, size=n)],
        labels=np.where((votes >= 0).any(axis=1), votes.max(axis=1), truth),
        votes=votes,
        label_names=tuple("abcde"[:k]),
        is_audit=np.zeros(n, bool),
        task_ids=np.arange(n) + 1,
    )
    assume(overlaps_enough(voted_on))
    settled = settle_by_crowdlab(voted_on, rng.normal(size=(n, 5)).astype(np.float32), seed=0)
    assert set(voted_on.labels) <= set(settled.labels)
    assert settled.notes
