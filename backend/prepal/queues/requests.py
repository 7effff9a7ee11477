"""How jobs are put on the queues, one of a kind waiting at most; what they do is in `learner/jobs.py`."""

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import redis

from prepal.project import Project

if TYPE_CHECKING:
    from rq import Queue

log = logging.getLogger(__name__)

LEARN, SYNC = "learn", "sync"
ADAPT = "adapt"
ADAPT_JOB = "prepal_workers.adapt.adapt"
# Which job waits on which queue.
QUEUES = {
    "round": LEARN,
    **dict.fromkeys(("read", "reconcile", "verify", "judge", "second_looks", "tail", "freshen"), SYNC),
}
# Somebody looks at what comes of it, and it takes a moment: it does not wait behind what takes seconds.
_QUICK = {"second_looks"}
_JOB_TIMEOUT_S = 3600
# A request for a job outlives a lost queue by this much at most.
_REQUEST_S = 30
# A training of many labels takes hours; until one begins, others may be before it.
_ADAPT_TIMEOUT_S = 24 * 3600


def request_round(connection: redis.Redis, number: int) -> None:
    """Let a round of the project of this number follow; one waits at most."""
    request(connection, "round", number)


def request_sync(connection: redis.Redis, number: int, *, full: bool = False) -> None:
    """Let a project be read from Label Studio: what is new, or, if `full`, compared as a whole."""
    request(connection, "reconcile" if full else "read", number)


def vectors_arrived(connection: redis.Redis, number: int, encoder: str, texts: Sequence[str]) -> None:
    """Note that texts of the project of this number have become vectors, and let a round follow.

    Their ids are given; none when nothing waits any more. Vectors of an encoder on which the ranking does not rest are
    no news to a round, which reads them all as soon as the ranking comes to rest on them.
    """
    project = Project(connection, number)
    if project.encoder in (None, encoder):
        if texts:
            project.add_vectors(texts)
        else:
            project.add_fact()
        request_round(connection, number)
    if project.has_unread_tasks:
        request_sync(connection, number)


def request(connection: redis.Redis, job: str, number: int) -> None:
    """Put one of the learner's jobs on its queue, unless such a job of the project waits there already."""
    # The job takes the mark away before it looks at anything, so whatever is written before this call is seen by a job.
    if connection.set(mark(job, number), 1, nx=True, ex=_REQUEST_S):
        queue(connection, QUEUES[job]).enqueue(
            function(job),
            number,
            job_timeout=_JOB_TIMEOUT_S,
            result_ttl=0,
            failure_ttl=3600,
            description=f"{job} of project {number}",
            at_front=job in _QUICK,
        )


def request_adaptation(connection: redis.Redis, number: int) -> None:
    """Let a project's encoder be trained on its labels, unless that waits already or somebody is at it."""
    if connection.exists(adapting_lock(number)):
        return
    if connection.set(mark("adapt", number), 1, nx=True, ex=_ADAPT_TIMEOUT_S):
        queue(connection, ADAPT).enqueue(
            ADAPT_JOB,
            number,
            job_timeout=_ADAPT_TIMEOUT_S,
            result_ttl=0,
            failure_ttl=_ADAPT_TIMEOUT_S,
            description=f"adapt the encoder of project {number}",
        )


def adapting_lock(number: int) -> str:
    """Redis key of the lock of whoever trains the encoder of a project."""
    return f"prepal:lock:{number}:adapting"


def function(job: str) -> str:
    """The dotted name of what a job runs."""
    return f"prepal.learner.{job}"


def queue(connection: redis.Redis, name: str) -> "Queue":
    """One of the queues; jobs are JSON, so that who can write to Redis cannot run code."""
    # Whoever only looks at a project does not wait for RQ to be loaded.
    from rq import Queue
    from rq.serializers import JSONSerializer

    return Queue(name, connection=connection, serializer=JSONSerializer)


def mark(job: str, number: int) -> str:
    """Redis key that says that such a job of a project waits."""
    return f"prepal:requested:{job}:{number}"


def wait_for_redis(connection: redis.Redis) -> None:
    """Wait, as long as it takes, until Redis answers."""
    told = False
    while True:
        try:
            connection.ping()
            return
        except redis.ConnectionError as error:
            if not told:
                log.warning("Redis does not answer yet (%s); waiting", error)
                told = True
            time.sleep(0.5)
