"""RQ workers that run this project's own functions, and nothing else that may stand in Redis."""

import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, ClassVar

import redis
from rq import Queue, SimpleWorker
from rq.exceptions import DeserializationError, NoSuchJobError, StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty

from prepal.queues.recovery import recover_abandoned, retire_name, worker_name
from prepal.queues.requests import wait_for_redis

log = logging.getLogger(__name__)

_WORKER_TTL_S = 30
# How long a worker in a thread waits for a job before it looks whether it is to stop.
_LOOK_EVERY_S = 1
# What counts of a job in Redis.
_FIELDS = {
    b"created_at",
    b"data",
    b"description",
    b"enqueued_at",
    b"failure_ttl",
    b"meta",
    b"origin",
    b"result_ttl",
    b"started_at",
    b"status",
    b"timeout",
}
_LONGEST_S = 7 * 24 * 3600
_RESTART_S = 1.0


class StrangeJobError(Exception):
    """A job names something else than a function of this project: nothing of it is run."""


class OwnJob(Job):
    """A job of which only the function's name, its place in the list and its arguments count.

    RQ would run any dotted name that a job in Redis names, as its function or as its callback, send webhooks anywhere,
    and give up the worker over a number that is none. JSON keeps pickles out, and this class keeps the rest out.
    """

    functions: ClassVar[Mapping[str, Callable[..., object]]] = {}
    """Those that may run, by their names in Redis. One release hands jobs to another, so the names stay as they are."""

    @property
    def func(self) -> Callable[..., object]:
        """What runs; RQ would import whatever the name says."""
        return self.functions[str(self.func_name)]

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Read of a job in Redis what counts, and nothing that would be called, asked or waited for besides.

        Raises:
            NoSuchJobError: it is none, or cannot be read.
        """
        try:
            super().restore({name: raw_data[name] for name in _FIELDS & raw_data.keys()})
            self.get_status(refresh=False)
            abandoned = self.meta.get("abandoned", 0) if isinstance(self.meta, dict) else 0
            self.meta = {"abandoned": abandoned} if isinstance(abandoned, int) else {}
            times = self.timeout, self.result_ttl, self.failure_ttl
            if not all(time is None or 0 <= time <= _LONGEST_S for time in times):
                raise ValueError(f"nothing lasts for {times}")
        except NoSuchJobError:
            raise
        except Exception as error:
            raise NoSuchJobError(f"Job {self.id} cannot be read ({type(error).__name__}).") from error

    def dependencies_are_met(self, *_: object, **__: object) -> bool:
        """No job waits for another one."""
        return False

    def perform(self) -> Any:  # noqa: ANN401
        """Run the function, if it is one of this project's.

        Raises:
            StrangeJobError: it is not.
        """
        try:
            is_own = self.func_name in self.functions and self.instance is None and not self.kwargs
        except DeserializationError:
            is_own = False
        if not is_own:
            raise StrangeJobError(f"Job {self.id} is none of {', '.join(sorted(self.functions))}: it is not run.")
        return super().perform()


def readable_jobs(job_ids: Iterable[str], connection: redis.Redis) -> Iterator[Job]:
    """Those of the jobs that are there and can be read."""
    for job_id in job_ids:
        with suppress(NoSuchJobError, DeserializationError):
            job = OwnJob.fetch(job_id, connection, JSONSerializer)
            # What its data says is read only when it is asked for.
            job.func_name  # noqa: B018
            yield job


class OwnWorker(SimpleWorker):
    """RQ worker of some queues, whose jobs run in its own process: LanceDB and CUDA do not survive a fork.

    Args:
        queues: names of those that are served, in this order.
        job_class: says which functions may run.
        connection: to Redis.
        maintenance_s: seconds between two calls of `maintain`.
    """

    def __init__(
        self, queues: Sequence[str], job_class: type[OwnJob], connection: redis.Redis, maintenance_s: int
    ) -> None:
        super().__init__(
            # Of a queue that is given by its name RQ knows which kind of job is in it, also when it tidies up.
            queues,
            name=worker_name(),
            connection=connection,
            job_class=job_class,
            serializer=JSONSerializer,
            worker_ttl=_WORKER_TTL_S,
            maintenance_interval=maintenance_s,
            log_job_description=False,
        )
        self.was_told_to_stop = False
        """Otherwise it was a fault that ended it, which RQ only logs."""
        self._is_maintaining = False

    def run_maintenance_tasks(self) -> None:
        """Put back what dead workers left, before RQ counts it as failed; then do what is due besides."""
        self._is_maintaining = True
        try:
            self._tidy_up()
            self.maintain()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            # Whoever waits for the next job waits for Redis, too.
            log.warning("Redis was lost between two jobs: %s", error)
        finally:
            self._is_maintaining = False
        if self.was_told_to_stop:
            raise StopRequested

    def maintain(self) -> None:
        """Do what is due between jobs, every few seconds."""

    def _tidy_up(self) -> None:
        try:
            for queue in self.queues:
                recover_abandoned(queue, self.name)
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        except (redis.ConnectionError, redis.TimeoutError):
            raise
        except Exception as error:
            # One strange job must not end every worker that comes across it.
            log.warning("there is something in Redis that RQ cannot tidy up (%s: %s)", type(error).__name__, error)

    def teardown(self) -> None:
        """End the thread that listens for commands, also when Redis cannot be told."""
        try:
            super().teardown()  # type: ignore[no-untyped-call]
        finally:
            retire_name(self.name)
            if self.pubsub_thread is not None:
                self.pubsub_thread.stop()

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Stop when the job that runs, or what is done between two, is finished."""
        self.was_told_to_stop = True
        # RQ stops by an exception, which whatever is careful about faults would take for one.
        if not self._is_maintaining:
            super().request_stop(signum, frame)  # type: ignore[no-untyped-call]


class _WithEvent(OwnWorker):
    """A worker that shares an event with others, which says that they are to stop."""

    def __init__(
        self,
        queues: Sequence[str],
        job_class: type[OwnJob],
        connection: redis.Redis,
        maintenance_s: int,
        stopping: threading.Event,
    ) -> None:
        super().__init__(queues, job_class, connection, maintenance_s)
        self._stopping = stopping


class StoppableWorker(_WithEvent):
    """A worker that tells by an event that it was told to stop, for whoever is in the middle of a job."""

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Stop when the job that runs is finished, or ends itself because of the event."""
        self._stopping.set()
        super().request_stop(signum, frame)


def work_until(stopping: threading.Event, connection: redis.Redis, begin: Callable[[], StoppableWorker]) -> None:
    """Work until told to stop by SIGTERM or SIGINT; begin anew, with another worker, where Redis was lost."""
    while not stopping.is_set():
        wait_for_redis(connection)
        try:
            begin().work(logging_level="WARNING")
        except redis.RedisError as error:
            log.warning("Redis was lost (%s); beginning anew", error)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        stopping.wait(_RESTART_S)


class ThreadWorker(_WithEvent):
    """A worker in a thread of its own, beside the one in the main thread; it stops when an event is set."""

    death_penalty_class = TimerDeathPenalty

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Wait for a job, and look every second whether to stop: no signal interrupts a thread."""
        del max_idle_time
        while not self._stopping.is_set():
            taken: tuple[Job, Queue] | None = super().dequeue_job_and_maintain_ttl(timeout, _LOOK_EVERY_S)
            if taken is not None:
                return taken
        raise StopRequested

    def _install_signal_handlers(self) -> None:
        """Signals are the main thread's."""
