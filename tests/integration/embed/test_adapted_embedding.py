"""The embed worker and encoders that were adapted from its own: fetched, used in turn, and forgotten when lost."""

import os
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
from sentence_transformers import SentenceTransformer

from prepal.project import Project
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import AdaptedEncoders, LostEncoderError, VectorTable, files_table, table_name, text_id
from prepal_workers.embed.own_encoder import OwnEncoder
from prepal_workers.encoder.encoder import Encoder
from prepal_workers.encoder.weights import DEFAULT_ENCODER, source

PROJECT = 7
TEXTS = {text_id(text): text for text in (f"ticket {number}: the printer is on fire" for number in range(30))}
LOST = f"{DEFAULT_ENCODER}@{PROJECT}-100-0123456789abcdef"


def adapted(folder: Path, seed: int, base: str = DEFAULT_ENCODER) -> Path:
    """A folder with an encoder whose weights have moved a little."""
    torch.manual_seed(seed)
    model = SentenceTransformer(source(base), device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * parameter.std() * 0.2)
    model.save(str(folder), create_model_card=False)
    return folder


def vectors_of(identity: str, folder: Path) -> np.ndarray:
    return Encoder(identity, folder=str(folder)).encode(list(TEXTS.values())).astype(float)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return str(tmp_path / "vectors")


@pytest.fixture
def project(redis: redis.Redis) -> Project:
    known = Project(redis, PROJECT)
    known.register()
    known.put_tasks(dict(enumerate(TEXTS, start=1)), {})
    return known


@contextmanager
def embed_worker(redis_url: str, uri: str, temporary: Path) -> Iterator[Path]:
    """A worker of the default encoder; yields the file that it logs to. It ends when it is told to."""
    temporary.mkdir()
    said = {"REDIS_URL": redis_url, "PREPAL_VECTORS": uri, "PREPAL_ENCODER": DEFAULT_ENCODER, "TMPDIR": str(temporary)}
    log = temporary.with_suffix(".log")
    with log.open("wb") as out:
        command = [sys.executable, "-m", "prepal.cli", "worker", "embed"]
        worker = subprocess.Popen(command, env={**os.environ, **said, "LOG_LEVEL": "INFO"}, stderr=out)
    try:
        yield log
        worker.terminate()
        assert worker.wait(120) == 0
    finally:
        worker.kill()
        worker.wait()


def test_texts_are_embedded_by_the_base_and_by_what_was_adapted_from_it_in_turn(
    redis: redis.Redis, redis_url: str, project: Project, uri: str, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    store = AdaptedEncoders(uri)
    # One more than a worker keeps.
    folders = [adapted(tmp_path / f"adapted-{seed}", seed) for seed in (1, 2, 3)]
    identities = [store.put(folder, DEFAULT_ENCODER, PROJECT, 100) for folder in folders]
    ids = list(TEXTS)
    with embed_worker(redis_url, uri, tmp_path / "temporary"):
        waiting = [WaitingTexts(redis, name) for name in (DEFAULT_ENCODER, *identities)]
        for start in range(0, len(ids), 10):
            for one in waiting:
                one.add({key: TEXTS[key] for key in ids[start : start + 10]}, PROJECT)
        wait_until(lambda: not any(map(len, waiting)))

        # Only Redis' hash knows that these wait.
        project.adapted = identities[0]
        waiting[1].add({"lost": "text"}, PROJECT)
        waiting[1].queue.empty()
        wait_until(lambda: not len(waiting[1]))
    assert list((tmp_path / "temporary").iterdir()) == []
    names = [table_name(one.encoder) for one in waiting]
    assert sorted(lancedb.connect(uri).list_tables().tables) == sorted([*names, *map(files_table, identities)])
    stored = [VectorTable(uri, one.encoder).find(ids)[1].astype(float) for one in waiting]
    expected = [Encoder(DEFAULT_ENCODER).encode(list(TEXTS.values())).astype(float)]
    expected += [vectors_of(name, folder) for name, folder in zip(identities, folders, strict=True)]
    for place, vectors in enumerate(stored):
        np.testing.assert_allclose(vectors, expected[place], atol=1e-2)
        for other in expected[:place]:
            assert np.abs(vectors - other).max() > 0.05
    assert project.arrived_since(0)[0] > 0


def test_nothing_waits_for_an_adapted_encoder_that_is_lost_or_damaged(
    redis: redis.Redis, redis_url: str, uri: str, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    store = AdaptedEncoders(uri)
    damaged = store.put(adapted(tmp_path / "adapted", 1), DEFAULT_ENCODER, PROJECT, 100)
    lancedb.connect(uri).open_table(files_table(damaged)).delete("file = 'config.json'")
    foreign = WaitingTexts(redis, "some/other-base@7-100-0123456789abcdef")
    foreign.add(TEXTS, PROJECT)
    lost = [WaitingTexts(redis, name) for name in (LOST, damaged)]
    for one in lost:
        one.add(TEXTS, PROJECT)
    own = WaitingTexts(redis, DEFAULT_ENCODER)
    own.add(TEXTS, PROJECT)
    with embed_worker(redis_url, uri, tmp_path / "temporary") as log:
        wait_until(lambda: not len(own) and not any(map(len, lost)))
    told = log.read_text()
    assert told.count(f"30 texts are not embedded: The adapted encoder {LOST} is not in the vector cache {uri}") == 1
    assert told.count(f"The adapted encoder {damaged} in the vector cache {uri} is damaged") == 1
    assert list((tmp_path / "temporary").iterdir()) == []
    assert VectorTable(uri, DEFAULT_ENCODER).missing(list(TEXTS)) == []
    # That is for a worker that has its base.
    assert len(foreign) == len(TEXTS)
    assert len(own.queue.failed_job_registry) == 0


def test_the_two_adapted_encoders_that_were_used_last_stay_loaded(uri: str, tmp_path: Path) -> None:
    store = AdaptedEncoders(uri)
    first, second, third = (
        store.put(adapted(tmp_path / str(seed), seed), DEFAULT_ENCODER, PROJECT, seed) for seed in range(3)
    )
    own = OwnEncoder(DEFAULT_ENCODER, uri)
    before = {name: own.of(name) for name in (DEFAULT_ENCODER, first, second)}
    assert own.of(first) is before[first]
    own.of(third)
    assert own.of(DEFAULT_ENCODER) is own.encoder is before[DEFAULT_ENCODER]
    assert own.of(first) is before[first]
    assert own.of(second) is not before[second]
    with pytest.raises(LostEncoderError):
        own.of(LOST)
    for other in ("some/other", f"some/other@{PROJECT}-1-0123456789abcdef", f"{first}@1-2-0123456789abcdef"):
        assert own.of(other) is None


def test_what_was_adapted_from_weights_that_are_overwritten_is_no_longer_used_nor_waited_for(
    redis: redis.Redis, project: Project, uri: str, tmp_path: Path
) -> None:
    base = adapted(tmp_path / "base", 1)
    own = OwnEncoder(str(base), uri)
    own.announce(redis)
    before = own.encoder.identity
    identity = AdaptedEncoders(uri).put(adapted(tmp_path / "adapted", 2, str(base)), before, PROJECT, 100)
    project.adapted = identity
    assert own.used(redis) == {before, identity}
    waiting, table = WaitingTexts(redis, identity), own.table(identity)
    waiting.add(TEXTS, PROJECT)
    loaded = own.of(identity)
    assert loaded is not None
    assert loaded.identity == table.encoder == identity

    adapted(base, 3)
    own.load()
    assert own.of(identity) is None
    own.announce(redis)
    assert len(waiting) == 0
    assert own.used(redis) == {own.encoder.identity} != {before}
    assert own.tables == {}


def test_a_project_that_cannot_be_read_keeps_no_worker_from_the_others(
    redis: redis.Redis, project: Project, uri: str
) -> None:
    own = OwnEncoder(DEFAULT_ENCODER, uri)
    broken = Project(redis, 8)
    broken.register()
    redis.rpush(broken.key("adapted"), "a list")
    project.adapted = LOST
    assert own.used(redis) == {DEFAULT_ENCODER, LOST}
