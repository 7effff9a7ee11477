"""How jobs are put on the queues; what they do is in `learner.py` and in the embed worker."""

import logging
import time
from collections.abc import Sequence

import redis
from rq import Queue
from rq.serializers import JSONSerializer

from prepal.project import Project

log = logging.getLogger(__name__)

LEARN, SYNC = "learn", "sync"
# Which job waits on which queue.
QUEUES = {
    "round": LEARN,
    "read": SYNC,
    "reconcile": SYNC,
    "verify": SYNC,
    "judge": SYNC,
    "tail": SYNC,
    "freshen": SYNC,
}
_JOB_TIMEOUT_S = 3600
# A request for a job outlives a lost queue by this much at most.
_REQUEST_S = 30


def request_round(connection: redis.Redis, project: int) -> None:
    """Let a round follow; one waits at most."""
    request(connection, "round", project)


def request_sync(connection: redis.Redis, project: int, *, full: bool = False) -> None:
    """Let the project be read from Label Studio: what is new, or, if `full`, compared as a whole."""
    request(connection, "reconcile" if full else "read", project)


def vectors_arrived(connection: redis.Redis, project: int, texts: Sequence[str]) -> None:
    """Said by the embed worker when texts of a project have become vectors.

    Args:
        connection: to Redis.
        project: whose they are.
        texts: their ids; none when nothing waits any more.
    """
    known = Project(connection, project)
    if texts:
        known.add_vectors(texts)
    else:
        known.add_fact()
    request_round(connection, project)
    if connection.exists(known.key("unread")):
        request_sync(connection, project)


def request(connection: redis.Redis, job: str, project: int) -> None:
    """Put one of the learner's jobs on its queue, unless one waits there already."""
    # The job takes the mark away before it looks at anything, so whatever is written before this call is seen by a job.
    if connection.set(mark(job, project), 1, nx=True, ex=_REQUEST_S):
        queue(connection, QUEUES[job]).enqueue(
            function(job),
            project,
            job_timeout=_JOB_TIMEOUT_S,
            result_ttl=0,
            failure_ttl=3600,
            description=f"{job} of project {project}",
        )


def function(job: str) -> str:
    """The dotted name of what a job runs."""
    return f"prepal.learner.{job}"


def queue(connection: redis.Redis, name: str) -> Queue:
    """One of the queues; jobs are JSON, so that who can write to Redis cannot run code."""
    return Queue(name, connection=connection, serializer=JSONSerializer)


def mark(job: str, project: int) -> str:
    """Redis key that says that such a job waits."""
    return f"prepal:requested:{job}:{project}"


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
