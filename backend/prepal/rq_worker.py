"""RQ workers that run this project's own functions, and nothing else that may stand in Redis."""

import logging
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any, ClassVar

import redis
from rq import Queue, SimpleWorker
from rq.exceptions import DeserializationError, NoSuchJobError, StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty

from prepal.jobs_recovery import recover_abandoned, retire_name, worker_name

log = logging.getLogger(__name__)

_WORKER_TTL_S = 30
# How long a worker in a thread waits for a job before it looks whether it is to stop.
_LOOK_EVERY_S = 1


class StrangeJobError(Exception):
    """A job names something else than a function of this project: nothing of it is run."""


class OwnJob(Job):
    """A job of which only the function's name, its place in the list and its arguments count.

    RQ would run any dotted name that a job in Redis names, as its function or as its callback, and send webhooks
    anywhere. JSON keeps pickles out, and this class keeps the rest out.
    """

    functions: ClassVar[frozenset[str]] = frozenset()
    """Dotted names of the functions that may run."""

    def restore(self, raw_data: Any) -> None:  # noqa: ANN401
        """Read a job from Redis, without anything that would be called or asked besides its function."""
        try:
            super().restore(raw_data)
        except NoSuchJobError:
            raise
        except Exception as error:
            raise NoSuchJobError(f"Job {self.id} cannot be read ({type(error).__name__}).") from error
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []
        self.retries_left = self.repeats_left = None
        self.rate_limit_key = None

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


class OwnWorker(SimpleWorker):
    """RQ worker of some queues, whose jobs run in its own process: LanceDB and CUDA do not survive a fork.

    Args:
        queues: served in this order.
        job_class: says which functions may run.
        connection: to Redis.
        maintenance_s: seconds between two calls of `maintain`.
    """

    def __init__(
        self, queues: Sequence[Queue], job_class: type[OwnJob], connection: redis.Redis, maintenance_s: int
    ) -> None:
        super().__init__(
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

    def run_maintenance_tasks(self) -> None:
        """Put back what dead workers left, before RQ counts it as failed; then do what is due besides."""
        try:
            for queue in self.queues:
                recover_abandoned(queue, self.name)
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
            self.maintain()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            # Whoever waits for the next job waits for Redis, too.
            log.warning("Redis was lost between two jobs: %s", error)

    def maintain(self) -> None:
        """Do what is due between jobs, every few seconds."""

    def teardown(self) -> None:
        """End the thread that listens for commands, also when Redis cannot be told."""
        try:
            super().teardown()  # type: ignore[no-untyped-call]
        finally:
            retire_name(self.name)
            if self.pubsub_thread is not None:
                self.pubsub_thread.stop()

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Stop when the job that runs is finished."""
        self.was_told_to_stop = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]


class ThreadWorker(OwnWorker):
    """The same in a thread of its own, beside the worker in the main thread; stops when an event is set."""

    death_penalty_class = TimerDeathPenalty

    def __init__(
        self,
        queues: Sequence[Queue],
        job_class: type[OwnJob],
        connection: redis.Redis,
        maintenance_s: int,
        stopping: threading.Event,
    ) -> None:
        super().__init__(queues, job_class, connection, maintenance_s)
        self._stopping = stopping

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Wait for a job, and look every second whether to stop: no signal interrupts a thread."""
        del max_idle_time
        while not self._stopping.is_set():
            found: tuple[Job, Queue] | None = super().dequeue_job_and_maintain_ttl(timeout, _LOOK_EVERY_S)
            if found is not None:
                return found
        raise StopRequested

    def _install_signal_handlers(self) -> None:
        """Signals are the main thread's."""
