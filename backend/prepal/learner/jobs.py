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

from prepal.errors import PrepalError
from prepal.label_studio import connect as connecting
from prepal.label_studio import order
from prepal.label_studio.api import UnavailableError
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.describe import describe
from prepal.label_studio.sync import Reader, is_filled
from prepal.learner import judging
from prepal.learner import round as rounds
from prepal.learner.memory import Memories
from prepal.learner.round import Choosing
from prepal.project import Project, all_projects, mend
from prepal.queues import locks, requests
from prepal.queues.recovery import worker_name
from prepal.queues.requests import mark, request, request_round, request_sync
from prepal.queues.waiting import WaitingTexts
from prepal.settings import Settings
from prepal.vectors import VectorTable, encoders, table_name

log = logging.getLogger(__name__)

# The first ranking is published when this many tasks are ranked, and again whenever their number has doubled.
_FIRST_TAIL = 2000
# A job that fails rests for so long at most; if only Label Studio does not answer, it may any time.
_LONGEST_PAUSE_S, _LONGEST_WAIT_S = 600.0, 30.0
# Of each project one process at a time makes the order, one reads Label Studio, and one computes figures.
_ORDER, _READING, _FIGURES = "", ":reading", ":figures"


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
    patience_s: float = 10.0
    """How long jobs that nobody waits for wait for a round to end."""

    @property
    def choosing(self) -> Choosing:
        """How tasks are chosen."""
        return Choosing(self.settings.prepal_strategy, self.settings.prepal_audit_fraction)

    @property
    def backend(self) -> tuple[LabelStudio, str, str, str]:
        """What is to be connected with what: Label Studio, the backend's address, and its credentials."""
        settings = self.settings
        return self.label_studio, settings.prepal_backend_url, settings.basic_auth_user, settings.basic_auth_pass

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
        return self.table_of(self.table.encoder)

    def table_of(self, encoder: str) -> VectorTable:
        """The vectors of an encoder, by its identity."""
        return VectorTable(self.settings.prepal_vectors, encoder, table_name(encoder))


learner_of_this_process: Learner | None = None


def round(project: int) -> None:
    """Job: one round, unless nothing is new."""

    def work(learner: Learner, known: Project, held: locks.Held) -> None:
        last = known.round
        if known.left or (last is not None and last.facts == known.facts):
            return
        table, memory = _ranking_table(learner, known), learner.memories.of(project)
        record = rounds.run(known, memory, table, learner.label_studio, learner.choosing, held.check)
        if record is None:
            return
        if tail_is_due(learner, known, record.ranked):
            request(learner.connection, "tail", project)
        request(learner.connection, "judge", project)

    _run("round", project, _ORDER, work)


def judge(project: int) -> None:
    """Job: figures of the newest round, computed beside the rounds that follow."""

    def work(learner: Learner, known: Project, _: locks.Held) -> None:
        with _held(learner, known, _ORDER, "judge", learner.patience_s) as held:
            if held is None or known.round is None:
                return
            table, more_come = learner.table_of(known.encoder or learner.table.encoder), bool(len(learner.waiting))
            memory = learner.memories.of(project)
            found = judging.evidence(known, memory, table, learner.choosing, more_come=more_come)
        if found is None:
            return
        figures = judging.judge(found)
        with _held(learner, known, _ORDER, "judge", learner.patience_s) as held:
            if held:
                judging.note(known, found, figures)

    _run("judge", project, _FIGURES, work)


def read(project: int) -> None:
    """Job: read what the project is, and one page of new tasks; another such job follows while there are more."""

    def work(learner: Learner, known: Project, _: locks.Held) -> None:
        config = describe(known, learner.label_studio)
        if config is None or known.left:
            return
        if not known.info.connected:
            _connect(learner, known)
            request_sync(learner.connection, project, full=True)
        if Reader(known, config, learner.label_studio, learner.reading_table(), learner.waiting).read_new_tasks():
            request_sync(learner.connection, project)
        request_round(learner.connection, project)

    _run("read", project, _READING, work)


def reconcile(project: int) -> None:
    """Job: compare everything with Label Studio."""

    def work(learner: Learner, known: Project, _: locks.Held) -> None:
        began = time.monotonic()
        _mend(known)
        config = describe(known, learner.label_studio)
        if not known.is_known:
            return
        if known.info.connected and connecting.is_to_be_connected(known, *learner.backend):
            _connect(learner, known)
        if config is None or known.left:
            return
        table = learner.reading_table()
        Reader(known, config, learner.label_studio, table, learner.waiting).reconcile()
        known.reading_s = time.monotonic() - began
        request(learner.connection, "verify", project)
        request(learner.connection, "judge", project)
        request_sync(learner.connection, project)
        if _switches(learner, known) and is_filled(known, table, learner.waiting):
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

    _run("verify", project, _ORDER, work, is_patient=True)


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

    _run("tail", project, _ORDER, work, is_patient=True)


def freshen(project: int) -> None:
    """Job: publish the ranking beyond its head; ends at once when something else is to be done."""

    def work(learner: Learner, known: Project, held: locks.Held) -> None:
        connection, last = learner.connection, known.round
        queues = [requests.queue(connection, name) for name in (requests.LEARN, requests.SYNC)]
        if last is None or known.left:
            return

        def stop() -> bool:
            held.check()
            # A round of this very project is begun at once, and has to wait for the lock.
            return bool(connection.exists(_missed(known, _ORDER))) or any(len(queue) for queue in queues)

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


def _connect(learner: Learner, project: Project) -> None:
    for change in connecting.connect(project, *learner.backend):
        log.info("project %d: %s", project.id, change)


def _switches(learner: Learner, project: Project) -> bool:
    """Whether the project's ranking rests on another encoder than it is to."""
    return project.encoder not in (None, learner.table.encoder)


def _ranking_table(learner: Learner, project: Project) -> VectorTable:
    """The vectors that the ranking rests on: the encoder's, once every text has one, until then the last encoder's."""
    table, before = learner.table, project.encoder
    if before in (None, table.encoder):
        return table
    if not is_filled(project, table, learner.waiting):
        return learner.table_of(before)
    log.info("project %d: ranks by the vectors of %s from now on, no more of %s", project.id, table.encoder, before)
    return table


def _run(
    job: str,
    project: int,
    lock: str,
    work: Callable[[Learner, Project, locks.Held], None],
    *,
    is_patient: bool = False,
) -> None:
    """Run one job of a project while nobody else holds the lock; what goes wrong is the project's trouble."""
    learner = _learner()
    known = Project(learner.connection, project)
    learner.connection.delete(mark(job, project))
    if not known.is_known:
        return
    with trouble_told(known, job):
        learner.follow_encoder()
        with _held(learner, known, lock, job, learner.patience_s if is_patient else 0.0) as held:
            if held is None or not _may_run(learner, known, job):
                return
            with trouble_told(known, job):
                work(learner, known, held)
                known.end_trouble(job)
            known.end_job(job)


@contextmanager
def _held(
    learner: Learner, project: Project, lock: str, job: str, patience_s: float = 0.0
) -> Iterator[locks.Held | None]:
    """Hold one of a project's locks; None: somebody else does, who asks for the job again when they let go of it."""
    connection, missed = learner.connection, _missed(project, lock)
    connection.sadd(missed, job)
    with locks.held(connection, f"prepal:lock:{project.id}{lock}", patience_s) as held:
        if held:
            connection.srem(missed, job)
        yield held
    while held and (other := cast(bytes | None, connection.spop(missed))):
        request(connection, other.decode(), project.id)


def _missed(project: Project, lock: str) -> str:
    return project.key(f"missed{lock}")


def _may_run(learner: Learner, project: Project, job: str) -> bool:
    """Whether a job need not rest because it has failed, or because whoever ran it ended in the middle of it."""
    trouble = project.trouble(job)
    if trouble is not None and trouble.until > time.time():
        return False
    before = project.begin_job(job, learner.name)
    if before in (None, learner.name):
        return True
    # A process that is killed may be unlucky; one that is killed again by the same job is not.
    found = project.add_trouble(job, "The learner ended in the middle of it.", _LONGEST_PAUSE_S)
    log.warning("project %d: %s was begun by %s and never ended (%d times)", project.id, job, before, found.count)
    if found.count > 1:
        project.end_job(job)
    return found.count == 1


@contextmanager
def trouble_told(project: Project, job: str, longest_s: float = _LONGEST_PAUSE_S) -> Iterator[None]:
    """Let whatever goes wrong be the project's trouble, and nobody else's; a Redis that is lost is everybody's.

    Args:
        project: whose job it is.
        job: its name.
        longest_s: for how long it rests at most after it has failed.
    """
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError):
        raise
    except locks.LostLockError as error:
        log.warning("project %d: %s: %s", project.id, job, error)
    except Exception as error:
        _tell(project, job, error, longest_s)


def _tell(project: Project, job: str, error: Exception, longest_s: float) -> None:
    if isinstance(error, PrepalError):
        what = str(error)
    elif names := _mend(project):
        what = f"What Redis had of the project could not be read ({names}), and is made anew."
        request_sync(project.connection, project.id, full=True)
    else:
        # Its own words may be a task's.
        what = f"{type(error).__name__}: the learner's log has more of it."
        log.error("project %d: %s failed", project.id, job, exc_info=error)
    if isinstance(error, UnavailableError):
        longest_s = min(longest_s, _LONGEST_WAIT_S)
    found = project.add_trouble(job, what, longest_s)
    again_s = found.until - time.time()
    log.warning("project %d: %s failed (%d times), again in %.0f s: %s", project.id, job, found.count, again_s, what)


def _mend(project: Project) -> str:
    """Drop what Redis has of a project and nobody can read; returns what that was."""
    names = ", ".join(mend(project))
    if names:
        log.warning("project %d: what Redis had of it could not be read and is made anew: %s", project.id, names)
    return names


def _learner() -> Learner:
    if learner_of_this_process is None:
        raise PrepalError("This job runs in `prepal worker learn` only.")
    return learner_of_this_process
