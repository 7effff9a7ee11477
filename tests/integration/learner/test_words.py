"""The lexical half in the learner: the same however texts came, there after an upgrade, and of its own text."""

from pathlib import Path

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prepal.learner.memory import words
from prepal.learner.memory.memory import Memory
from prepal.learning.lexical import DIMENSION
from prepal.project import Project
from prepal.vectors import TermTable, VectorTable, text_id

TOPICS = ("the parcel is late", "my refund has not come", "a tap that drips", "who changed my password")
TEXTS = [f"{TOPICS[n % 4]} again {'x' * (n % 7)} {n}" for n in range(120)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("vectors"))
    vectors = np.random.default_rng(0).normal(size=(len(TEXTS), 8)).astype(np.float16)
    VectorTable(folder, "encoder").append([text_id(text) for text in TEXTS], vectors)
    TermTable(folder).append({text_id(text): text for text in TEXTS})
    return folder


def known(project: Project, texts: dict[int, str]) -> None:
    project.put_tasks({task: text_id(text) for task, text in texts.items()}, {})
    project.add_vectors([text_id(text) for text in texts.values()])


def lexical(memory: Memory) -> np.ndarray:
    """Of each task, likeness to all others by words alone, which no choice of axes changes."""
    half = memory.vectors_at(slice(None))[:][:, -DIMENSION:].astype(np.float64)
    return np.asarray(half @ half.T)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.booleans())
def test_whenever_somebody_looked_the_lexical_half_is_what_a_new_process_makes(
    redis: redis.Redis, folder: str, parts: list[int], forgets: bool
) -> None:
    redis.flushdb()
    project, table, memory = Project(redis, 1), VectorTable(folder, "encoder"), Memory()
    last = 0
    for count in parts:
        tasks = range(last + 1, min(last + count, len(TEXTS)) + 1)
        known(project, {task: TEXTS[task - 1] for task in tasks})
        last = max([last, *tasks])
        memory.refresh(project, table)
        if forgets and last > 3:
            project.delete_tasks([last // 2])
            memory.refresh(project, table)
    fresh = Memory()
    fresh.refresh(project, table)
    assert memory.task_ids.tolist() == fresh.task_ids.tolist()
    np.testing.assert_allclose(lexical(memory), lexical(fresh), atol=2e-3)


def test_texts_that_share_words_are_alike_and_names_are_like_the_texts_that_have_their_words(
    redis: redis.Redis, folder: str
) -> None:
    project, memory = Project(redis, 1), Memory()
    known(project, dict(enumerate(TEXTS, start=1)))
    memory.refresh(project, VectorTable(folder, "encoder"))
    likeness = lexical(memory)
    same = np.arange(len(TEXTS))[:, None] % 4 == np.arange(len(TEXTS)) % 4
    assert likeness[same].min() > 2 * np.abs(likeness[~same]).max()
    half = memory.vectors_at(slice(None))[:][:, -DIMENSION:].astype(np.float32)
    names = memory.words.of_texts(["Refund", "Parcel", "password"])
    topics = (half @ names.T).reshape(-1, 4, 3).mean(axis=0)
    assert topics.argmax(axis=0).tolist() == [1, 0, 3]


def test_after_an_upgrade_rounds_go_on_and_terms_are_taken_up_as_they_come(redis: redis.Redis, tmp_path: Path) -> None:
    table, project, memory = VectorTable(str(tmp_path), "encoder"), Project(redis, 1), Memory()
    ids = [text_id(text) for text in TEXTS]
    table.append(ids, np.ones((len(ids), 8), np.float16))
    known(project, dict(enumerate(TEXTS, start=1)))
    memory.refresh(project, table)
    assert memory.vectors.shape == (len(TEXTS), 8 + DIMENSION)
    assert not lexical(memory).any()
    assert not memory.words.of_texts(["refund"]).any()
    for part in (range(10), range(10, 70), range(70, len(TEXTS))):
        TermTable(str(tmp_path)).append({ids[n]: TEXTS[n] for n in part})
        project.add_vectors([ids[n] for n in part])
        memory.refresh(project, table)
        assert (lexical(memory).diagonal() > 0).tolist() == [n < part.stop for n in range(len(TEXTS))]
    fresh = Memory()
    fresh.refresh(project, table)
    np.testing.assert_allclose(lexical(memory), lexical(fresh), atol=2e-3)


def test_a_basis_is_made_of_the_first_tasks_and_seldom_again() -> None:
    sizes = [len(words._sample(np.array([f"{n:032}" for n in range(count)], "S32"))) for count in range(2, 20_000, 17)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) < 20
    assert max(sizes) == 2000
