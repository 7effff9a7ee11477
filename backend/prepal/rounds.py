"""One round, end to end: labels and vectors become a classifier, a ranking, and a new head in Label Studio.

The only place where learning, vectors, project and Label Studio meet.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from prepal import label_config, labels, records
from prepal.errors import PrepalError
from prepal.label_config import LabelConfig
from prepal.label_studio import LabelStudio
from prepal.learning import strategies
from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifier import NothingToLearn
from prepal.learning.evaluation import estimate_accuracy
from prepal.learning.label_issues import suspected
from prepal.learning.label_names import name_text
from prepal.learning.policy import audit_priority, interleave_audit
from prepal.learning.stopping import Stability, agreement
from prepal.matrix import VectorMatrix
from prepal.project import MODEL_VERSION, Info, Project, Ranking, RoundRecord
from prepal.publish import Entry, Published, Publisher
from prepal.vectors import VectorTable, text_id, text_ids

log = logging.getLogger(__name__)

# Places that are exact after every round: two for each annotator, who may ask before the next one, at least these.
_SMALLEST_HEAD = 4
# Places that are published beyond the head while nothing else is to do; there the least confident come first.
_FRESHENED = 512
# What chooses where the strategy of the settings cannot.
_ALWAYS_POSSIBLE = "auto"
# A round that only saw new vectors re-estimates nothing; one more label in ten does.
_ESTIMATE_AGAIN = 1.1
# Of the labels that may be wrong only the most suspicious ones are worth a second look.
_SUSPECTED = 20


@dataclass
class Memory:
    """What a learner process keeps of one project between rounds."""

    task_ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """(n,): the tasks whose vectors are known, ascending."""
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """(n,): the row of each of these tasks in `vectors`."""
    matrix: VectorMatrix = field(default_factory=VectorMatrix)
    texts: tuple[NDArray[np.int64], NDArray[np.bytes_]] | None = None
    """Tasks, and their text ids (n,) S32."""
    versions: tuple[int, int] = (-1, -1)
    """Of the project's tasks and of its vectors."""
    learner: ActiveLearner | None = None
    learnt: tuple[object, ...] = ()
    """What the learner is of: choices, their names' vectors, single or multiple, encoder, strategy."""
    names: tuple[tuple[object, ...], NDArray[np.float32]] | None = None
    """Which names, of which encoder, and their vectors (k, d)."""
    predicted: dict[int, bytes] = field(default_factory=dict)
    published: Published = field(default_factory=Published)
    estimate: tuple[tuple[int, int], dict[str, float] | None, list[int]] | None = None
    """Counts of labels and audits that the last estimate rests on, accuracy, and tasks with a suspected label."""
    compared: tuple[NDArray[np.int64], NDArray[np.bool_]] | None = None
    """Tasks, and the choices (n, k) that the last classifier predicted that was compared with the one before it."""
    reconcile_at: float = 0.0
    """Monotonic time, in seconds, of the next full comparison with Label Studio."""

    @property
    def vectors(self) -> NDArray[np.float16]:
        """(m, d): the vectors of all texts that are known."""
        return self.matrix.vectors

    def forget_vectors(self) -> None:
        """Begin anew with the vectors of another encoder; what annotators see stays as it is until the next round."""
        self.matrix, self.versions = VectorMatrix(), (-1, -1)
        self.learner = self.names = self.estimate = None


@dataclass(frozen=True)
class Choosing:
    """How tasks are chosen."""

    strategy: str
    audit_fraction: float


def run(
    project: Project, memory: Memory, table: VectorTable, label_studio: LabelStudio, choosing: Choosing
) -> RoundRecord | None:
    """Run one round of a project; returns None when the project cannot be served or nothing is embedded yet."""
    began = time.perf_counter()
    facts, info = project.facts, project.info
    try:
        config = label_config.parse(info.label_config)
    except PrepalError as error:
        log.debug("project %d: no round: %s", project.id, error)
        return None
    _refresh(project, memory, table)
    if not len(memory.task_ids):
        return None
    loaded = time.perf_counter()
    annotations = project.annotations()
    known = labels.settle(annotations, config)
    is_labelled, labelled_rows = _labelled(memory.task_ids, known, len(config.choices))
    learner, notes = _learner(memory, config, table, choosing)
    notes += _fit(memory, config, learner, is_labelled, labelled_rows)
    fitted = time.perf_counter()

    audits = project.audits()
    annotators = len({annotation.annotator for annotation in annotations.values()})
    head_size = max(_SMALLEST_HEAD, 2 * annotators)
    ranking, is_audit = _rank(project, memory, config, learner, is_labelled, audits, choosing, head_size)
    ranked = time.perf_counter()

    head = entries(ranking, len(is_audit))
    project.add_audits(entry.task for entry, audit in zip(head, is_audit, strict=True) if audit)
    project.put_ranking(ranking)
    in_pool = set(ranking.task_ids.tolist()).__contains__
    publisher = Publisher(project, label_studio, config)
    # Before there is a tail, a head alone would leave annotators without tasks as soon as it is locked.
    has_tail = project.prediction_count() > 0
    written = publisher.publish(head, memory.published, in_pool) if has_tail else 0
    published = time.perf_counter()

    changed = _changed(memory, ranking)
    previous = project.round
    stability = _stability(memory, config, ranking, int(is_labelled.sum()), previous)
    before = memory.estimate
    accuracy, suspicious = _estimate(memory, config, learner, is_labelled, labelled_rows, audits)
    if accuracy is not None and memory.estimate is not before:
        project.add_accuracy(int(is_labelled.sum()), accuracy)
    if learner.can_predict and len(ranking.confidence):
        project.expect(int(is_labelled.sum()), float(ranking.confidence.mean()))
    record = RoundRecord(
        number=(previous.number if previous else 0) + 1,
        facts=facts,
        labels=int(is_labelled.sum()),
        ranked=len(ranking.task_ids),
        finished_at=time.time(),
        seconds={
            "load": loaded - began,
            "fit": fitted - loaded,
            "rank": ranked - fitted,
            "publish": published - ranked,
            "estimate": time.perf_counter() - published,
        },
        head=[entry.task for entry in head],
        head_audit=[entry.task for entry, audit in zip(head, is_audit, strict=True) if audit],
        accuracy=accuracy,
        strategy=learner.strategy.name,
        classifier=learner.can_predict,
        changed=changed,
        name_weight=learner.name_weight,
        stability=asdict(stability),
        suspected=suspicious,
        notes=notes,
    )
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


def entries(ranking: Ranking, count: int) -> list[Entry]:
    """The first `count` places of a ranking, as they are published."""
    return [
        Entry(int(task), tuple(np.flatnonzero(chosen).tolist()), None if np.isnan(sure) else float(sure))
        for task, chosen, sure in zip(
            ranking.task_ids[:count], ranking.chosen[:count], ranking.confidence[:count], strict=True
        )
    ]


def freshen(
    project: Project,
    memory: Memory,
    label_studio: LabelStudio,
    stop: Callable[[], bool],
    places: int = _FRESHENED,
) -> int:
    """Publish the newest ranking beyond its head, while nothing else is to do; returns the places written."""
    ranking = project.ranking()
    publisher = _publisher(project, label_studio)
    if ranking is None or publisher is None or without_prediction(project):
        return 0
    pool = set(ranking.task_ids.tolist())
    return publisher.publish(entries(ranking, places), memory.published, pool.__contains__, stop)


def publish_tail(project: Project, label_studio: LabelStudio) -> int:
    """Give every task that has no prediction yet a place behind the head; returns how many were made."""
    ranking = project.ranking()
    publisher = _publisher(project, label_studio)
    if publisher is None:
        return 0
    unembeddable = project.unembeddable()
    places = [] if ranking is None else entries(ranking, len(ranking.task_ids))
    made = publisher.create_tail(places, unembeddable)
    _serve(project, label_studio)
    return made


def without_prediction(project: Project) -> int:
    """How many tasks of the newest ranking have no prediction in Label Studio yet."""
    ranking = project.ranking()
    tasks = np.empty(0, np.int64) if ranking is None else ranking.task_ids
    without_text = project.unembeddable()
    wanted = np.concatenate([tasks, np.fromiter(without_text, np.int64, len(without_text))])
    return int((~np.isin(wanted, project.predictions()[0])).sum())


def reread_predictions(project: Project, memory: Memory, label_studio: LabelStudio) -> None:
    """Learn which predictions Label Studio really has; when it lost some, the next round publishes anew."""
    publisher = _publisher(project, label_studio)
    if publisher is None:
        return
    before = project.predictions()
    publisher.reread()
    if not all(map(np.array_equal, before, project.predictions())):
        memory.published = Published()
        project.add_fact()
    _serve(project, label_studio)


def _serve(project: Project, label_studio: LabelStudio) -> None:
    """Let Label Studio order tasks by our predictions, which it accepts once there is one."""
    if project.info.model_version != MODEL_VERSION and project.prediction_count():
        label_studio.update_project(project.id, model_version=MODEL_VERSION)
        project.set_info(replace(project.info, model_version=MODEL_VERSION))


def _publisher(project: Project, label_studio: LabelStudio) -> Publisher | None:
    info: Info = project.info
    if info.problem or not info.label_config:
        return None
    return Publisher(project, label_studio, label_config.parse(info.label_config))


def _refresh(project: Project, memory: Memory, table: VectorTable) -> None:
    """Follow the project's tasks and the vector cache, reading only what is new."""
    tasks_then, vectors_then = memory.versions
    tasks_now, (vectors_now, arrived) = project.tasks_version, project.arrived_since(vectors_then)
    if (tasks_now, vectors_now) == memory.versions:
        return
    if memory.texts is None or tasks_now != tasks_then:
        memory.texts = project.task_texts()
    tasks, texts = memory.texts
    known = vectors_then >= 0 and arrived is not None
    memory.matrix.load(table, text_ids(arrived or []) if known else texts)
    rows = memory.matrix.rows(texts)
    memory.task_ids, memory.rows = tasks[rows >= 0], rows[rows >= 0]
    memory.versions = (tasks_now, vectors_now)


def _labelled(
    task_ids: NDArray[np.int64], known: dict[int, NDArray[np.bool_]], choices: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) bool: which tasks have a label; and (m, k) bool: these labels, in the order of the tasks."""
    is_labelled = np.isin(task_ids, np.fromiter(known, np.int64, len(known)))
    rows = [known[task] for task in task_ids[is_labelled].tolist()]
    return is_labelled, np.array(rows, bool).reshape(len(rows), choices)


def _targets(config: LabelConfig, rows: NDArray[np.bool_]) -> NDArray[np.int64] | NDArray[np.bool_]:
    return rows if config.multiple else rows.argmax(axis=1).astype(np.int64)


def _learner(
    memory: Memory, config: LabelConfig, table: VectorTable, choosing: Choosing
) -> tuple[ActiveLearner, list[str]]:
    """The project's learner, begun anew when it is to learn something else; and what is to be said of it."""
    strategy, notes = choosing.strategy, []
    if config.multiple and not strategies.get(strategy).multilabel:
        notes = [f"The strategy {strategy!r} needs a single choice per text; {_ALWAYS_POSSIBLE!r} chooses instead."]
        strategy = _ALWAYS_POSSIBLE
    names = _names(memory, config, table)
    learnt = (config.choices, config.words, config.multiple, table.encoder, strategy, names is not None)
    if memory.learner is None or memory.learnt != learnt:
        memory.learner = ActiveLearner(len(config.choices), strategy, multilabel=config.multiple, name_vectors=names)
        memory.learnt = learnt
    return memory.learner, notes


def _names(memory: Memory, config: LabelConfig, table: VectorTable) -> NDArray[np.float32] | None:
    """(k, d): the vectors of the choices' names, once all are embedded."""
    wanted = (config.words, table.encoder)
    if memory.names is None or memory.names[0] != wanted:
        found, vectors = table.find([text_id(name_text(words)) for words in config.words])
        memory.names = (wanted, vectors.astype(np.float32)) if found.all() else None
    return None if memory.names is None else memory.names[1]


def _fit(
    memory: Memory,
    config: LabelConfig,
    learner: ActiveLearner,
    is_labelled: NDArray[np.bool_],
    rows: NDArray[np.bool_],
) -> list[str]:
    """Learn from all labels so far; returns why nothing could be learnt, if so."""
    vectors = memory.vectors[memory.rows[is_labelled]].astype(np.float32)
    try:
        learner.fit(vectors, _targets(config, rows), memory.vectors[memory.rows[~is_labelled]])
    except NothingToLearn as error:
        return [str(error)]
    return []


def _rank(
    project: Project,
    memory: Memory,
    config: LabelConfig,
    learner: ActiveLearner,
    is_labelled: NDArray[np.bool_],
    audits: set[int],
    choosing: Choosing,
    head_size: int,
) -> tuple[Ranking, NDArray[np.bool_]]:
    """The ranking of the whole pool, and which places of its head are audit tasks."""
    in_pool = np.flatnonzero(~is_labelled)
    tasks = memory.task_ids[in_pool]
    vectors = memory.vectors[memory.rows[in_pool]]
    chosen: NDArray[np.bool_] = np.zeros((len(tasks), len(config.choices)), bool)
    confidence: NDArray[np.float32] = np.full(len(tasks), np.nan, np.float32)
    probabilities = learner.predict_proba(vectors) if len(tasks) else None
    if probabilities is not None:
        if config.multiple:
            chosen = probabilities >= 0.5
            confidence = np.maximum(probabilities, 1 - probabilities).min(axis=1)
        else:
            chosen[np.arange(len(tasks)), probabilities.argmax(axis=1)] = True
            confidence = probabilities.max(axis=1)
    # The seed is the project's own, so that the same labels always give the same ranking.
    first = learner.select(vectors, head_size, np.random.default_rng(project.id), probabilities)
    rest = np.ones(len(tasks), bool)
    rest[first] = False
    others = np.flatnonzero(rest)
    priority = audit_priority(tasks, project.id)
    others = others[np.argsort(priority[others] if probabilities is None else confidence[others], kind="stable")]
    order = np.concatenate([first, others])

    labelled_tasks = memory.task_ids[is_labelled].tolist()
    served = len(labelled_tasks) - project.labels_before(len(labelled_tasks))
    waiting = np.isin(tasks, np.fromiter(audits, np.int64, len(audits)))
    # Tasks that were drawn before come first: someone may be reading one of them right now.
    candidates = np.lexsort((priority, ~waiting))[: 2 * head_size]
    head, is_audit = interleave_audit(
        order,
        candidates.astype(np.int64),
        labels=served,
        audits=sum(task in audits for task in labelled_tasks),
        fraction=choosing.audit_fraction,
        head=head_size,
    )
    order = np.concatenate([head, order[~np.isin(order, head)]])
    ranking = Ranking(tasks[order], chosen[order], confidence[order].astype(np.float32))
    return ranking, is_audit


def _changed(memory: Memory, ranking: Ranking) -> float | None:
    """Share of the tasks ranked both now and before whose predicted label is another one."""
    if not len(ranking.task_ids) or np.isnan(ranking.confidence[0]):
        memory.predicted = {}
        return None
    now = {
        task: row.tobytes()
        for task, row in zip(ranking.task_ids.tolist(), np.packbits(ranking.chosen, axis=1), strict=True)
    }
    before, memory.predicted = memory.predicted, now
    both = [task for task in now if task in before]
    return sum(now[task] != before[task] for task in both) / len(both) if both else None


def _stability(
    memory: Memory, config: LabelConfig, ranking: Ranking, labels: int, previous: RoundRecord | None
) -> Stability:
    """How well successive classifiers agree on the tasks that both saw without a label."""
    stability = (records.fill(Stability, previous.stability) if previous else None) or Stability()
    predicts = len(ranking.task_ids) > 0 and not np.isnan(ranking.confidence[0])
    if not predicts or not labels or (memory.compared is not None and not stability.due(labels)):
        return stability
    now = (ranking.task_ids, ranking.chosen)
    before, memory.compared = memory.compared, now
    if before is None:
        return stability.after(labels, None)
    _, then_at, now_at = np.intersect1d(before[0], now[0], assume_unique=True, return_indices=True)
    then_chosen, now_chosen = before[1][then_at], now[1][now_at]
    if not len(then_at) or then_chosen.shape != now_chosen.shape:
        return stability.after(labels, None)
    if not config.multiple:
        return stability.after(labels, agreement(then_chosen.argmax(axis=1), now_chosen.argmax(axis=1)))
    return stability.after(labels, agreement(then_chosen, now_chosen))


def _estimate(
    memory: Memory,
    config: LabelConfig,
    learner: ActiveLearner,
    is_labelled: NDArray[np.bool_],
    rows: NDArray[np.bool_],
    audits: set[int],
) -> tuple[dict[str, float] | None, list[int]]:
    """Accuracy on audit tasks, and tasks with a suspected label; estimated anew only when they can have changed."""
    tasks = memory.task_ids[is_labelled]
    is_audit = np.isin(tasks, np.fromiter(audits, np.int64, len(audits)))
    counts = (len(tasks), int(is_audit.sum()))
    if memory.estimate is not None:
        (labels_then, audits_then), accuracy, suspicious = memory.estimate
        if audits_then == counts[1] and labels_then <= counts[0] < labels_then * _ESTIMATE_AGAIN:
            return accuracy, suspicious
    vectors = memory.vectors[memory.rows[is_labelled]].astype(np.float32)
    labelled = _targets(config, rows)
    k, multilabel = len(config.choices), config.multiple
    estimate = estimate_accuracy(vectors, labelled, is_audit, k, multilabel=multilabel, prior=learner.prior)
    accuracy = None if estimate is None else asdict(estimate)
    wrong = suspected(vectors, labelled, k, multilabel=multilabel, prior=learner.prior)
    suspicious = tasks[wrong[:_SUSPECTED]].tolist()
    memory.estimate = (counts, accuracy, suspicious)
    return accuracy, suspicious
