"""The jobs by name: round, reading Label Studio, figures beside the rounds, and what is done when all is quiet.

RQ calls each with a project's number, by the name that `requests.function` gives it.
"""

import logging
import time
from collections.abc import Callable

from prepal.errors import PrepalError
from prepal.label_studio import connect as connecting
from prepal.label_studio import matching, order, tabs
from prepal.label_studio.describe import describe, name_people
from prepal.label_studio.sync import Reader, is_filled
from prepal.labels import label_config
from prepal.learner import judging
from prepal.learner import round as rounds
from prepal.learner.learner import Learner
from prepal.learner.running import FIGURES, ORDER, READING, held, job, mended, missed_key
from prepal.project import Project
from prepal.queues import requests
from prepal.queues.locks import Held
from prepal.queues.requests import request, request_round, request_sync
from prepal.vectors import VectorTable, encoders

log = logging.getLogger(__name__)


@job(ORDER)
def round(learner: Learner, project: Project, mine: Held) -> None:
    """Run one round, unless nothing is new."""
    last = project.round
    if project.left:
        return
    table, memory = _ranking_table(learner, project), learner.memories.of(project.id)
    if last is not None and last.facts == project.facts and project.encoder == table.encoder:
        return
    record = rounds.run(project, memory, table, learner.label_studio, learner.choosing, mine.check)
    if record is None:
        return
    if order.tail_is_due(project, record.ranked, more_come=learner.more_come(project)):
        request(learner.connection, "tail", project.id)
    # A label that was corrected leaves the tabs at once, what is suspected now comes when it is judged.
    request(learner.connection, "second_looks", project.id)
    request(learner.connection, "judge", project.id)


@job(FIGURES)
def judge(learner: Learner, project: Project, _: Held) -> None:
    """Compute figures of the newest round, beside the rounds that follow."""
    with held(project, ORDER, "judge", learner.patience_s) as mine:
        if mine is None or project.round is None:
            return
        encoder, memory = project.encoder or learner.table.encoder, learner.memories.of(project.id)
        table, more_come = learner.table_of(encoder), learner.more_come(project)
        config = label_config.parse_or_none(project.info.label_config)
        found = [
            (
                project.of(question),
                judging.evidence(project, memory, table, learner.choosing, question.from_name, more_come=more_come),
            )
            for question in (config.questions if config else ())
        ]
    base = learner.table_of(encoders.base_of(encoder)) if encoders.is_adapted(encoder) else None
    for question, evidence in found:
        if evidence is None:
            continue
        figures = judging.judge(evidence, base)
        with held(project, ORDER, "judge", learner.patience_s) as mine:
            if mine:
                judging.note(question, evidence, figures)
    request(learner.connection, "second_looks", project.id)


@job(READING)
def read(learner: Learner, project: Project, _: Held) -> None:
    """Read what the project is, and one page of new tasks; another such job follows while there are more."""
    config = describe(project, learner.label_studio)
    if config is None or project.left:
        return
    if not project.info.connected:
        _connect(learner, project)
        request_sync(learner.connection, project.id, full=True)
    more = Reader(project, config, learner.label_studio, learner.targets(project)).read_new_tasks()
    if matching.look_on(project, learner.label_studio) or more:
        request_sync(learner.connection, project.id)
    request_round(learner.connection, project.id)


@job(READING)
def reconcile(learner: Learner, project: Project, _: Held) -> None:
    """Compare everything with Label Studio."""
    began = time.monotonic()
    mended(project)
    config = describe(project, learner.label_studio)
    if not project.is_known:
        return
    if project.info.connected and connecting.is_to_be_connected(project, *learner.backend):
        _connect(learner, project)
    if config is None or project.left:
        return
    learner.look_for_adapted(project)
    targets = learner.targets(project)
    kept = [table.encoder for table, _ in targets]
    if set(project.adapted_encoders()) - set(kept):
        with held(project, ORDER, "reconcile", learner.patience_s) as mine:
            if mine:
                learner.let_go(project, kept)
    Reader(project, config, learner.label_studio, targets).reconcile()
    name_people(project, learner.label_studio)
    project.reading_s = time.monotonic() - began
    request(learner.connection, "verify", project.id)
    request(learner.connection, "judge", project.id)
    request_sync(learner.connection, project.id)
    request_round(learner.connection, project.id)


@job(ORDER, is_patient=True)
def verify(learner: Learner, project: Project, _: Held) -> None:
    """Look whether Label Studio has the predictions that were published, in their order."""
    if project.left:
        return
    right = order.verify(project, learner.memories.published(project.id), learner.label_studio)
    postponed = order.look_for_postponed(project, learner.label_studio)
    if postponed or not right:
        request_round(learner.connection, project.id)
    if order.without_prediction(project):
        request(learner.connection, "tail", project.id)
    tabs.look_after(project, learner.label_studio)
    request(learner.connection, "second_looks", project.id)


@job(ORDER)
def second_looks(learner: Learner, project: Project, mine: Held) -> None:
    """Bring the tabs of what is worth a second look up to date; another such job follows when a round came first."""
    if project.left or not project.info.connected:
        return
    published, stop = learner.memories.published(project.id), _stop(learner, project, mine)
    if not tabs.refresh(project, published, learner.label_studio, stop):
        request(learner.connection, "second_looks", project.id)


@job(ORDER, is_patient=True)
def tail(learner: Learner, project: Project, _: Held) -> None:
    """Give tasks without a prediction their place behind the head."""
    if project.left:
        return
    try:
        made = order.publish_tail(project, learner.label_studio)
    except PrepalError:
        # What Label Studio does not take may be of tasks that it does not have any more.
        request_sync(learner.connection, project.id, full=True)
        raise
    if made:
        log.info("project %d: %d predictions made", project.id, made)
        project.add_fact()
        request_round(learner.connection, project.id)


@job(ORDER)
def freshen(learner: Learner, project: Project, mine: Held) -> None:
    """Publish the ranking beyond its head; ends at once when something else is to be done."""
    connection, last = learner.connection, project.round
    if last is None or project.left:
        return
    stop = _stop(learner, project, mine)
    if project.overtaken() and order.look_for_postponed(project, learner.label_studio):
        request_round(connection, project.id)
    order.freshen(project, learner.memories.published(project.id), learner.label_studio, stop)
    if not stop():
        project.fresh_round = last.number


def _stop(learner: Learner, project: Project, mine: Held) -> Callable[[], bool]:
    """Return what tells whether something else is to be done than what nobody waits for."""
    connection = learner.connection
    queues = [requests.queue(connection, name) for name in (requests.LEARN, requests.SYNC)]

    def stop() -> bool:
        mine.check()
        # A round of this very project is begun at once, and has to wait for the lock.
        return bool(connection.exists(missed_key(project, ORDER))) or any(len(queue) for queue in queues)

    return stop


def _connect(learner: Learner, project: Project) -> None:
    for change in connecting.connect(project, *learner.backend):
        log.info("project %d: %s", project.id, change)


def _ranking_table(learner: Learner, project: Project) -> VectorTable:
    """The vectors that the ranking rests on: the wanted encoder's, once every text has one, until then those before.

    Before the first round that is the encoder of the settings.
    """
    wanted, base = learner.wanted(project), learner.table
    before = project.encoder or base.encoder
    table = base if wanted == base.encoder else learner.table_of(wanted)
    if before == wanted:
        return table
    if not is_filled(project, table, learner.waiting_for(wanted)):
        return base if before == base.encoder else learner.table_of(before)
    log.info("project %d: ranks by the vectors of %s from now on, no more of %s", project.id, wanted, before)
    return table
