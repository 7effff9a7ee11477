"""The learner's process: a worker for rounds, readers in threads, and what is due again where events were missed."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import redis

from prepal.errors import PrepalError
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.order import tail_is_due
from prepal.learner import jobs
from prepal.learner.learner import Learner
from prepal.learner.running import trouble_told
from prepal.learning import strategies
from prepal.learning.numerics.threads import one_blas_thread
from prepal.project import Project, all_projects
from prepal.queues.recovery import workers_of
from prepal.queues.requests import (
    ADAPT,
    LEARN,
    QUEUES,
    SYNC,
    function,
    request,
    request_adaptation,
    request_round,
    request_sync,
    wait_for_redis,
)
from prepal.queues.rq_worker import OwnJob, OwnWorker, ThreadWorker
from prepal.queues.waiting import WaitingTexts
from prepal.settings import Settings
from prepal.vectors import VectorTable

log = logging.getLogger(__name__)

_MAINTENANCE_S = 10
# While Label Studio takes long over one project, others are read all the same.
_READERS = 2
# Comparisons with Label Studio take up to this share of the time, however many projects there are.
_READING_SHARE = 0.25
# How long readers may take to end what they do when the process is told to stop.
_END_S = 2.0
# A reader that a fault has ended begins anew after so long.
_AGAIN_S = 1.0


class LearnerJob(OwnJob):
    """A job of the learner's."""

    functions: ClassVar = {function(name): getattr(jobs, name) for name in QUEUES}


class LearnerWorker(OwnWorker):
    """Runs rounds; every few seconds it puts on the queues what events may have missed, for each project by itself."""

    def __init__(self, learner: Learner) -> None:
        super().__init__([LEARN], LearnerJob, learner.connection, _MAINTENANCE_S)
        self._learner = learner
        self._is_first = True
        self._interval_s = float(learner.settings.prepal_reconcile_s)

    def maintain(self) -> None:
        """Go on with rounds that are due; compare with Label Studio now and then; let go of memory."""
        projects = all_projects(self.connection)
        self._learner.memories.trim([project.id for project in projects])
        seconds = 0.0
        adapts = self._learner.settings.prepal_adapt != "off" and bool(workers_of(self.connection, ADAPT))
        for project in projects:
            with trouble_told(project, "maintenance", _MAINTENANCE_S):
                _maintain(self._learner, project, self._interval_s, is_first=self._is_first, adapts=adapts)
                seconds += project.reading_s
        self._interval_s = max(float(self._learner.settings.prepal_reconcile_s), seconds / _READING_SHARE)
        self._is_first = False


def run_learner(settings: Settings) -> bool:
    """Work on rounds, and on reading Label Studio, until told to stop; returns whether it was told to.

    Raises:
        PrepalError: there is no strategy of the name in the settings.
    """
    try:
        strategies.get(settings.prepal_strategy)
    except ValueError as error:
        raise PrepalError(f"PREPAL_STRATEGY cannot be used: {error}") from error
    connection = redis.Redis.from_url(settings.redis_url)
    wait_for_redis(connection)
    waiting = WaitingTexts(connection, settings.prepal_encoder)
    learner = Learner(
        settings=settings,
        connection=connection,
        label_studio=LabelStudio(settings.label_studio_url, settings.label_studio_api_key),
        table=VectorTable(settings.prepal_vectors, waiting.encoder),
        waiting=waiting,
    )
    Learner.of_this_process = learner
    worker = LearnerWorker(learner)
    with one_blas_thread(), _readers(learner):
        worker.work(logging_level="WARNING")
    return worker.was_told_to_stop


def _maintain(learner: Learner, project: Project, interval_s: float, *, is_first: bool, adapts: bool) -> None:
    connection, last, now = learner.connection, project.round, time.time()
    troubles = {trouble.job: trouble for trouble in project.troubles()}
    resting = {trouble.job for trouble in troubles.values() if trouble.until > now}
    for trouble in troubles.values():
        if trouble.job in QUEUES and trouble.until <= now:
            request(connection, trouble.job, project.id)
    if not project.left:
        if last is None or last.facts != project.facts:
            if "round" not in troubles:
                request_round(connection, project.id)
        elif project.fresh_round < last.number:
            more_come = learner.more_come(project)
            due = "tail" if tail_is_due(project, last.ranked, more_come=more_come) else "freshen"
            if due not in troubles:
                request(connection, due, project.id)
        # While the vectors of the last one are still computed, another one would only come too soon.
        may_begin = adapts and "adapt" not in resting and project.encoder == learner.wanted(project)
        if may_begin and last is not None and project.is_to_be_adapted(last.labels):
            request_adaptation(connection, project.id)
    # The first maintenance of a process always compares: whatever died may have missed events.
    if project.is_read_again(interval_s) or is_first:
        request_sync(connection, project.id, full=True)
    project.end_trouble("maintenance")


@contextmanager
def _readers(learner: Learner) -> Iterator[None]:
    """Let threads work on what has to do with reading Label Studio."""
    stopping = threading.Event()
    threads = [
        threading.Thread(target=_read, args=(learner, stopping), name=f"reader {number}", daemon=True)
        for number in range(_READERS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        end = time.monotonic() + _END_S
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))


def _read(learner: Learner, stopping: threading.Event) -> None:
    """Work until told to stop: what ends a worker must not end reading."""
    while not stopping.is_set():
        try:
            ThreadWorker([SYNC], LearnerJob, learner.connection, _MAINTENANCE_S, stopping).work(logging_level="WARNING")
        except Exception as error:
            log.warning("a reader ended (%s: %s); it begins anew", type(error).__name__, error)
        stopping.wait(_AGAIN_S)
