"""Workers run their own functions and nothing else, whatever stands in Redis, and end by nothing that stands there."""

import json
import os
import signal
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rq.job import Job
from rq.serializers import JSONSerializer

from prepal.queues.recovery import worker_name
from prepal.queues.rq_worker import OwnJob, OwnWorker, ThreadWorker

QUEUE = "some"
noted: list[Any] = []
strange: list[Any] = []


def note(what: Any) -> None:
    """The only function that these workers have."""
    noted.append(what)


def never(*args: Any, **kwargs: Any) -> None:
    """What no worker runs."""
    strange.append((args, kwargs))


OWN, STRANGE = f"{__name__}.note", f"{__name__}.never"


class SomeJob(OwnJob):
    functions: ClassVar = {OWN: note}


@pytest.fixture(autouse=True)
def nothing_noted() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    noted.clear()
    strange.clear()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def plant(connection: redis.Redis, data: Any, **fields: str | bytes) -> str:
    """Put a job on the queue as whoever can write to Redis may; returns its id."""
    job = uuid.uuid4().hex
    raw = data if isinstance(data, bytes) else zlib.compress(json.dumps(data).encode())
    now = "2026-01-01T00:00:00.000000Z"
    usual = {"data": raw, "status": "queued", "origin": QUEUE, "created_at": now, "enqueued_at": now, "timeout": "60"}
    connection.hset(f"rq:job:{job}", mapping={**usual, **fields})
    connection.rpush(f"rq:queue:{QUEUE}", job)
    return job


def work(connection: redis.Redis) -> None:
    """Let a worker do all that waits, with its maintenance before and after."""
    worker = OwnWorker([QUEUE], SomeJob, connection, maintenance_s=1000)
    for last in (False, True):
        worker.run_maintenance_tasks()
        if last:
            plant(connection, [OWN, None, ["the end"], {}])
        while (found := worker.dequeue_job_and_maintain_ttl(None)) is not None:
            worker.execute_job(*found)


@pytest.mark.parametrize(
    "data",
    [
        [STRANGE, None, [], {}],
        ["subprocess.getoutput", None, ["true"], {}],
        [OWN, None, [1], {"what": 2}],
        [OWN, "an instance", [1], {}],
        ["note", None, [1], {}],
        [f"{OWN}.__call__", None, [1], {}],
        [[OWN], None, [1], {}],
        [OWN, None, 1, {}],
        [OWN, None, [1]],
        {"function": OWN},
        None,
        b"\x80\x04]",
        b"",
    ],
)
def test_only_own_functions_run_and_only_as_functions(redis: redis.Redis, data: Any) -> None:
    plant(redis, data)
    work(redis)
    assert noted == ["the end"]
    assert strange == []


@pytest.mark.parametrize(
    "fields",
    [
        {"success_callback_name": STRANGE},
        {"failure_callback_name": STRANGE, "stopped_callback_name": STRANGE},
        {"failure_callback_name": STRANGE, "success_callback_name": "no.such.module"},
        {"repeats_left": "3", "repeat_intervals": "[0]", "retries_left": "3"},
    ],
)
@pytest.mark.parametrize("function", [OWN, STRANGE])
def test_a_job_brings_no_callback_and_no_second_run(redis: redis.Redis, fields: dict[str, str], function: str) -> None:
    plant(redis, [function, None, ["once"], {}], **fields)
    work(redis)
    assert noted == (["once", "the end"] if function == OWN else ["the end"])
    assert strange == []


def test_a_job_asks_nobody_on_the_web(redis: redis.Redis) -> None:
    hooks = [{"url": "http://127.0.0.1:1/", "statuses": ["finished", "failed"]}]
    plant(redis, [OWN, None, [1], {}], webhooks=json.dumps(hooks))
    job = SomeJob.fetch(plant(redis, [OWN, None, [2], {}], webhooks=json.dumps(hooks)), redis, JSONSerializer)
    assert job.webhooks == []
    work(redis)
    assert noted == [1, 2, "the end"]


def test_a_job_whose_time_is_over_is_not_told_to_a_callback_of_its_own(redis: redis.Redis) -> None:
    job = plant(redis, [OWN, None, [1], {}], status="started", failure_callback_name=STRANGE)
    redis.delete(f"rq:queue:{QUEUE}")
    # As if a worker of another host ran it: nobody here can know that it does not.
    entry = f"{job}:0"
    redis.zadd(f"rq:wip:{QUEUE}", {entry: 1.0})
    redis.hset(f"rq:execution:{entry}", mapping={"created_at": "1", "last_heartbeat": "1", "worker_name": "elsewhere"})
    redis.hset("rq:worker:elsewhere", mapping={"state": "busy"})
    redis.sadd("rq:worker:elsewhere:executions", entry)
    work(redis)
    assert strange == []
    assert noted == ["the end"]


ODD = st.sampled_from(
    ["", "x", '{"abandoned": "x"}', "-1", "0", "1e400", "NaN", "None", "9" * 30, "[]", "{}", '["a"]', "null", "\0"]
)
FIELDS = st.sampled_from(
    [
        "data",
        "status",
        "origin",
        "created_at",
        "enqueued_at",
        "started_at",
        "ended_at",
        "last_heartbeat",
        "timeout",
        "result_ttl",
        "failure_ttl",
        "ttl",
        "success_callback_name",
        "success_callback_timeout",
        "failure_callback_name",
        "failure_callback_timeout",
        "webhooks",
        "dependency_ids",
        "dependency_id",
        "allow_dependency_failures",
        "enqueue_at_front",
        "meta",
        "number_of_retries",
        "retries_left",
        "retry_intervals",
        "repeats_left",
        "repeat_intervals",
        "rate_limit_key",
        "rate_limit_concurrency",
        "exc_info",
        "group_id",
        "worker_name",
        "result",
        "description",
    ]
)
REGISTRIES = st.sampled_from(["wip", "failed", "finished", "deferred", "scheduled", "canceled", "ready"])


@given(
    st.lists(
        st.tuples(
            st.sampled_from([OWN, STRANGE]),
            st.dictionaries(FIELDS, ODD | st.just(STRANGE), min_size=1, max_size=4),
            st.lists(st.tuples(REGISTRIES, st.sampled_from([0.0, 1.0, 1e12])), max_size=2),
            st.booleans(),
        ),
        max_size=4,
    ),
    st.lists(st.sampled_from(["", "x", "no-job_of-ours"]), max_size=2),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_nothing_that_stands_in_redis_as_a_job_ends_a_worker_or_runs(
    redis: redis.Redis, planted: list[Any], nonsense: list[str]
) -> None:
    redis.flushdb()
    noted.clear()
    for function, fields, registries, intermediate in planted:
        job = plant(redis, [function, None, ["once"], {}])
        redis.hset(f"rq:job:{job}", mapping=fields)
        for name, score in registries:
            redis.zadd(f"rq:{name}:{QUEUE}", {f"{job}:0" if name == "wip" else job: score})
        if intermediate:
            redis.rpush(f"rq:queue:{QUEUE}:intermediate", job)
        redis.sadd(f"rq:job:{job}:dependents", job, "nobody")
    for one in nonsense:
        redis.rpush(f"rq:queue:{QUEUE}", one)
        redis.rpush(f"rq:queue:{QUEUE}:intermediate", one)
    work(redis)
    assert noted[-1] == "the end"
    assert strange == []
    assert not redis.llen(f"rq:queue:{QUEUE}")


def test_a_worker_in_a_thread_works_and_stops_when_it_is_told_to(
    redis: redis.Redis, wait_until: Callable[..., None]
) -> None:
    stopping = threading.Event()
    worker = ThreadWorker([QUEUE], SomeJob, redis, 10, stopping)
    thread = threading.Thread(target=worker.work, kwargs={"logging_level": "CRITICAL"})
    thread.start()
    plant(redis, [OWN, None, [1], {}])
    wait_until(lambda: noted == [1])
    began = time.monotonic()
    stopping.set()
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - began < 5
    assert not worker.was_told_to_stop
    plant(redis, [OWN, None, [2], {}])
    assert len(worker.queues[0]) == 1


def test_a_worker_that_a_fault_ends_was_not_told_to_stop(redis: redis.Redis) -> None:
    redis.set(f"rq:queue:{QUEUE}", "no list")
    worker = OwnWorker([QUEUE], SomeJob, redis, maintenance_s=10)
    worker.work(logging_level="CRITICAL")
    assert not worker.was_told_to_stop


class Told(OwnWorker):
    """Is told to stop while it maintains, and is as careful about what may go wrong there as we are."""

    def maintain(self) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            note("still maintaining")
        except Exception as error:
            note(error)


def test_who_is_told_to_stop_between_two_jobs_ends_what_it_does_and_stops(redis: redis.Redis) -> None:
    worker = Told([QUEUE], SomeJob, redis, maintenance_s=10)
    plant(redis, [OWN, None, ["a job"], {}])
    worker.work(burst=True, logging_level="CRITICAL")
    assert worker.was_told_to_stop
    assert noted == ["still maintaining"]


def test_who_waits_for_a_job_stops_at_once(redis: redis.Redis) -> None:
    worker = OwnWorker([QUEUE], SomeJob, redis, maintenance_s=10)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    began = time.monotonic()
    worker.work(logging_level="CRITICAL")
    assert worker.was_told_to_stop
    assert time.monotonic() - began < 5
    timer.join()


def test_a_job_that_ends_every_worker_is_given_up(redis: redis.Redis) -> None:
    plant(redis, [OWN, None, ["deadly"], {}])
    worker = OwnWorker([QUEUE], SomeJob, redis, maintenance_s=10)
    runs = 0
    while (found := worker.queue_class.dequeue_any(worker.queues, None, redis, SomeJob, JSONSerializer)) is not None:
        job, _ = found
        worker.prepare_execution(job)
        worker.prepare_job_execution(job, remove_from_intermediate_queue=True)
        runs += 1
        assert runs < 10
        # The process is no more; another one looks what it left.
        OwnWorker([QUEUE], SomeJob, redis, maintenance_s=10).run_maintenance_tasks()
        redis.delete(f"rq:worker:{worker.name}")
        worker = OwnWorker([QUEUE], SomeJob, redis, maintenance_s=10)
        worker.run_maintenance_tasks()
    assert runs == 5
    assert Job.fetch(job.id, redis, JSONSerializer).is_failed
    assert worker_name() != worker.name
