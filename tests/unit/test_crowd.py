"""Settling labels by how reliable each annotator is."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from prepal_workers.crowd import kappa, overlaps_enough, settle_by_crowdlab
from prepal_workers.labelled_data import LabelledData

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
