"""The lexical half in the learner: the same however texts came, there after an upgrade, and of its own text."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from prepal.errors import PrepalError
from prepal.labels import label_config
from prepal.labels.events import Annotation
from prepal.learner.fitting import Choosing, learn
from prepal.learner.memory import words
from prepal.learner.memory.memory import Memory
from prepal.learning.lexical import DIMENSION
from prepal.project import Info, Project
from prepal.vectors import TermTable, VectorTable, text_id

TOPICS = ("the parcel is late", "my refund has not come", "a tap that drips", "who changed my password")
CONFIG = """<View><Text name="text" value="$text"/><Choices name="topic" toName="text">
<Choice value="parcel"/><Choice value="refund"/></Choices></View>"""
CHOOSING = Choosing("auto", 0.1)
TEXTS = [f"{TOPICS[n % 4]} again {'x' * (n % 7)} {n}" for n in range(120)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("vectors"))
    vectors = np.random.default_rng(0).normal(size=(len(TEXTS), 8)).astype(np.float16)
    VectorTable(folder, "encoder").append([text_id(text) for text in TEXTS], vectors)
    # Another encoder's are in another order, and some are lacking.
    some = np.random.default_rng(1).permutation(len(TEXTS))[:100]
    VectorTable(folder, "other").append([text_id(TEXTS[n]) for n in some], vectors[some, :4])
    TermTable(folder).append({text_id(text): text for text in TEXTS})
    return folder


def labelled(task: int) -> Annotation:
    choice = ("parcel", "refund")[(task - 1) % 2]
    return Annotation(task, 1, "2026-01-01T00:00:00+00:00", False, False, {"topic": [choice]})


def known(project: Project, texts: dict[int, str]) -> None:
    project.put_tasks({task: text_id(text) for task, text in texts.items()}, {})
    project.add_vectors([text_id(text) for text in texts.values()])


def lexical(memory: Memory) -> np.ndarray:
    """Of each task, likeness to all others by words alone, which no choice of axes changes."""
    half = memory.vectors_at(slice(None))[:][:, -DIMENSION:].astype(np.float64)
    return np.asarray(half @ half.T)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["encoder", "other"])), min_size=1, max_size=6),
    st.booleans(),
)
def test_whenever_somebody_looked_the_lexical_half_is_what_a_new_process_makes(
    redis: redis.Redis, folder: str, parts: list[tuple[int, str]], forgets: bool
) -> None:
    redis.flushdb()
    project, memory, last = Project(redis, 1), Memory(), 0
    for count, encoder in parts:
        table = VectorTable(folder, encoder)
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


def test_what_was_learnt_without_words_is_learnt_anew_once_all_texts_have_them(
    redis: redis.Redis, tmp_path: Path
) -> None:
    table, project, memory = VectorTable(str(tmp_path), "encoder"), Project(redis, 1), Memory()
    ids = [text_id(text) for text in TEXTS]
    table.append(ids, np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float16))
    project.set_info(Info(label_config=CONFIG))
    project.put_annotations({task: labelled(task) for task in range(1, 9)})
    known(project, dict(enumerate(TEXTS, start=1)))
    learners = []
    for part in (range(0), range(50), range(50, 119), range(119, 120), range(0)):
        # Another project's reading stores them: nothing tells this one.
        TermTable(str(tmp_path)).append({ids[n]: TEXTS[n] for n in part})
        for _ in range(2):
            learners.append(learn(project, memory, table, label_config.parse(CONFIG), CHOOSING).learner)
    fresh, vectors = Memory(), memory.vectors_at(slice(None))
    by_fresh = learn(project, fresh, table, label_config.parse(CONFIG), CHOOSING).learner.predict_proba(vectors)
    np.testing.assert_allclose(learners[-1].predict_proba(vectors), by_fresh, atol=0.01)
    assert learners[0] is not learners[-1]
    assert learners[-1] is learners[-2]


def test_a_read_that_fails_half_way_leaves_nothing_that_was_learnt_in_other_directions(
    redis: redis.Redis, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, project, memory = VectorTable(folder, "encoder"), Project(redis, 1), Memory()
    project.set_info(Info(label_config=CONFIG))
    known(project, dict(enumerate(TEXTS[:10], start=1)))
    project.put_annotations({task: labelled(task) for task in range(1, 9)})
    learn(project, memory, table, label_config.parse(CONFIG), CHOOSING)
    assert memory.learner is not None
    known(project, dict(enumerate(TEXTS, start=1)))

    def fail(table: TermTable, ids: np.ndarray) -> Iterator[tuple[np.ndarray, csr_array]]:
        # The sample is read, of which there are fewer.
        if len(ids) > 60:
            raise PrepalError("The disk has gone.")
        yield from stream(table, ids)

    stream = TermTable.stream
    with monkeypatch.context() as broken:
        broken.setattr(TermTable, "stream", fail)
        with pytest.raises(PrepalError):
            memory.refresh(project, table)
    assert memory.learner is None
    fresh = Memory()
    for each in (memory, fresh):
        learn(project, each, table, label_config.parse(CONFIG), CHOOSING)
    np.testing.assert_allclose(lexical(memory), lexical(fresh), atol=2e-3)


def test_a_basis_is_made_of_the_first_tasks_and_seldom_again() -> None:
    sizes = [len(words._sample(np.array([f"{n:032}" for n in range(count)], "S32"))) for count in range(2, 20_000, 17)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) < 20
    assert max(sizes) == 2000
