"""One round, end to end: labels and vectors become a classifier, a ranking, and a new head in Label Studio.

The only place where learning, vectors, project and Label Studio meet.
"""

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from prepal import records
from prepal.errors import PrepalError
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.order import entries
from prepal.label_studio.publish import Entry, Publisher
from prepal.labels import label_config
from prepal.labels.annotation import Annotation
from prepal.labels.label_config import LabelConfig
from prepal.labels.serving import Serving, overtaken, resting, serving
from prepal.labels.settle import settle
from prepal.learner.memory import Memory
from prepal.learning import strategies
from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers import decisions
from prepal.learning.classifiers.label_names import name_text
from prepal.learning.classifiers.labels import NothingToLearn
from prepal.learning.quality.audit import by_lot, interleave_audit
from prepal.learning.quality.stopping import Stability, agreement
from prepal.project import Compared, Project, Ranking, RoundRecord
from prepal.vectors import VectorTable, text_id

log = logging.getLogger(__name__)

# Places that are exact after every round: two for each annotator, who may ask before the next one, at least these.
_SMALLEST_HEAD = 4
# What chooses where the strategy of the settings cannot.
_ALWAYS_POSSIBLE = "auto"
# Successive classifiers are compared on so many texts of a larger pool: the kappa is exact to a thousandth then.
_COMPARED_ON = 20_000
# So many texts of the lot are looked at first for ones that can be served.
_FIRST_LOTS = 256


@dataclass(frozen=True)
class Choosing:
    """How tasks are chosen."""

    strategy: str
    audit_fraction: float


@dataclass(frozen=True)
class Labelled:
    """The tasks that have a label, in the order in which they got it.

    Attributes:
        places: `(m,)` places in the memory's `task_ids`.
        rows: `(m, k)` bool, the label of each.
        mask: `(n,)` bool, which of all tasks they are.
    """

    places: NDArray[np.int64]
    rows: NDArray[np.bool_]
    mask: NDArray[np.bool_]

    @classmethod
    def of(cls, task_ids: NDArray[np.int64], known: dict[int, NDArray[np.bool_]], choices: int) -> "Labelled":
        """Those of the tasks `(n,)`, ascending, that are known to have a label."""
        tasks = np.fromiter(known, np.int64, len(known))
        at = np.minimum(np.searchsorted(task_ids, tasks), max(len(task_ids) - 1, 0))
        there = task_ids[at] == tasks if len(task_ids) else np.zeros(len(tasks), bool)
        rows = np.array(list(known.values()), bool).reshape(len(tasks), choices)
        mask = np.zeros(len(task_ids), bool)
        mask[at[there]] = True
        return cls(at[there], rows[there], mask)

    def targets(self, config: LabelConfig) -> NDArray[np.int64] | NDArray[np.bool_]:
        """The labels as classifiers want them: `(m,)` int64, or `(m, k)` bool where a text may have several."""
        return self.rows if config.multiple else self.rows.argmax(axis=1).astype(np.int64)


@dataclass(frozen=True)
class Round:
    """What one round goes by.

    Attributes:
        project: whose round it is.
        memory: what is kept of it.
        config: its label config.
        choosing: how tasks are chosen.
        annotations: all of them.
        labelled: the tasks that have a label.
        served: whom the others can be given.
        new: tasks that were annotated since the last round of this process; empty in its first one.
    """

    project: Project
    memory: Memory
    config: LabelConfig
    choosing: Choosing
    annotations: dict[int, Annotation]
    labelled: Labelled
    served: Serving
    new: frozenset[int]


@dataclass(frozen=True)
class Beliefs:
    """What the classifier believes of the pool: the tasks without a label that somebody can be given.

    Attributes:
        pool: `(p,)` places in the memory's `task_ids`, ascending.
        chosen: `(p, k)` bool, what is predicted.
        confidence: `(p,)` float32, how surely; NaN without a classifier.
        probabilities: `(p, k)` float32; None without a classifier.
    """

    pool: NDArray[np.int64]
    chosen: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None


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
    began = time.perf_counter()
    facts = project.facts
    try:
        config = label_config.parse(project.info.label_config)
    except PrepalError as error:
        log.debug("project %d: no round: %s", project.id, error)
        return None
    memory.refresh(project, table)
    loaded = time.perf_counter()
    this, learner, notes = learn(project, memory, table, config, choosing)
    fitted = time.perf_counter()
    beliefs = _predict(this, learner)
    ranking, is_audit, drawn = _rank(this, learner, beliefs)
    ranked = time.perf_counter()

    check()
    head = entries(ranking, len(is_audit))
    audits = [entry.task for entry, audit in zip(head, is_audit, strict=True) if audit]
    _note_shown(this)
    project.add_audits([*drawn, *audits])
    project.put_ranking(ranking)
    if project.encoder != table.encoder:
        project.encoder = table.encoder
    written = _publish(this, beliefs, head, Publisher(project, label_studio, config), check)
    published = time.perf_counter()

    previous, count = project.round, len(this.labelled.places)
    if learner.can_predict and len(ranking.confidence):
        project.expect(count, float(ranking.confidence.mean()))
    record = RoundRecord(
        number=(previous.number if previous else 0) + 1,
        facts=facts,
        labels=count,
        ranked=len(ranking.task_ids),
        finished_at=time.time(),
        seconds={
            "load": loaded - began,
            "fit": fitted - loaded,
            "rank": ranked - fitted,
            "publish": published - ranked,
        },
        head=[entry.task for entry in head],
        head_audit=audits,
        # Judging what was learnt takes longer than learning it, and nobody waits for it.
        accuracy=previous.accuracy if previous else None,
        strategy=learner.strategy.name,
        classifier=learner.can_predict,
        changed=_changed(memory, beliefs),
        name_weight=learner.name_weight,
        stability=asdict(_stability(this, ranking, previous)),
        suspected=previous.suspected if previous else [],
        notes=notes,
    )
    check()
    project.finish_round(record)
    log.info(
        "project %d: round %d: %d labels, %d in the pool, %d predictions written, %.0f ms",
        project.id,
        record.number,
        record.labels,
        record.ranked,
        written,
        1000 * (time.perf_counter() - began),
    )
    return record


def learn(
    project: Project, memory: Memory, table: VectorTable, config: LabelConfig, choosing: Choosing
) -> tuple[Round, ActiveLearner, list[str]]:
    """Let a project's learner learn from all labels; returns what the round goes by, and what is to be said of it."""
    facts = project.facts
    memory.refresh(project, table)
    this = _begin(project, memory, config, choosing)
    learner, notes = _learner(memory, config, table, choosing)
    notes += _fit(this, learner)
    memory.facts = facts
    return this, learner, notes


def _begin(project: Project, memory: Memory, config: LabelConfig, choosing: Choosing) -> Round:
    annotations = project.annotations()
    known = settle(annotations, config)
    project.labels_before(len(known))
    annotated = frozenset(annotation.task for annotation in annotations.values())
    new = annotated - memory.annotated if memory.annotated is not None else frozenset()
    memory.annotated = annotated
    return Round(
        project,
        memory,
        config,
        choosing,
        annotations,
        Labelled.of(memory.task_ids, known, len(config.choices)),
        serving(annotations, known.keys(), project.rules, project.postponed()),
        new,
    )


def _learner(
    memory: Memory, config: LabelConfig, table: VectorTable, choosing: Choosing
) -> tuple[ActiveLearner, list[str]]:
    """The project's learner, begun anew when it is to learn something else; and what is to be said of it."""
    strategy, notes = choosing.strategy, []
    if config.multiple and not strategies.get(strategy).multilabel:
        notes = [f"The strategy {strategy!r} needs a single choice per text; {_ALWAYS_POSSIBLE!r} chooses instead."]
        strategy = _ALWAYS_POSSIBLE
    names = _names(memory, config, table)
    learnt = (config.meaning, config.words, table.encoder, strategy, names is not None)
    if memory.learner is None or memory.learnt != learnt:
        memory.learner = ActiveLearner(len(config.choices), strategy, multilabel=config.multiple, name_vectors=names)
        memory.learnt = learnt
        memory.predicted = None
    return memory.learner, notes


def _names(memory: Memory, config: LabelConfig, table: VectorTable) -> NDArray[np.float32] | None:
    """(k, d): the vectors of the choices' names, once all are embedded."""
    wanted = (config.words, table.encoder)
    if memory.names is None or memory.names[0] != wanted:
        found, vectors = table.find([text_id(name_text(words)) for words in config.words])
        memory.names = (wanted, vectors.astype(np.float32)) if found.all() else None
    return None if memory.names is None else memory.names[1]


def _fit(this: Round, learner: ActiveLearner) -> list[str]:
    """Learn from all labels so far; returns why nothing could be learnt, if so."""
    memory, labelled = this.memory, this.labelled
    if not len(memory.task_ids):
        return []
    vectors = memory.vectors[memory.rows[labelled.places]].astype(np.float32)
    try:
        learner.fit(vectors, labelled.targets(this.config), memory.vectors[memory.rows[~labelled.mask]])
    except NothingToLearn as error:
        return [str(error)]
    return []


def _predict(this: Round, learner: ActiveLearner) -> Beliefs:
    """What the classifier believes of all tasks that somebody can be given."""
    memory, k = this.memory, len(this.config.choices)
    pool = np.flatnonzero(~this.labelled.mask & ~among(memory.task_ids, this.served.closed))
    probabilities = learner.predict_proba(memory.vectors[memory.rows[pool]]) if len(pool) else None
    if probabilities is None:
        return Beliefs(pool, np.zeros((len(pool), k), bool), np.full(len(pool), np.nan, np.float32), None)
    each = decisions.how_many(this.labelled.targets(this.config))
    confidence = np.asarray(decisions.confidences(probabilities, each), np.float32)
    return Beliefs(pool, decisions.decide(probabilities, each), confidence, probabilities)


def _rank(this: Round, learner: ActiveLearner, beliefs: Beliefs) -> tuple[Ranking, NDArray[np.bool_], list[int]]:
    """The ranking of the pool, which places of its head are audit tasks, and labelled tasks that were drawn besides."""
    memory, project, served, pool = this.memory, this.project, this.served, beliefs.pool
    tasks, priority = memory.task_ids[pool], memory.priority[pool]
    passed = among(tasks, served.passed)
    eligible = np.flatnonzero(_eligible(tasks, passed, _resting(this)))
    size = min(max(_SMALLEST_HEAD, 2 * served.at_work), len(eligible))
    picked: NDArray[np.int64] = np.empty(0, np.int64)
    if size:
        vectors = memory.vectors[memory.rows[pool[eligible]]]
        seen = None if beliefs.probabilities is None else beliefs.probabilities[eligible]
        # The seed is the project's own, so that the same labels always give the same ranking.
        picked = eligible[learner.select(vectors, size, np.random.default_rng(project.id), seen)]
    rest = np.ones(len(tasks), bool)
    rest[picked] = False
    doubt = priority if beliefs.probabilities is None else beliefs.confidence
    # Somebody could not say of the last ones what they are.
    parts = (np.flatnonzero(rest & ~passed), np.flatnonzero(rest & passed))
    order = np.concatenate([picked, *(part[np.argsort(doubt[part], kind="stable")] for part in parts)])

    is_open = np.zeros(len(memory.task_ids), bool)
    is_open[pool[eligible]] = True
    is_audit = among(memory.task_ids, project.audits())
    lot = _lot(this, is_audit, is_open, 2 * size)
    place = np.full(len(memory.task_ids), -1)
    place[pool] = np.arange(len(pool))
    count = len(this.labelled.places)
    head = interleave_audit(
        order,
        place[lot],
        labels=count - project.labels_before(count),
        audits=int(is_audit[this.labelled.places].sum()),
        fraction=this.choosing.audit_fraction,
        head=size,
    )
    hidden = by_lot(priority, this.choosing.audit_fraction)
    hidden[head.places[head.is_audit]] = True
    order = np.concatenate([head.places, order[~np.isin(order, head.places)]])
    meaning = this.config.meaning
    ranking = Ranking(tasks[order], beliefs.chosen[order], beliefs.confidence[order], hidden[order], meaning)
    drawn = memory.task_ids[lot[this.labelled.mask[lot]][: head.found]]
    return ranking, head.is_audit, drawn.tolist()


def _eligible(tasks: NDArray[np.int64], passed: NDArray[np.bool_], rests: set[int]) -> NDArray[np.bool_]:
    """Which tasks `(p,)` may come first: ones that whoever asks next can be given; if there are none, any."""
    available = ~passed & ~among(tasks, rests)
    if not available.any():
        available = ~passed
    return available if available.any() else np.ones(len(tasks), bool)


def _lot(this: Round, is_audit: NDArray[np.bool_], is_open: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Places in `task_ids` of the texts that are drawn next, as audit tasks, until `count` of them can be served.

    Tasks that were drawn before come first: someone may be reading one of them right now. What cannot be served is
    passed over, and so replaced by the next draw.
    """
    memory = this.memory
    waiting = np.flatnonzero(is_audit & is_open)
    waiting = waiting[np.argsort(memory.priority[waiting])]
    possible = ~is_audit & (is_open | this.labelled.mask)
    looked_at = _FIRST_LOTS
    while True:
        taken = memory.lot[:looked_at]
        taken = taken[possible[taken]]
        if looked_at >= len(memory.lot) or is_open[taken].sum() >= count:
            return np.concatenate([waiting, taken])
        looked_at *= 4


def _resting(this: Round) -> set[int]:
    """Tasks that Label Studio does not give to the people at work, as far as can be told from what they annotate."""
    project, memory, now = this.project, this.memory, time.time()
    counts, last = project.overtaken(), project.round
    if this.new and last is not None and memory.published.is_newest(project):
        before = (memory.annotated or frozenset()) - this.new
        order = [entry.task for entry in memory.published.front if entry.task not in before]
        found = overtaken(counts, order, len(last.head), this.new, this.served.at_work, now)
        if found != counts:
            project.set_overtaken(found)
        counts = found
    return resting(counts, now)


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
    task_ids, in_pool = this.memory.task_ids, np.zeros(len(this.memory.task_ids), bool)
    in_pool[beliefs.pool] = True

    def waits(task: int) -> bool:
        at = int(np.searchsorted(task_ids, task))
        return at < len(task_ids) and bool(task_ids[at] == task) and bool(in_pool[at])

    def stop() -> bool:
        check()
        return False

    written = publisher.publish(head, this.memory.published, waits, stop)
    publisher.put_last(this.served.passed | this.served.closed, this.memory.published)
    return written


def _changed(memory: Memory, beliefs: Beliefs) -> float | None:
    """Share of the tasks in the pool both now and before whose predicted label is another one."""
    before = memory.predicted
    if beliefs.probabilities is None:
        memory.predicted = None
        return None
    now = np.zeros((len(memory.task_ids), beliefs.chosen.shape[1]), bool)
    now[beliefs.pool] = beliefs.chosen
    memory.predicted = (memory.task_ids, beliefs.pool, now)
    # While tasks come in there is no telling, and nobody asks.
    if before is None or before[0] is not memory.task_ids:
        return None
    both = np.zeros(len(memory.task_ids), bool)
    both[before[1]] = True
    both = beliefs.pool[both[beliefs.pool]]
    return float((now[both] != before[2][both]).any(axis=1).mean()) if len(both) else None


def _stability(this: Round, ranking: Ranking, previous: RoundRecord | None) -> Stability:
    """How well successive classifiers agree on tasks that both saw without a label."""
    stability = (records.fill(Stability, previous.stability) if previous else None) or Stability()
    memory, project, config, rows = this.memory, this.project, this.config, this.labelled.rows
    labelled, count = memory.task_ids[this.labelled.places], len(rows)
    if not ranking.predicts or not count:
        return stability
    before = project.compared()
    if before is not None and before.choices != config.meaning:
        # Of what is no choice any more nothing is to be said.
        stability, before = Stability(), None
    if before is not None and stability.labels and not stability.due(count, before.apart(labelled, rows)):
        return stability
    compared = np.isin(ranking.task_ids, memory.task_ids[memory.lot[-_COMPARED_ON:]])
    tasks, chosen = ranking.task_ids[compared], ranking.chosen[compared]
    project.set_compared(Compared(config.meaning, labelled, rows, tasks, chosen))
    if before is None:
        return stability.after(count, None)
    _, then_at, now_at = np.intersect1d(before.task_ids, tasks, assume_unique=True, return_indices=True)
    if not len(then_at):
        return stability.after(count, None)
    then, now = before.chosen[then_at], chosen[now_at]
    if config.multiple:
        return stability.after(count, agreement(then, now))
    return stability.after(count, agreement(then.argmax(axis=1), now.argmax(axis=1)))


def among(task_ids: NDArray[np.int64], tasks: Collection[int]) -> NDArray[np.bool_]:
    """Which tasks `(n,)`, ascending, are among others."""
    found = np.zeros(len(task_ids), bool)
    others = np.fromiter(tasks, np.int64, len(tasks))
    at = np.searchsorted(task_ids, others)
    at, others = at[at < len(task_ids)], others[at < len(task_ids)]
    found[at[task_ids[at] == others]] = True
    return found
