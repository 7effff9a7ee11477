"""Texts that wait for the encoder, and jobs that get lost on the way."""

import json
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from rq import Queue, Worker
from rq.serializers import JSONSerializer

from prepal.project import Project
from prepal.queues.recovery import recover_abandoned, worker_name
from prepal.queues.waiting import CHUNK_TEXTS, JOB, WaitingTexts
from prepal.vectors import text_id

ENCODER = "some/encoder"

# A worker as ours are: in one process, with our kind of name. With "burst", it ends when the queue is empty.
WORKER = """
import sys
import redis
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer
from prepal.queues.recovery import worker_name

connection = redis.Redis.from_url(sys.argv[1])
queue = Queue("some", connection=connection, serializer=JSONSerializer)
worker = SimpleWorker([queue], name=worker_name(), connection=connection, serializer=JSONSerializer)
worker.work(burst="burst" in sys.argv)
"""


@pytest.fixture
def waiting(redis: redis.Redis) -> WaitingTexts:
    return WaitingTexts(redis, ENCODER)


@pytest.fixture
def queue(redis: redis.Redis) -> Queue:
    return Queue("some", connection=redis, serializer=JSONSerializer)


def texts_of(count: int) -> dict[str, str]:
    return {text_id(f"text {number}"): f"text {number}" for number in range(count)}


def queued_ids(waiting: WaitingTexts) -> list[str]:
    return [key for job in waiting.queue.get_jobs() for key in job.args[1]]


def test_texts_wait_in_chunks_until_they_are_done(waiting: WaitingTexts) -> None:
    texts = texts_of(CHUNK_TEXTS + 10)
    assert waiting.add(texts, project=1) == len(waiting) == len(texts)
    assert [len(job.args[1]) for job in waiting.queue.get_jobs()] == [CHUNK_TEXTS, 10]
    assert all(job.args[0] == ENCODER for job in waiting.queue.get_jobs())
    assert waiting.texts(list(texts)) == texts
    ids = list(texts)
    assert waiting.done(ids[:5]) == {1: ids[:5]}
    assert waiting.done(ids[:5]) == {}
    assert waiting.among(ids) == set(ids[5:])


def test_an_adapted_encoder_is_as_fast_as_its_base(redis: redis.Redis, waiting: WaitingTexts) -> None:
    adapted = WaitingTexts(redis, f"{ENCODER}@7-100-0123456789abcdef")
    waiting.note_rate(100, 2.0)
    assert adapted.rate == 50
    adapted.add(texts_of(200), project=1)
    assert [len(job.args[1]) for job in waiting.queue.get_jobs()] == [150, 50]
    assert len(waiting) == 0
    adapted.forget()
    assert len(adapted) == 0
    assert waiting.rate == 50
    waiting.forget()
    assert waiting.rate is None


def test_a_text_that_waits_already_is_not_queued_twice_and_is_told_to_both_projects(waiting: WaitingTexts) -> None:
    texts = texts_of(3)
    assert waiting.add(texts, project=1) == 3
    assert waiting.add(texts, project=12) == 0
    assert waiting.add(texts, project=2) == 0
    assert waiting.add(texts, project=2) == 0
    assert len(waiting.queue) == 1
    ids = list(texts)
    assert waiting.projects(ids) == {1: ids, 12: ids, 2: ids}
    assert waiting.done(ids).keys() == {1, 2, 12}


def test_urgent_texts_come_first(waiting: WaitingTexts) -> None:
    waiting.add(texts_of(2), project=1)
    waiting.add({"urgent": "text"}, project=2, urgent=True)
    assert queued_ids(waiting)[0] == "urgent"


def test_a_text_that_cannot_be_embedded_is_set_aside_until_it_is_asked_for_again(waiting: WaitingTexts) -> None:
    waiting.add({"a": "text", "b": "text"}, project=1)
    assert waiting.set_aside("a", "too \ud800 odd") == {1: ["a"]}
    assert waiting.failures(["a", "b", "c"]) == {"a": "too ? odd"}
    assert waiting.among(["a", "b"]) == {"b"}
    assert waiting.add({"a": "text"}, project=1) == 1
    assert waiting.failures(["a"]) == {}


@pytest.mark.parametrize("text", ["", " ", "\0", "a\ud800b", "😀", "<script>", "x" * 100_000, "ß\r\n\u202e"])
def test_any_text_can_wait(waiting: WaitingTexts, text: str) -> None:
    waiting.add({text_id(text): text}, project=1)
    assert waiting.texts([text_id(text)]) == {text_id(text): text}


def test_encoders_do_not_share_what_waits(waiting: WaitingTexts, redis: redis.Redis) -> None:
    other = WaitingTexts(redis, "other/encoder")
    waiting.add({"a": "text"}, project=1)
    assert len(other) == 0
    other.add({"a": "text"}, project=1)
    waiting.queue.empty()
    assert waiting.requeue_lost() == other.requeue_lost() == 1
    assert {job.args[0] for job in waiting.queue.get_jobs()} == {ENCODER, "other/encoder"}


def test_nothing_is_requeued_while_jobs_cover_all_that_waits(waiting: WaitingTexts) -> None:
    waiting.add(texts_of(CHUNK_TEXTS + 40), project=1)
    assert waiting.requeue_lost() == 0
    assert len(waiting.queue) == 2


def test_texts_whose_jobs_got_lost_are_queued_again(waiting: WaitingTexts) -> None:
    texts = texts_of(2 * CHUNK_TEXTS)
    waiting.add(texts, project=1)
    lost = waiting.queue.get_jobs()[0]
    lost.delete()
    waiting.done(lost.args[1][:6])
    assert waiting.requeue_lost() == CHUNK_TEXTS - 6
    assert sorted(queued_ids(waiting)) == sorted(waiting.among(list(texts)))
    assert waiting.requeue_lost() == 0


def test_a_failed_job_is_itself_queued_again(waiting: WaitingTexts) -> None:
    waiting.add(texts_of(3), project=1)
    job = waiting.queue.get_jobs()[0]
    waiting.queue.remove(job)
    waiting.queue.failed_job_registry.add(job, ttl=60)
    assert waiting.requeue_lost() == 3
    assert waiting.queue.get_job_ids() == [job.id]
    assert len(waiting.queue.failed_job_registry) == 0


def test_junk_on_the_queue_is_passed_over(waiting: WaitingTexts, redis: redis.Redis) -> None:
    waiting.queue.enqueue("time.sleep", 0)
    junk = waiting.queue.enqueue("time.sleep", 0)
    redis.hset(junk.key, "data", b"junk")
    redis.lpush(waiting.queue.key, "no-such-job")
    waiting.add({"a": "text"}, project=1)
    assert waiting.requeue_lost() == 0


@pytest.mark.parametrize(
    "planted",
    [
        *({"args": args} for args in ([], [ENCODER], [ENCODER, 5], [ENCODER, [{}]], [ENCODER, [["a"]]], None)),
        *({name: "nonsense"} for name in ("created_at", "enqueued_at", "timeout")),
    ],
)
def test_a_strange_job_keeps_no_text_from_being_queued_again(
    waiting: WaitingTexts, redis: redis.Redis, planted: dict[str, object]
) -> None:
    fields = {"created_at": "2026-01-01T00:00:00Z", "args": [ENCODER, []], **planted}
    data = zlib.compress(json.dumps([JOB, None, fields.pop("args"), {}]).encode())
    redis.hset("rq:job:strange", mapping={**fields, "data": data})
    redis.rpush(waiting.queue.key, "strange")
    waiting.queue.failed_job_registry.connection.zadd(waiting.queue.failed_job_registry.key, {"strange": 1e12})
    waiting.add({"a": "text"}, project=1)
    redis.lrem(waiting.queue.key, 0, waiting.queue.get_job_ids()[-1])
    assert waiting.requeue_lost() == 1
    assert waiting.requeue_lost() == 0


@contextmanager
def running_worker(redis_url: str, *mode: str) -> Iterator[subprocess.Popen[bytes]]:
    worker = subprocess.Popen([sys.executable, "-c", WORKER, redis_url, *mode], start_new_session=True)
    try:
        yield worker
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def has_lines(file: Path, count: int) -> Callable[[], bool]:
    return lambda: file.exists() and len(file.read_text().splitlines()) == count


def slow_job(queue: Queue, folder: Path) -> Path:
    """A job that writes a line each time it runs, and is slow until there is a file called `quick`."""
    runs = folder / "runs"
    script = f"echo run >> {runs}; test -e {folder}/quick || sleep 300"
    queue.enqueue("subprocess.call", ["sh", "-c", script], job_timeout=600, result_ttl=0)
    return runs


def test_the_job_of_a_killed_worker_is_run_again_by_the_next_one(
    queue: Queue, redis_url: str, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    runs = slow_job(queue, tmp_path)
    with running_worker(redis_url) as worker:
        wait_until(has_lines(runs, 1))
        queue.enqueue("time.sleep", 0, job_id="later")
        assert recover_abandoned(queue) == 0
        os.killpg(worker.pid, signal.SIGKILL)
        # Not yet waited for: the process is a zombie, as in a container whose first process does not reap.
        wait_until(lambda: recover_abandoned(queue) == 1, timeout_s=5)
    assert recover_abandoned(queue) == 0
    assert len(queue) == 2
    assert queue.get_job_ids()[1] == "later"
    (tmp_path / "quick").touch()
    with running_worker(redis_url, "burst") as worker:
        assert worker.wait(timeout=60) == 0
    assert has_lines(runs, 2)()
    assert len(queue) == len(queue.started_job_registry) == len(queue.failed_job_registry) == 0


def test_a_job_that_is_abandoned_again_lets_others_go_first(
    queue: Queue, redis_url: str, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    runs = slow_job(queue, tmp_path)
    for times in (1, 2):
        with running_worker(redis_url) as worker:
            wait_until(has_lines(runs, times))
            os.killpg(worker.pid, signal.SIGKILL)
        if times == 1:
            assert recover_abandoned(queue) == 1
    queue.enqueue("time.sleep", 0, job_id="other")
    assert recover_abandoned(queue) == 1
    assert queue.get_job_ids()[0] == "other"


def test_a_job_whose_worker_has_no_key_any_more_is_put_back(
    queue: Queue, redis: redis.Redis, redis_url: str, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    runs = slow_job(queue, tmp_path)
    with running_worker(redis_url):
        wait_until(has_lines(runs, 1))
        name = Worker.all(connection=redis)[0].name
        # As if the worker had run on another host, and its time were over.
        redis.delete(Worker.redis_worker_namespace_prefix + name)
        assert recover_abandoned(queue) == 1


def test_every_worker_of_a_process_has_its_own_name() -> None:
    assert worker_name() != worker_name()
    assert worker_name().rsplit(".", 2)[1] == str(os.getpid())


def test_projects_are_told_once_of_texts_that_are_finished_and_once_more_when_nothing_waits(
    waiting: WaitingTexts, redis: redis.Redis
) -> None:
    waiting.add({"a": "text", "b": "text", "c": "text"}, project=1)
    waiting.add({"c": "text"}, project=2)
    one, two = Project(redis, 1), Project(redis, 2)
    waiting.finish(["a", "b"], {"b": "too odd"})
    assert (one.facts, two.facts) == (1, 0)
    assert one.arrived_since(0) == (1, ["a"])
    assert waiting.failures(["a", "b"]) == {"b": "too odd"}
    assert waiting.ids() == {"c"}
    waiting.finish(["c"], {})
    # Each of its vectors, and that it was the last text: a round that sees it ranks the tasks that are left.
    assert (one.facts, two.facts) == (3, 2)
    assert two.arrived_since(0) == (1, ["c"])
    assert redis.exists("prepal:requested:round:1", "prepal:requested:round:2") == 2
