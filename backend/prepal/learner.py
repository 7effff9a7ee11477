"""The learner's process: the jobs that it runs, and the RQ worker around them."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.lock import Lock
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from prepal import connect as connecting
from prepal import rounds, sync
from prepal.errors import PrepalError
from prepal.jobs import LEARN, SYNC, mark, queue, request, request_round, request_sync, wait_for_redis
from prepal.jobs_recovery import is_dead, recover_abandoned, worker_name
from prepal.label_studio import LabelStudio
from prepal.learning import strategies
from prepal.project import Project, all_projects
from prepal.rounds import Choosing, Memory
from prepal.settings import Settings
from prepal.vectors import VectorTable
from prepal.waiting import WaitingTexts

log = logging.getLogger(__name__)

_WORKER_TTL_S = 30
_MAINTENANCE_S = 10
_LOCK_S = 120
# The first ranking is published when this many tasks are ranked, and again whenever their number has doubled.
_FIRST_TAIL = 2000


@dataclass
class Learner:
    """What the learner's process keeps between jobs."""

    settings: Settings
    connection: redis.Redis
    label_studio: LabelStudio
    table: VectorTable
    waiting: WaitingTexts
    memories: dict[int, Memory] = field(default_factory=dict)

    def memory(self, project: int) -> Memory:
        """What is kept of one project."""
        return self.memories.setdefault(project, Memory())


_learner: Learner | None = None


def round(project: int) -> None:
    """Job: one round, unless nothing is new."""

    def work(learner: Learner, known: Project) -> None:
        last = known.round
        if last is not None and last.facts == known.facts:
            return
        choosing = Choosing(learner.settings.prepal_strategy, learner.settings.prepal_audit_fraction)
        table = _ranking_table(learner, known)
        record = rounds.run(known, learner.memory(project), table, learner.label_studio, choosing)
        if record is not None and _tail_is_due(learner, known, record.ranked):
            request(learner.connection, SYNC, "tail", project)

    _exclusively("round", project, work)


def read(project: int) -> None:
    """Job: read what the project is, and one page of new tasks; another such job follows while there are more."""

    def work(learner: Learner, known: Project) -> None:
        config = sync.describe(known, learner.label_studio)
        if config is None:
            return
        if not known.info.connected:
            settings = learner.settings
            for change in connecting.connect(
                known,
                learner.label_studio,
                settings.prepal_backend_url,
                settings.basic_auth_user,
                settings.basic_auth_pass,
            ):
                log.info("project %d: %s", project, change)
            request_sync(learner.connection, project, full=True)
        if sync.read_new_tasks(known, config, learner.label_studio, learner.table, learner.waiting):
            request_sync(learner.connection, project)
        request_round(learner.connection, project)

    _exclusively("read", project, work)


def reconcile(project: int) -> None:
    """Job: compare everything with Label Studio."""

    def work(learner: Learner, known: Project) -> None:
        config = sync.describe(known, learner.label_studio)
        if config is None:
            return
        sync.reconcile(known, learner.label_studio, learner.table, learner.waiting)
        rounds.reread_predictions(known, learner.memory(project), learner.label_studio)
        request_sync(learner.connection, project)
        if _switches(learner, known) and sync.is_filled(known, learner.table, learner.waiting):
            known.add_fact()
            request_round(learner.connection, project)
        if rounds.without_prediction(known):
            request(learner.connection, SYNC, "tail", project)

    _exclusively("reconcile", project, work)


def tail(project: int) -> None:
    """Job: give tasks without a prediction their place behind the head."""

    def work(learner: Learner, known: Project) -> None:
        if made := rounds.publish_tail(known, learner.label_studio):
            log.info("project %d: %d predictions made", project, made)
            known.add_fact()
            request_round(learner.connection, project)

    _exclusively("tail", project, work)


def freshen(project: int) -> None:
    """Job: publish the ranking beyond its head; ends at once when something else is to be done."""

    def work(learner: Learner, known: Project) -> None:
        queues = [queue(learner.connection, name) for name in (LEARN, SYNC)]
        last = known.round
        if last is None:
            return
        rounds.freshen(known, learner.memory(project), learner.label_studio, lambda: any(len(q) for q in queues))
        if not any(len(q) for q in queues):
            known.fresh_round = last.number

    _exclusively("freshen", project, work)


def _switches(learner: Learner, project: Project) -> bool:
    """Whether the project's ranking rests on another encoder than it is to."""
    return project.encoder not in (None, learner.settings.prepal_encoder)


def _ranking_table(learner: Learner, project: Project) -> VectorTable:
    """The vectors that the ranking rests on: the encoder's, once every text has one, until then the last encoder's."""
    wanted, before = learner.settings.prepal_encoder, project.encoder
    if before is not None and before != wanted:
        if not sync.is_filled(project, learner.table, learner.waiting):
            return VectorTable(learner.settings.prepal_vectors, before)
        log.info("project %d: ranks by the vectors of %s from now on, no more of %s", project.id, wanted, before)
        learner.memory(project.id).forget_vectors()
    if before != wanted:
        project.encoder = wanted
    return learner.table


def _exclusively(job: str, project: int, work: Callable[[Learner, Project], None]) -> None:
    """Run one job of a project while no other process runs one."""
    learner = _learner
    if learner is None:
        raise PrepalError("This job runs in `prepal worker learn` only.")
    learner.connection.delete(mark(job, project))
    known = Project(learner.connection, project)
    lock = Lock(learner.connection, f"prepal:lock:{project}", timeout=_LOCK_S, blocking_timeout=_LOCK_S)
    _break_lock_of_the_dead(learner.connection, lock)
    lock.acquire(token=worker_name())
    try:
        work(learner, known)
    finally:
        if lock.owned():
            lock.release()


def _break_lock_of_the_dead(connection: redis.Redis, lock: Lock) -> None:
    """A learner that was killed in mid-round must not hold up the one that follows it on the same host."""
    owner: Any = connection.get(lock.name)
    if owner is not None and is_dead(owner.decode()):
        connection.delete(lock.name)


def _tail_is_due(learner: Learner, project: Project, ranked: int) -> bool:
    lacking = rounds.without_prediction(project)
    if not lacking:
        return False
    # What waits may belong to another project; then the tail comes a little later, with the doubling.
    return not len(learner.waiting) or lacking >= max(_FIRST_TAIL, ranked - lacking)


class LearnerWorker(SimpleWorker):
    """RQ worker that, every few seconds, puts on the queue what events may have missed."""

    def run_maintenance_tasks(self) -> None:
        """Recover lost jobs; reconcile now and then; go on with rounds that are due."""
        for waiting in self.queues:
            # Before RQ counts their jobs as failed.
            recover_abandoned(waiting)
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        assert _learner is not None
        for project in all_projects(self.connection):
            _maintain(_learner, project)


def _maintain(learner: Learner, project: Project) -> None:
    connection = learner.connection
    last = project.round
    if last is None or last.facts != project.facts:
        request_round(connection, project.id)
    elif project.fresh_round < last.number:
        due = "tail" if _tail_is_due(learner, project, last.ranked) else "freshen"
        request(connection, SYNC, due, project.id)
    # The first maintenance of a process always reconciles: whatever died may have missed events.
    memory = learner.memory(project.id)
    if time.monotonic() >= memory.reconcile_at:
        memory.reconcile_at = time.monotonic() + learner.settings.prepal_reconcile_s
        request_sync(connection, project.id, full=True)


def run_learner(settings: Settings) -> None:
    """Work on rounds, and on reading Label Studio, until told to stop.

    Raises:
        PrepalError: there is no strategy of the name in the settings.
    """
    global _learner
    try:
        strategies.get(settings.prepal_strategy)
    except ValueError as error:
        raise PrepalError(f"PREPAL_STRATEGY cannot be used: {error}") from error
    connection = redis.Redis.from_url(settings.redis_url)
    wait_for_redis(connection)
    _learner = Learner(
        settings=settings,
        connection=connection,
        label_studio=LabelStudio(settings.label_studio_url, settings.label_studio_api_key),
        table=VectorTable(settings.prepal_vectors, settings.prepal_encoder),
        waiting=WaitingTexts(connection, settings.prepal_encoder),
    )
    worker = LearnerWorker(
        [queue(connection, name) for name in (LEARN, SYNC)],
        name=worker_name(),
        connection=connection,
        serializer=JSONSerializer,
        worker_ttl=_WORKER_TTL_S,
        maintenance_interval=_MAINTENANCE_S,
        log_job_description=False,
    )
    worker.work(logging_level="WARNING")
