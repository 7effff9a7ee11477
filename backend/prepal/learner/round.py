"""One round, end to end: labels and vectors become a classifier, a ranking, and a new head in Label Studio.

The only place where learning, vectors, project and Label Studio meet.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import pairwise

from prepal.errors import PrepalError
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.order import entries
from prepal.label_studio.publish import Entry, Publisher
from prepal.labels import label_config
from prepal.learner.assessing import changed, stability
from prepal.learner.fitting import Choosing, Round, learn
from prepal.learner.memory import Memory
from prepal.learner.ranking import Beliefs, Ranked, predict, rank
from prepal.project import Project, RoundRecord
from prepal.vectors import VectorTable

log = logging.getLogger(__name__)

# The parts of a round, one after the other; together they are all of it.
_PARTS = ("load", "fit", "rank", "publish", "note")


def run(
    project: Project,
    memory: Memory,
    table: VectorTable,
    label_studio: LabelStudio,
    choosing: Choosing,
    check: Callable[[], None] = lambda: None,
) -> RoundRecord | None:
    """Run one round of a project; returns None when the project cannot be served.

    `check` raises when another process runs rounds of this project by now: nothing more is written then.
    """
    moments, facts = [time.perf_counter()], project.facts
    try:
        config = label_config.parse(project.info.label_config)
    except PrepalError as error:
        log.debug("project %d: no round: %s", project.id, error)
        return None
    memory.refresh(project, table)
    moments.append(time.perf_counter())
    this = learn(project, memory, table, config, choosing)
    moments.append(time.perf_counter())
    beliefs = predict(this)
    ranked = rank(this, beliefs)
    moments.append(time.perf_counter())

    check()
    head = entries(ranked.ranking, len(ranked.is_audit))
    audits = [entry.task for entry, is_audit in zip(head, ranked.is_audit, strict=True) if is_audit]
    _note_shown(this)
    project.add_audits([*ranked.drawn, *audits])
    with ThreadPoolExecutor(1) as beside:
        # Redis is busy with the ranking of many tasks for about as long as Label Studio is with the head.
        stored = beside.submit(project.put_ranking, ranked.ranking)
        written = _publish(this, beliefs, head, Publisher(project, label_studio, config), check)
        differing = changed(memory, beliefs)
        stored.result()
    if project.encoder != table.encoder:
        project.encoder = table.encoder
    moments.append(time.perf_counter())

    record = _record(this, beliefs, ranked, differing, facts, moments)
    check()
    project.finish_round(record)
    log.info(
        "project %d: round %d: %d labels, %d in the pool, %d predictions written, %.0f ms",
        project.id,
        record.number,
        record.labels,
        record.ranked,
        written,
        1000 * sum(record.seconds.values()),
    )
    return record


def _note_shown(this: Round) -> None:
    """Remember what annotators were shown of the tasks that were labelled since the last round."""
    published = this.memory.published
    if not this.new or published.config is None or not published.is_newest(this.project):
        return
    new = this.new & set(this.memory.task_ids[this.labelled.places].tolist())
    choices = published.config.choices
    this.project.note_shown(
        {
            entry.task: ([choices[chosen] for chosen in entry.chosen], entry.confidence, not entry.shown)
            for entry in published.front
            if entry.confidence is not None and entry.task in new
        }
    )


def _publish(this: Round, beliefs: Beliefs, head: list[Entry], publisher: Publisher, check: Callable[[], None]) -> int:
    """Put the head into Label Studio, and what was passed to the end; returns how many places were written."""
    # Before there is a tail, a head alone would leave annotators without tasks as soon as it is locked.
    if not this.project.prediction_count():
        return 0

    def waits(task: int) -> bool:
        (place,) = this.memory.places([task])
        return bool(place >= 0 and beliefs.mask[place])

    def stop() -> bool:
        check()
        return False

    written = publisher.publish(head, this.memory.published, waits, stop)
    publisher.put_last(this.served.passed | this.served.closed, this.memory.published)
    return written


def _record(
    this: Round, beliefs: Beliefs, ranked: Ranked, differing: float | None, facts: int, moments: list[float]
) -> RoundRecord:
    """What is told of the round, whose last part this is; the others ended at these moments."""
    project, learner, ranking = this.project, this.learner, ranked.ranking
    previous, count, head = project.round, len(this.labelled.places), len(ranked.is_audit)
    if learner.can_predict and len(ranking.confidence):
        project.expect(count, float(ranking.confidence.mean()))
    agreeing = stability(this, beliefs, previous)
    moments.append(time.perf_counter())
    return RoundRecord(
        number=(previous.number if previous else 0) + 1,
        facts=facts,
        labels=count,
        ranked=len(ranking.task_ids),
        finished_at=time.time(),
        seconds={part: end - began for part, (began, end) in zip(_PARTS, pairwise(moments), strict=True)},
        head=ranking.task_ids[:head].tolist(),
        head_audit=ranking.task_ids[:head][ranked.is_audit].tolist(),
        # Judging what was learnt takes longer than learning it, and nobody waits for it.
        accuracy=previous.accuracy if previous else None,
        strategy=learner.strategy.name,
        classifier=learner.can_predict,
        changed=differing,
        name_weight=learner.name_weight,
        stability=asdict(agreeing),
        suspected=previous.suspected if previous else [],
        notes=this.notes,
    )
