"""What the learner keeps: as much as has room, nothing of projects that are no more, and no mixed vectors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prepal.label_studio.publish import Entry
from prepal.learner.memory.memory import Memories, Memory
from prepal.learning import lexical
from prepal.project import Project
from prepal.vectors import VectorTable, text_id

DIMENSION, TEXTS = 8, 40
WIDTH = DIMENSION + lexical.DIMENSION
BYTES = 2 * WIDTH * TEXTS


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> VectorTable:
    found = VectorTable(str(tmp_path_factory.mktemp("vectors")), "encoder")
    ids = [text_id(f"text {n} of {project}") for project in range(1, 8) for n in range(TEXTS)]
    found.append(ids, np.random.default_rng(0).normal(size=(len(ids), DIMENSION)).astype(np.float16))
    return found


def project_of(connection: redis.Redis, number: int, texts: Sequence[str] = ()) -> Project:
    """A project whose texts are all embedded."""
    project = Project(connection, number)
    ids = [text_id(text) for text in texts or [f"text {n} of {number}" for n in range(TEXTS)]]
    project.put_tasks(dict(enumerate(ids, start=1)), {})
    project.add_vectors(ids)
    return project


def use(memories: Memories, project: Project, table: VectorTable) -> Memory:
    memory = memories.of(project.id)
    memory.refresh(project, table)
    return memory


def test_what_was_not_used_for_longest_goes_first_and_is_read_again_when_it_is_needed(
    redis: redis.Redis, table: VectorTable
) -> None:
    memories = Memories(most_bytes=3 * BYTES)
    projects = [project_of(redis, number) for number in range(1, 6)]
    for project in projects:
        use(memories, project, table)
    use(memories, projects[0], table)
    memories.trim([1, 2, 3, 4, 5])
    assert len(memories) == 3
    kept = [number for number in range(1, 6) if memories.of(number).vectors.nbytes]
    assert kept == [1, 4, 5]
    again = use(memories, projects[2], table)
    assert again.task_ids.tolist() == list(range(1, TEXTS + 1))
    np.testing.assert_array_equal(again.vectors[again.rows[0], :DIMENSION], table.find([text_id("text 0 of 3")])[1][0])


def test_a_project_that_is_larger_than_all_room_is_kept_while_it_is_used(
    redis: redis.Redis, table: VectorTable
) -> None:
    memories = Memories(most_bytes=10)
    memory = use(memories, project_of(redis, 1), table)
    memories.trim([1])
    assert memories.of(1) is memory
    use(memories, project_of(redis, 2), table)
    memories.trim([1, 2])
    assert len(memories) == 1
    assert memories.of(1) is not memory


def test_of_what_is_let_go_the_published_order_is_still_known(redis: redis.Redis, table: VectorTable) -> None:
    memories = Memories(most_bytes=10)
    use(memories, project_of(redis, 1), table)
    published = memories.published(1)
    published.front, published.publication = [Entry(3, (1,), 0.5)], 7
    use(memories, project_of(redis, 2), table)
    memories.trim([1, 2])
    assert memories.published(1) is published


def test_a_project_that_is_no_more_is_forgotten(redis: redis.Redis, table: VectorTable) -> None:
    memories = Memories()
    for number in (1, 2):
        use(memories, project_of(redis, number), table)
    memories.published(3).publication = 1
    memories.trim([2])
    assert len(memories) == 1
    assert memories.published(3).publication is None
    assert not memories.of(1).vectors.nbytes


def test_who_only_asks_for_the_order_does_not_use_a_project(redis: redis.Redis, table: VectorTable) -> None:
    memories = Memories(most_bytes=2 * BYTES)
    for number in (1, 2, 3):
        use(memories, project_of(redis, number), table)
    memories.published(1)
    memories.trim([1, 2, 3])
    assert not memories.of(1).vectors.nbytes


@given(st.lists(st.tuples(st.sampled_from(["use", "trim", "forget"]), st.integers(1, 7)), max_size=30))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_each_trim_there_is_no_more_than_has_room_but_for_the_one_in_use(
    redis: redis.Redis, table: VectorTable, steps: list[tuple[str, int]]
) -> None:
    memories, known = Memories(most_bytes=2 * BYTES), set(range(1, 8))
    projects = {number: project_of(redis, number) for number in known}
    last = 0
    for step, number in steps:
        if step == "use":
            use(memories, projects[number], table)
            known.add(number)
            last = number
        elif step == "forget":
            known.discard(number)
        else:
            memories.trim(sorted(known))
            assert len(memories) <= 2
            assert last not in known or memories._by_project[last].vectors.nbytes == BYTES
            assert memories._by_project.keys() <= known


def test_only_what_is_new_is_read(redis: redis.Redis, table: VectorTable) -> None:
    memories = Memories()
    project = project_of(redis, 1, ["text 0 of 1", "text 1 of 1"])
    memory = use(memories, project, table)
    matrix = memory.matrix
    use(memories, project, table)
    project.put_tasks({5: text_id("text 2 of 1"), 6: text_id("not embedded yet")}, {})
    project.add_vectors([text_id("text 2 of 1")])
    use(memories, project, table)
    assert memory.matrix is matrix
    assert memory.task_ids.tolist() == [1, 2, 5]
    assert len(memory.vectors) == 3
    assert sorted(memory.lot.tolist()) == [0, 1, 2]


def test_tasks_with_the_same_text_have_the_same_row(redis: redis.Redis, table: VectorTable) -> None:
    memory = use(Memories(), project_of(redis, 1, ["text 0 of 1", "text 1 of 1", "text 0 of 1"]), table)
    assert memory.rows[0] == memory.rows[2] != memory.rows[1]
    assert len(memory.vectors) == 2


def test_an_edited_text_has_its_new_vector_and_what_was_measured_of_the_old_one_is_gone(
    redis: redis.Redis, table: VectorTable
) -> None:
    memories = Memories()
    project = project_of(redis, 1)
    memory = use(memories, project, table)
    memory.learner = object()  # type: ignore[assignment]
    project.put_tasks({3: text_id("text 0 of 2")}, {})
    project.add_vectors([text_id("text 0 of 2")])
    use(memories, project, table)
    assert memory.learner is None
    np.testing.assert_array_equal(
        memory.vectors[memory.rows[2], :DIMENSION], table.find([text_id("text 0 of 2")])[1][0]
    )


def test_the_vectors_of_two_encoders_never_meet_whoever_switched(
    redis: redis.Redis, table: VectorTable, tmp_path: Path
) -> None:
    other = VectorTable(str(tmp_path), "another encoder")
    ids = [text_id(f"text {n} of 1") for n in range(TEXTS)]
    other.append(ids, np.ones((TEXTS, DIMENSION + 1), np.float16))
    project = project_of(redis, 1)
    for memories in (Memories(), Memories()):
        memory = use(memories, project, table)
        # Nothing has changed in Redis for this process, when another one has switched.
        use(memories, project, other)
        assert memory.vectors.shape == (TEXTS, WIDTH + 1)
        use(memories, project, table)
        assert memory.vectors.shape == (TEXTS, WIDTH)
        np.testing.assert_array_equal(memory.vectors[memory.rows[0], :DIMENSION], table.find(ids[:1])[1][0])
