"""The vector cache among projects: followed as it grows, switched to another encoder, and rid of what nobody uses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import redis

from prepal.doctor import upkeep
from prepal.label_studio.client import LabelStudio
from prepal.learner import jobs as learning
from prepal.learner.learner import Learner
from prepal.learner.memory.memory import Memory
from prepal.project import Project
from prepal.queues.waiting import WaitingTexts
from prepal.settings import Settings
from prepal.vectors import TERMS_TABLE, AdaptedEncoders, TermTable, VectorTable, table_name, text_id

OLD, NEW = "some/old-encoder", "some/new-encoder"


def ids_of(count: int) -> list[str]:
    return [text_id(f"text {number}") for number in range(count)]


def saved(folder: Path, seed: int) -> Path:
    """A folder with what could be an encoder's weights."""
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(np.random.default_rng(seed).bytes(50_000))
    return folder


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return str(tmp_path / "vectors")


@pytest.fixture
def project(redis: redis.Redis) -> Project:
    known = Project(redis, 7)
    known.register()
    known.put_tasks(dict(enumerate(ids_of(10), start=1)), {11: "empty text"})
    return known


def test_a_learner_follows_what_arrives_and_reads_nothing_twice(project: Project, uri: str) -> None:
    table, memory, ids = VectorTable(uri, OLD), Memory(), ids_of(12)
    memory.refresh(project, table)
    assert len(memory.task_ids) == 0
    table.append(ids[:4], np.ones((4, 3), np.float16))
    project.add_vectors(ids[:4])
    memory.refresh(project, table)
    assert memory.task_ids.tolist() == [1, 2, 3, 4]
    # In the cache, but nobody said so: what is not new is not looked for.
    table.append(ids[4:6], np.ones((2, 3), np.float16))
    project.add_vectors(ids[5:6])
    memory.refresh(project, table)
    assert memory.task_ids.tolist() == [1, 2, 3, 4, 6]
    # A task with a text that is known has its vector at once, and one that is gone has none.
    project.put_tasks({20: ids[0]}, {})
    project.delete_tasks([1])
    memory.refresh(project, table)
    assert memory.task_ids.tolist() == [2, 3, 4, 6, 20]
    # A learner that starts now, or missed more than is remembered, reads all.
    table.append(ids[6:8], np.ones((2, 3), np.float16))
    fresh = Memory()
    fresh.refresh(project, table)
    assert fresh.task_ids.tolist() == [2, 3, 4, 5, 6, 7, 8, 20]


def test_the_old_ranking_goes_on_until_every_text_has_a_vector_of_the_new_encoder(
    project: Project, redis: redis.Redis, uri: str
) -> None:
    settings = Settings(prepal_vectors=uri, prepal_encoder=NEW)
    waiting = WaitingTexts(redis, NEW)
    table = VectorTable(uri, NEW)
    learner = Learner(settings, redis, LabelStudio("http://127.0.0.1:1", "token"), table, waiting)
    ids = ids_of(10)
    project.encoder = OLD
    memory = learner.memories.of(project.id)
    before = VectorTable(uri, OLD)
    before.append(ids, np.zeros((10, 3), np.float16))
    memory.refresh(project, before)
    assert learning._ranking_table(learner, project).encoder == OLD
    waiting.add(dict.fromkeys(ids, "text"), project.id)
    table.append(ids[:9], np.ones((9, 3), np.float16))
    waiting.done(ids[:9])
    assert learning._ranking_table(learner, project).encoder == OLD
    # The last one cannot be embedded, and holds nothing up.
    waiting.set_aside(ids[9], "too odd")
    assert learning._ranking_table(learner, project) is table
    memory.refresh(project, table)
    assert (memory.vectors[:, :3] == 1).all()
    assert len(memory.vectors) == 9


def test_a_text_that_someone_looks_at_goes_first_and_only_once(redis: redis.Redis) -> None:
    waiting = WaitingTexts(redis, OLD)
    ids = ids_of(3)
    waiting.add(dict.fromkeys(ids, "text"), project=1)
    assert waiting.hurry([ids[2], "not waiting"]) == 1
    assert waiting.hurry([ids[2]]) == 0
    assert [job.args[1] for job in waiting.queue.get_jobs()] == [[ids[2]], ids]
    waiting.done([ids[2]])
    waiting.add({ids[2]: "text"}, project=1)
    assert waiting.hurry([ids[2]]) == 1


def test_a_chunk_takes_a_few_seconds_once_it_is_known_how_fast_texts_are_embedded(redis: redis.Redis) -> None:
    waiting = WaitingTexts(redis, OLD)
    waiting.note_rate(100, 2.0)
    assert waiting.rate == 50
    waiting.add(dict.fromkeys(ids_of(400), "text"), project=1)
    assert [len(job.args[1]) for job in waiting.queue.get_jobs()] == [150, 150, 100]


def test_vectors_that_no_project_uses_are_shown_and_pruned(project: Project, redis: redis.Redis, uri: str) -> None:
    ids = ids_of(15)
    VectorTable(uri, OLD).append(ids, np.ones((15, 3), np.float16))
    VectorTable(uri, "nobody/uses-this").append(ids[:4], np.ones((4, 3), np.float16))
    project.encoder = OLD
    used, unused = sorted(upkeep.survey(redis, uri, OLD), key=lambda one: -one.rows)
    assert (used.encoder, used.rows, used.unused, used.projects) == (OLD, 15, 5, [7])
    assert (unused.encoder, unused.rows, unused.projects) == (None, 4, [])
    assert used.bytes > 0
    upkeep.prune(redis, uri, [used, unused])
    (left,) = upkeep.survey(redis, uri, OLD)
    assert (left.rows, left.unused) == (10, 0)
    assert VectorTable(uri, OLD).missing(ids) == ids[10:]


def test_terms_are_shown_as_of_all_projects_and_pruned_like_vectors(
    project: Project, redis: redis.Redis, uri: str
) -> None:
    TermTable(uri).append({text_id(f"text {number}"): f"text {number}" for number in range(15)})
    VectorTable(uri, OLD).append(ids_of(10), np.ones((10, 3), np.float16))
    found = {one.table: one for one in upkeep.survey(redis, uri, OLD)}
    terms = found[TERMS_TABLE]
    assert len(found) == 2
    assert (terms.rows, terms.unused, terms.projects) == (15, 5, [project.id])
    upkeep.prune(redis, uri, list(found.values()))
    assert TermTable(uri).missing(ids_of(15)) == ids_of(15)[10:]
    assert not VectorTable(uri, OLD).missing(ids_of(10))


def test_adapted_encoders_are_shown_with_their_projects_and_pruned_when_none_uses_them(
    project: Project, redis: redis.Redis, uri: str, tmp_path: Path
) -> None:
    store, wanted = AdaptedEncoders(uri), Project(redis, 8)
    wanted.register()
    wanted.put_tasks({100: ids_of(1)[0]}, {})
    ranked_by, to_be, old = (
        store.put(saved(tmp_path / str(number), number), NEW, number, 100) for number in (project.id, wanted.id, 9)
    )
    project.encoder, wanted.adapted = ranked_by, to_be
    for name in (NEW, ranked_by, to_be, old):
        VectorTable(uri, name).append(ids_of(10), np.ones((10, 3), np.float16))
    found = {one.table: one for one in upkeep.survey(redis, uri, NEW)}
    told = [found[table_name(name)] for name in (NEW, ranked_by, to_be, old)]
    assert [one.projects for one in told] == [[7, 8], [7], [8], []]
    assert [one.encoder for one in told] == [NEW, ranked_by, to_be, None]
    files = found["*-files"]
    assert (files.encoder, files.rows, files.unused, files.projects) == (upkeep.ADAPTED, 3, 1, [7, 8])
    assert 3 * 50_000 < files.bytes < 4 * 50_000
    assert len(found) == 5

    upkeep.prune(redis, uri, list(found.values()))
    left = {one.table: one for one in upkeep.survey(redis, uri, NEW)}
    assert found.keys() - left.keys() == {table_name(old)}
    assert (left["*-files"].rows, left["*-files"].unused) == (2, 0)
    assert store.names() == sorted([ranked_by, to_be])
    # Who has gone back uses it no more.
    wanted.adapted = ""
    upkeep.prune(redis, uri, upkeep.survey(redis, uri, NEW))
    assert store.names() == [ranked_by]
    assert not {table_name(to_be)} & {one.table for one in upkeep.survey(redis, uri, NEW)}


def test_prepal_vectors_prunes_adapted_encoders(project: Project, redis_url: str, uri: str, tmp_path: Path) -> None:
    AdaptedEncoders(uri).put(saved(tmp_path / "saved", 1), OLD, project.id, 100)
    environment = {**os.environ, "REDIS_URL": redis_url, "PREPAL_VECTORS": uri, "PREPAL_ENCODER": OLD}
    command = [str(Path(sys.executable).parent / "prepal"), "vectors", "--json", "--prune"]
    asked = subprocess.run(command, env=environment, input="n\n", capture_output=True, text=True, check=True)
    assert "Delete 0 vectors and 1 adapted encoders that no project uses?" in asked.stderr
    (told,) = json.loads(asked.stdout)["tables"]
    assert (told["encoder"], told["rows"], told["unused"], told["projects"]) == ("(adapted encoders)", 1, 1, [])
    done = subprocess.run([*command, "--yes"], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["tables"] == []


def test_prepal_vectors_asks_before_it_deletes(project: Project, redis_url: str, uri: str) -> None:
    VectorTable(uri, OLD).append(ids_of(12), np.ones((12, 3), np.float16))
    environment = {**os.environ, "REDIS_URL": redis_url, "PREPAL_VECTORS": uri, "PREPAL_ENCODER": OLD}

    def prepal(*words: str, said: str = "") -> dict[str, object]:
        command = [str(Path(sys.executable).parent / "prepal"), "vectors", "--json", *words]
        ended = subprocess.run(command, env=environment, input=said, capture_output=True, text=True, check=True)
        told: dict[str, object] = json.loads(ended.stdout)["tables"][0]
        return told

    assert prepal() == prepal("--prune", said="n\n")
    assert prepal()["unused"] == 2
    assert prepal("--prune", said="y\n")["rows"] == 10
    assert project.encoder is None


# On a file system of its own, which is full before all vectors are in.
FULL = """
mount -t tmpfs -o size=3m tmpfs "$1" && exec "$2" - "$1" <<'END'
import sys
import numpy as np
from pathlib import Path
from prepal.errors import PrepalError
from prepal.vectors import text_id
from prepal.vectors import VectorTable

table = VectorTable(sys.argv[1], "some/encoder")
ids = [text_id(str(number)) for number in range(8000)]
stored = 0
try:
    for start in range(0, 8000, 500):
        table.append(ids[start : start + 500], np.ones((500, 384), np.float16))
        stored += 500
except PrepalError as error:
    assert "cannot be written" in str(error) and "No space left" in str(error), error
else:
    raise AssertionError("it never got full")
assert stored > 0
assert len(VectorTable(sys.argv[1], "some/encoder")) == stored == len(table)
assert table.missing(ids[:stored]) == []
END
"""


def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path) -> None:
    command = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system of one's own")
    command += ["bash", "-c", FULL, "full", str(tmp_path), sys.executable]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
