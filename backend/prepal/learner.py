"""The learner's jobs: rounds, reading Label Studio, and what is done when nothing else waits.

Whatever goes wrong in a job of one project is that project's trouble: it is told, tried again after growing pauses, and
touches no other one.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import redis

from prepal import connect as connecting
from prepal import encoders, jobs, judging, locks, order, rounds, sync
from prepal.errors import PrepalError
from prepal.jobs import mark, request, request_round, request_sync
from prepal.jobs_recovery import worker_name
from prepal.label_studio import LabelStudio, UnavailableError
from prepal.memory import Memories
from prepal.project import Project, all_projects
from prepal.rounds import Choosing
from prepal.settings import Settings
from prepal.vectors import VectorTable, table_name
from prepal.waiting import WaitingTexts

log = logging.getLogger(__name__)

# The first ranking is published when this many tasks are ranked, and again whenever their number has doubled.
_FIRST_TAIL = 2000
# A job that fails rests for so long at most; if only Label Studio does not answer, it may any time.
_LONGEST_PAUSE_S, _LONGEST_WAIT_S = 600.0, 30.0
# Of each project one process at a time makes the order, one reads Label Studio, and one computes figures.
_ORDER, _READING, _FIGURES = "", ":reading", ":figures"
# How long jobs that nobody waits for wait for a round to end.
_PATIENCE_S = 10.0


@dataclass
class Learner:
    """What the learner's process keeps between jobs."""

    settings: Settings
    connection: redis.Redis
    label_studio: LabelStudio
    table: VectorTable
    waiting: WaitingTexts
    memories: Memories = field(default_factory=Memories)
    name: str = field(default_factory=worker_name)

    def follow_encoder(self) -> None:
        """Take the table and the waiting texts of another encoder, once PREPAL_ENCODER means another one."""
        wanted = encoders.identity(self.settings.prepal_encoder, self.connection)
        if wanted == self.table.encoder:
            return
        log.info("PREPAL_ENCODER is the encoder %s from now on, and no more %s", wanted, self.table.encoder)
        # What still waits for the other one would wait for ever.
        self.waiting.forget()
        self.waiting = WaitingTexts(self.connection, wanted)
        self.table = VectorTable(self.settings.prepal_vectors, wanted)
        for project in all_projects(self.connection):
            request_sync(self.connection, project.id, full=True)

    def reading_table(self) -> VectorTable:
        """A handle of the vector cache for one reading: one is not meant for several threads."""
        return VectorTable(self.settings.prepal_vectors, self.table.encoder)


learner_of_this_process: Learner | None = None


def round(project: int) -> None:
    """Job: one round, unless nothing is new."""

    def work(learner: Learner, known: Project, held: locks.Held) -> None:
        last = known.round
        if known.left or (last is not None and last.facts == known.facts):
            return
        table, memory = _ranking_table(learner, known), learner.memories.of(project)
        record = rounds.run(known, memory, table, learner.label_studio, _choosing(learner), held.check)
        if record is None:
            return
        if tail_is_due(learner, known, record.ranked):
            request(learner.connection, "tail", project)
        request(learner.connection, "judge", project)

    _run("round", project, _ORDER, work)


def judge(project: int) -> None:
    """Job: figures of the newest round, computed beside the rounds that follow."""

    def work(learner: Learner, known: Project, _: locks.Held) -> None:
        with _held(learner, known, _ORDER, _PATIENCE_S) as held:
            if not held or known.round is None:
                return
            table = VectorTable(learner.settings.prepal_vectors, known.encoder or learner.table.encoder)
            found = judging.evidence(known, learner.memories.of(project), table, _choosing(learner))
        if found is None:
            return
        figures = judging.judge(found)
        with _held(learner, known, _ORDER, _PATIENCE_S) as held:
            if held:
                judging.note(known, found, figures)

    _run("judge", project, _FIGURES, work)


def read(project: int) -> None:
    """Job: read what the project is, and one page of new tasks; another such job follows while there are more."""

    def work(learner: Learner, known: Project, _: locks.Held) -> None:
        config = sync.describe(known, learner.label_studio)
        if config is None or known.left:
            return
        if not known.info.connected:
            _connect(learner, known)
            request_sync(learner.connection, project, full=True)
        if sync.read_new_tasks(known, config, learner.label_studio, learner.reading_table(), learner.waiting):
            request_sync(learner.connection, project)
        request_round(learner.connection, project)

    _run("read", project, _READING, work)


def reconcile(project: int) -> None:
    """Job: compare everything with Label Studio."""

    def work(learner: Learner, known: Project, _: locks.Held) -> None:
        began = time.monotonic()
        config = sync.describe(known, learner.label_studio)
        if not known.is_known:
            return
        settings = learner.settings
        if known.info.connected and sync.look_at_backend(
            known, learner.label_studio, settings.prepal_backend_url, settings.basic_auth_user
        ):
            _connect(learner, known)
        if config is None or known.left:
            return
        table = learner.reading_table()
        sync.reconcile(known, config, learner.label_studio, table, learner.waiting)
        known.note_reading(time.monotonic() - began)
        request(learner.connection, "verify", project)
        request(learner.connection, "judge", project)
        request_sync(learner.connection, project)
        if _switches(learner, known) and sync.is_filled(known, table, learner.waiting):
            known.add_fact()
        request_round(learner.connection, project)

    _run("reconcile", project, _READING, work)


def verify(project: int) -> None:
    """Job: look whether Label Studio has the predictions that were published, in their order."""

    def work(learner: Learner, known: Project, _: locks.Held) -> None:
        if known.left:
            return
        right = order.verify(known, learner.memories.published(project), learner.label_studio)
        postponed = order.look_for_postponed(known, learner.label_studio)
        if postponed or not right:
            request_round(learner.connection, project)
        if order.without_prediction(known):
            request(learner.connection, "tail", project)

    _run("verify", project, _ORDER, work, patience_s=_PATIENCE_S)


def tail(project: int) -> None:
    """Job: give tasks without a prediction their place behind the head."""

    def work(learner: Learner, known: Project, _: locks.Held) -> None:
        if known.left:
            return
        try:
            made = order.publish_tail(known, learner.label_studio)
        except PrepalError:
            # What Label Studio does not take may be of tasks that it does not have any more.
            request_sync(learner.connection, project, full=True)
            raise
        if made:
            log.info("project %d: %d predictions made", project, made)
            known.add_fact()
            request_round(learner.connection, project)

    _run("tail", project, _ORDER, work, patience_s=_PATIENCE_S)


def freshen(project: int) -> None:
    """Job: publish the ranking beyond its head; ends at once when something else is to be done."""

    def work(learner: Learner, known: Project, held: locks.Held) -> None:
        queues = [jobs.queue(learner.connection, name) for name in (jobs.LEARN, jobs.SYNC)]
        last = known.round
        if last is None or known.left:
            return

        def stop() -> bool:
            held.check()
            return any(len(queue) for queue in queues)

        if known.overtaken() and order.look_for_postponed(known, learner.label_studio):
            request_round(learner.connection, project)
        order.freshen(known, learner.memories.published(project), learner.label_studio, stop)
        if not stop():
            known.fresh_round = last.number

    _run("freshen", project, _ORDER, work)


def tail_is_due(learner: Learner, project: Project, ranked: int) -> bool:
    """Whether enough tasks are ranked and have no prediction yet."""
    lacking = order.without_prediction(project)
    if not lacking:
        return False
    # What waits may belong to another project; then the tail comes a little later, with the doubling.
    return not len(learner.waiting) or lacking >= max(_FIRST_TAIL, ranked - lacking)


def _choosing(learner: Learner) -> Choosing:
    return Choosing(learner.settings.prepal_strategy, learner.settings.prepal_audit_fraction)


def _connect(learner: Learner, project: Project) -> None:
    settings = learner.settings
    for change in connecting.connect(
        project,
        learner.label_studio,
        settings.prepal_backend_url,
        settings.basic_auth_user,
        settings.basic_auth_pass,
    ):
        log.info("project %d: %s", project.id, change)


def _switches(learner: Learner, project: Project) -> bool:
    """Whether the project's ranking rests on another encoder than it is to."""
    return project.encoder not in (None, learner.table.encoder)


def _ranking_table(learner: Learner, project: Project) -> VectorTable:
    """The vectors that the ranking rests on: the encoder's, once every text has one, until then the last encoder's."""
    if not _switches(learner, project):
        return learner.table
    before = project.encoder
    assert before is not None
    if not sync.is_filled(project, learner.table, learner.waiting):
        return VectorTable(learner.settings.prepal_vectors, before, table_name(before))
    log.info(
        "project %d: ranks by the vectors of %s from now on, no more of %s", project.id, learner.table.encoder, before
    )
    learner.memories.of(project.id).forget_vectors()
    return learner.table


def _run(
    job: str,
    project: int,
    lock: str,
    work: Callable[[Learner, Project, locks.Held], None],
    patience_s: float = 0.0,
) -> None:
    """Run one job of a project while nobody else holds the lock; what goes wrong is the project's trouble."""
    learner = _learner()
    connection, known = learner.connection, Project(learner.connection, project)
    connection.delete(mark(job, project))
    learner.follow_encoder()
    if not known.is_known:
        return
    # Whoever holds the lock looks here when they let go of it.
    connection.sadd(_missed(known, lock), job)
    with _held(learner, known, lock, patience_s) as held:
        if held is None:
            return
        connection.srem(_missed(known, lock), job)
        with _trouble_told(learner, known, job) as may_run:
            if may_run:
                work(learner, known, held)


@contextmanager
def _held(learner: Learner, project: Project, lock: str, patience_s: float) -> Iterator[locks.Held | None]:
    """Hold one of a project's locks, and ask again for jobs that could not run meanwhile; None: somebody else does."""
    with locks.held(learner.connection, f"prepal:lock:{project.id}{lock}", patience_s) as held:
        yield held
    while held and (job := cast(bytes | None, learner.connection.spop(_missed(project, lock)))):
        request(learner.connection, job.decode(), project.id)


def _missed(project: Project, lock: str) -> str:
    return project.key(f"missed{lock}")


@contextmanager
def _trouble_told(learner: Learner, project: Project, job: str) -> Iterator[bool]:
    """Tell whether a job may run now, and remember what goes wrong with it; Redis' own faults are everybody's."""
    trouble = project.trouble(job)
    if trouble is not None and trouble.until > time.time():
        yield False
        return
    before = project.begin_job(job, learner.name)
    if before not in (None, learner.name):
        # A process that is killed may be unlucky; one that is killed again by the same job is not.
        found = project.add_trouble(job, "The learner ended in the middle of it.", _LONGEST_PAUSE_S)
        log.warning("project %d: %s was begun by %s and never ended (%d times)", project.id, job, before, found.count)
        if found.count > 1:
            project.end_job(job)
            yield False
            return
    try:
        yield True
    except redis.RedisError:
        raise
    except locks.LostLockError as error:
        log.warning("project %d: %s: %s", project.id, job, error)
    except Exception as error:
        _tell(project, job, error)
    else:
        project.end_trouble(job)
    project.end_job(job)


def _tell(project: Project, job: str, error: Exception) -> None:
    if isinstance(error, PrepalError):
        what = str(error)
    else:
        # Its own words may be a task's.
        what = f"{type(error).__name__}: the learner's log has more of it."
        log.error("project %d: %s failed", project.id, job, exc_info=error)
    longest_s = _LONGEST_WAIT_S if isinstance(error, UnavailableError) else _LONGEST_PAUSE_S
    found = project.add_trouble(job, what, longest_s)
    again_s = found.until - time.time()
    log.warning("project %d: %s failed (%d times), again in %.0f s: %s", project.id, job, found.count, again_s, what)


def _learner() -> Learner:
    if learner_of_this_process is None:
        raise PrepalError("This job runs in `prepal worker learn` only.")
    return learner_of_this_process
