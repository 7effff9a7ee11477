"""How the learner's jobs run: one at a time for each part of a project, and whatever goes wrong is that project's.

It is told, tried again after growing pauses, and touches no other project.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import cast

import redis

from prepal.errors import PrepalError
from prepal.label_studio.api import UnavailableError
from prepal.learner.learner import Learner
from prepal.project import Project, mend
from prepal.queues import locks
from prepal.queues.requests import mark, request, request_sync

log = logging.getLogger(__name__)

# Of each project one process at a time makes the order, one reads Label Studio, and one computes figures.
ORDER, READING, FIGURES = "", ":reading", ":figures"
# A job that fails rests for so long at most; if only Label Studio does not answer, it may any time.
_LONGEST_PAUSE_S, _LONGEST_WAIT_S = 600.0, 30.0

Work = Callable[[Learner, Project, locks.Held], None]


def job(lock: str, *, is_patient: bool = False) -> Callable[[Work], Callable[[int], None]]:
    """Make of some work for a project the job of the same name, which is called with the project's number.

    Args:
        lock: what of the project nobody else may be at meanwhile.
        is_patient: whether it waits for who is; otherwise, and after a while, they ask for it again when they end.
    """

    def make(work: Work) -> Callable[[int], None]:
        name = work.__name__

        @wraps(work)
        def run(number: int) -> None:
            learner = Learner.of_this_process
            if learner is None:
                raise PrepalError("This job runs in `prepal worker learn` only.")
            project = Project(learner.connection, number)
            learner.connection.delete(mark(name, number))
            if not project.is_known:
                return
            with trouble_told(project, name):
                learner.follow_encoder()
                with held(project, lock, name, learner.patience_s if is_patient else 0.0) as mine:
                    if mine is None or not _may_run(learner, project, name):
                        return
                    with trouble_told(project, name):
                        work(learner, project, mine)
                        project.end_trouble(name)
                    project.end_job(name)

        return run

    return make


@contextmanager
def held(project: Project, lock: str, name: str, patience_s: float) -> Iterator[locks.Held | None]:
    """Hold one of a project's locks; None: somebody else does, who asks for the job again when they let go of it.

    The job of this name waits for it up to `patience_s`.
    """
    connection, missed = project.connection, missed_key(project, lock)
    connection.sadd(missed, name)
    with locks.held(connection, f"prepal:lock:{project.id}{lock}", patience_s) as mine:
        if mine:
            connection.srem(missed, name)
        yield mine
    while mine and (other := cast(bytes | None, connection.spop(missed))):
        request(connection, other.decode(), project.id)


def missed_key(project: Project, lock: str) -> str:
    """Redis key of the jobs that found a lock held by somebody else."""
    return project.key(f"missed{lock}")


def _may_run(learner: Learner, project: Project, name: str) -> bool:
    """Whether a job need not rest because it has failed, or because whoever ran it ended in the middle of it."""
    trouble = project.trouble(name)
    if trouble is not None and trouble.until > time.time():
        return False
    before = project.begin_job(name, learner.name)
    if before in (None, learner.name):
        return True
    # A process that is killed may be unlucky; one that is killed again by the same job is not.
    trouble = project.add_trouble(name, "The learner ended in the middle of it.", _LONGEST_PAUSE_S)
    log.warning("project %d: %s was begun by %s and never ended (%d times)", project.id, name, before, trouble.count)
    if trouble.count > 1:
        project.end_job(name)
    return trouble.count == 1


@contextmanager
def trouble_told(project: Project, name: str, longest_s: float = _LONGEST_PAUSE_S) -> Iterator[None]:
    """Let whatever goes wrong be the project's trouble, and nobody else's; a Redis that is lost is everybody's.

    The job of this name rests after a failure, for `longest_s` at most.
    """
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError):
        raise
    except locks.LostLockError as error:
        log.warning("project %d: %s: %s", project.id, name, error)
    except Exception as error:
        _tell(project, name, error, longest_s)


def _tell(project: Project, name: str, error: Exception, longest_s: float) -> None:
    if isinstance(error, PrepalError):
        what = str(error)
    elif names := mended(project):
        what = f"What Redis had of the project could not be read ({names}), and is made anew."
        request_sync(project.connection, project.id, full=True)
    else:
        # Its own words may be a task's.
        what = f"{type(error).__name__}: the learner's log has more of it."
        log.error("project %d: %s failed", project.id, name, exc_info=error)
    if isinstance(error, UnavailableError):
        longest_s = min(longest_s, _LONGEST_WAIT_S)
    trouble = project.add_trouble(name, what, longest_s)
    again_s = trouble.until - time.time()
    log.warning("project %d: %s failed (%d times), again in %.0f s: %s", project.id, name, trouble.count, again_s, what)


def mended(project: Project) -> str:
    """Drop what Redis has of a project and nobody can read; returns the names of that."""
    names = ", ".join(mend(project))
    if names:
        log.warning("project %d: what Redis had of it could not be read and is made anew: %s", project.id, names)
    return names
