"""One round, end to end: labels and vectors become a classifier, a ranking, and a new head in Label Studio.

The only place where learning, vectors, project and Label Studio meet.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import pairwise

import numpy as np

from prepal import records
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.order import entries
from prepal.label_studio.publish import Entry, Publisher
from prepal.labels import label_config
from prepal.learner.fitting import Choosing, Round, learn
from prepal.learner.memory.memory import Memory
from prepal.learner.ranking import Beliefs, Ranked, predict, rank
from prepal.learning.quality.stopping import Stability, agreement
from prepal.learning.weakly_taught import WeaklyTaught
from prepal.project import Compared, Project, RoundRecord
from prepal.vectors import VectorTable

log = logging.getLogger(__name__)

# The parts of a round, one after the other; together they are all of it.
_PARTS = ("load", "fit", "rank", "publish", "note")
# Successive classifiers are compared on so many texts of a larger pool: the kappa is exact to a thousandth then.
_COMPARED_ON = 20_000
# So many texts with different labels are told.
_CONTRADICTED = 20


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
    config = label_config.parse_or_none(project.info.label_config)
    if config is None:
        log.debug("project %d: no round: its label config cannot be served", project.id)
        return None
    if project.encoder != table.encoder:
        # Before its vectors are read: those that come later are told as news of this encoder.
        project.encoder = table.encoder
    memory.refresh(project, table, config.others)
    moments.append(time.perf_counter())
    this = learn(project, memory, table, config, choosing)
    project.labels_before(this.labels)
    moments.append(time.perf_counter())
    beliefs = predict(this)
    ranked = rank(this, beliefs, table)
    moments.append(time.perf_counter())

    check()
    head = entries([ranked.ranking, *ranked.others], len(ranked.is_audit))
    audits = [entry.task for entry, is_audit in zip(head, ranked.is_audit, strict=True) if is_audit]
    _note_shown(this)
    project.add_audits([*ranked.drawn, *audits])
    with ThreadPoolExecutor(1) as beside:
        # Redis is busy with the ranking of many tasks for about as long as Label Studio is with the head.
        stored = beside.submit(_put_rankings, this, ranked)
        written = _publish(this, beliefs, ranked, head, Publisher(project, label_studio, config), check)
        differing = [_changed(*each) for each in zip(this.questions, beliefs.questions, strict=True)]
        stored.result()
    moments.append(time.perf_counter())

    stability = [_stability(*each) for each in zip(this.questions, beliefs.questions, strict=True)]
    moments.append(time.perf_counter())
    check()
    # That of the project comes last: who sees it sees all.
    for of_it in reversed(list(zip(this.questions, beliefs.questions, differing, stability, strict=True))):
        record = _record(*of_it, ranked, facts, moments)
        of_it[0].project.finish_round(record)
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
    for place, (asked, question) in enumerate(zip(this.questions, published.config.questions, strict=False)):
        new = this.new & set(asked.memory.task_ids[asked.labelled.places].tolist())
        choices = question.choices
        asked.project.note_shown(
            {
                entry.task: ([choices[at] for at in chosen], confidence, not entry.shown)
                for entry in published.front
                if entry.task in new
                for chosen, confidence in entry.said[place : place + 1]
                if confidence is not None
            }
        )


def _put_rankings(this: Round, ranked: Ranked) -> None:
    for asked, ranking in zip(this.questions, [ranked.ranking, *ranked.others], strict=True):
        asked.project.put_ranking(ranking)


def _publish(
    this: Round,
    beliefs: Beliefs,
    ranked: Ranked,
    head: list[Entry],
    publisher: Publisher,
    check: Callable[[], None],
) -> int:
    """Put the head into Label Studio, and what was passed or has a twin's label to the end; returns places written."""
    # Before there is a tail, a head alone would leave annotators without tasks as soon as it is locked.
    if not len(this.project.predictions):
        return 0

    def waits(task: int) -> bool:
        (place,) = this.memory.places([task])
        return bool(place >= 0 and beliefs.mask[place])

    def stop() -> bool:
        check()
        return False

    written = publisher.publish(head, this.memory.published, waits, stop)
    front = np.array([entry.task for entry in this.memory.published.front], np.int64)
    twins = front[np.isin(front, ranked.ranking.twins)].tolist()
    publisher.put_last(this.served.passed.union(this.served.closed, twins), this.memory.published)
    return written


def _record(
    this: Round,
    beliefs: Beliefs,
    differing: float | None,
    stability: Stability,
    ranked: Ranked,
    facts: int,
    moments: list[float],
) -> RoundRecord:
    """What is told of the round, and of a question, when all its parts ended at these moments."""
    project, learner, ranking = this.project, this.learner, ranked.ranking
    previous, count, head = project.round, len(this.labelled.places), len(ranked.is_audit)
    if learner.can_predict and len(beliefs.confidence):
        project.expect(count, float(beliefs.confidence.mean()))
    weak_weight, name_weight = None, learner.name_weight
    if isinstance(learner, WeaklyTaught):
        weak_weight, of_names = learner.weights
        name_weight = None if this.memory.names is None else of_names
    return RoundRecord(
        number=(previous.number if previous else 0) + 1,
        facts=facts,
        labels=count,
        ranked=len(ranking.task_ids),
        twins=len(ranking.twins),
        contradicted=_contradicted(this)[:_CONTRADICTED],
        finished_at=time.time(),
        seconds={part: end - began for part, (began, end) in zip(_PARTS, pairwise(moments), strict=True)},
        head=ranking.task_ids[:head].tolist(),
        head_audit=ranking.task_ids[:head][ranked.is_audit].tolist(),
        # Judging what was learnt takes longer than learning it, and nobody waits for it.
        accuracy=previous.accuracy if previous else None,
        strategy=learner.strategy.name,
        classifier=learner.can_predict,
        changed=differing,
        name_weight=name_weight,
        weak_labels=len(learner.weak.labels) if isinstance(learner, WeaklyTaught) else 0,
        weak_weight=weak_weight,
        stability=asdict(stability),
        suspected=previous.suspected if previous else [],
        forecast=previous.forecast if previous else None,
        notes=this.notes,
        slots=ranked.slots,
        likely=ranked.likely,
    )


def _contradicted(this: Round) -> list[list[int]]:
    """The texts whose tasks have different labels: of each text a task with each label."""
    memory, labelled = this.memory, this.labelled
    by_text: dict[int, dict[bytes, int]] = {}
    for number in np.flatnonzero(labelled.contradicted):
        place, label = labelled.places[number], labelled.rows[number].tobytes()
        by_text.setdefault(int(memory.texts_at[place]), {}).setdefault(label, int(memory.task_ids[place]))
    return [sorted(tasks.values()) for tasks in by_text.values()]


def _changed(this: Round, beliefs: Beliefs) -> float | None:
    """Return the share of the tasks in the pool both now and before whose predicted label is another one."""
    memory = this.memory
    before = memory.predicted
    if beliefs.probabilities is None:
        memory.predicted = None
        return None
    memory.predicted = (memory.task_ids, beliefs.mask, beliefs.chosen)
    # While tasks come in there is no telling, and nobody asks.
    if before is None or before[0] is not memory.task_ids:
        return None
    _, mask, chosen = before
    then, now = chosen.T.compress(beliefs.mask[mask], axis=1), beliefs.chosen.T.compress(mask[beliefs.mask], axis=1)
    return float((then != now).any(axis=0).mean()) if now.size else None


def _stability(this: Round, beliefs: Beliefs) -> Stability:
    """Return how well successive classifiers agree on tasks that both saw without a label."""
    previous = this.project.round
    known = (records.fill(Stability, previous.stability) if previous else None) or Stability()
    memory, project, config, rows = this.memory, this.project, this.config, this.labelled.rows
    labelled, count = memory.task_ids[this.labelled.places], len(rows)
    if beliefs.probabilities is None or not count:
        return known
    before = project.compared()
    if before is not None and before.choices != config.meaning:
        # Of what is no choice any more nothing is to be said.
        known, before = Stability(), None
    if before is not None and known.labels and not known.due(count, before.apart(labelled, rows)):
        return known
    some = memory.lot[-_COMPARED_ON:]
    places = np.sort(some[beliefs.mask[some]])
    tasks, chosen = memory.task_ids[places], beliefs.chosen[np.searchsorted(beliefs.pool, places)]
    project.set_compared(Compared(config.meaning, labelled, rows, tasks, chosen))
    if before is None:
        return known.after(count, None)
    _, then_at, now_at = np.intersect1d(before.task_ids, tasks, assume_unique=True, return_indices=True)
    if not len(then_at):
        return known.after(count, None)
    then, now = before.chosen[then_at], chosen[now_at]
    if config.multiple:
        return known.after(count, agreement(then, now))
    return known.after(count, agreement(then.argmax(axis=1), now.argmax(axis=1)))
