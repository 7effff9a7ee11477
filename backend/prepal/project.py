"""All that is remembered of one Label Studio project: a copy, in Redis, that Label Studio can always rebuild."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np
import redis
from numpy.typing import NDArray
from redis.client import Pipeline

from prepal import records
from prepal.id_map import IdMap

# The version of our predictions. It is never a backend's title: for a version that is one, Label Studio asks the
# backend before it serves any task, and answers 500 while the backend is down.
MODEL_VERSION = "PRepAL"
_PROJECTS = "prepal:projects"
# A deletion is remembered long enough to outlive any reading of Label Studio that began before it.
_TOMBSTONE_S = 3600
# An estimate for each tenth more labels: a thousand are more than anyone looks back on.
_ACCURACIES = 1000
# Texts whose vectors came are named, so that a learner reads these alone; one that missed more reads all it lacks.
_ARRIVED = 65_536


@dataclass(frozen=True)
class Annotation:
    """One annotation, as far as it bears on a label."""

    task: int
    annotator: int
    updated_at: str
    skipped: bool
    ground_truth: bool
    choices: dict[str, list[str]]
    """Chosen values by control tag."""


@dataclass(frozen=True)
class Info:
    """What the project is, and how it stands with us."""

    title: str = ""
    label_config: str = ""
    model_version: str = ""
    """The version whose predictions Label Studio serves by."""
    problem: str = ""
    """One sentence when the project cannot be served."""
    connected: bool = False
    text_version: str = ""
    task_count: int = 0
    """How many tasks Label Studio has."""
    drift: list[str] = field(default_factory=list)
    """Settings in Label Studio that keep the ranking from being served."""


@dataclass(frozen=True)
class RoundRecord:
    """What `status` tells of the newest finished round."""

    number: int
    facts: int
    """The count of facts that the round had read when it began; equal to the project's count when nothing is new."""
    labels: int
    ranked: int
    finished_at: float
    seconds: dict[str, float]
    head: list[int]
    """Task ids, next first."""
    head_audit: list[int]
    accuracy: dict[str, float] | None
    strategy: str
    classifier: bool
    changed: float | None = None
    """Share of the pool whose predicted label differs from the round before."""
    name_weight: float | None = None
    """How much the names of the choices count, as a multiple of what they say by themselves; None: not at all."""
    stability: dict[str, Any] = field(default_factory=dict)
    """How well successive classifiers agreed: `Stability` of `learning.stopping`, as JSON."""
    suspected: list[int] = field(default_factory=list)
    """Tasks whose label is probably wrong, most suspicious first."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ranking:
    """The pool in the order in which it should be labelled, with what the classifier says of each task."""

    task_ids: NDArray[np.int64]
    chosen: NDArray[np.bool_]
    """(n, k): the predicted choices; all false when nothing is predicted."""
    confidence: NDArray[np.float32]
    """(n,): NaN while there is no classifier."""


class Project:
    """Redis' copy of one project. Every write that a round must know of also counts one more fact."""

    def __init__(self, connection: redis.Redis, project_id: int) -> None:
        self.id = project_id
        self.connection = connection
        self._prefix = f"prepal:project:{project_id}:"
        self._texts = IdMap(connection, self.key("texts"), "S32")
        self._predictions = IdMap(connection, self.key("predictions"), "<i8")

    def key(self, name: str) -> str:
        """Redis key of one part of the copy."""
        return self._prefix + name

    # -- what it is ---------------------------------------------------------------------------------------------

    def register(self) -> bool:
        """Remember that the project exists; tells whether it is new."""
        return bool(self.connection.sadd(_PROJECTS, self.id))

    def forget(self) -> None:
        """Drop everything that is remembered of it."""
        keys = list(self.connection.scan_iter(self._prefix + "*", count=1000))
        self.connection.srem(_PROJECTS, self.id)
        if keys:
            self.connection.delete(*keys)

    @property
    def info(self) -> Info:
        """What the project is."""
        raw = _get(self.connection, self.key("info"))
        return (records.read(Info, raw) if raw else None) or Info()

    def set_info(self, info: Info) -> None:
        """Remember what the project is."""
        if info != self.info:
            with self.connection.pipeline() as pipe:
                pipe.set(self.key("info"), records.dumps(asdict(info)))
                pipe.incr(self.key("facts"))
                pipe.execute()

    @property
    def encoder(self) -> str | None:
        """The encoder whose vectors the ranking rests on."""
        raw = _get(self.connection, self.key("encoder"))
        return raw.decode() if raw else None

    @encoder.setter
    def encoder(self, name: str) -> None:
        self.connection.set(self.key("encoder"), name)

    # -- facts --------------------------------------------------------------------------------------------------

    @property
    def facts(self) -> int:
        """How many facts have been written so far."""
        return int(_get(self.connection, self.key("facts")) or 0)

    def add_fact(self) -> None:
        """Count something new that is stored elsewhere: vectors, or a wish for a round."""
        self.connection.incr(self.key("facts"))

    def put_annotations(self, annotations: Mapping[int, Annotation]) -> int:
        """Add or renew annotations, unless they are older than what is known; returns how many were news."""
        if not annotations:
            return 0
        known = self.annotations(annotations)
        gone = self._tombstones("annotations", annotations)
        news = {
            key: value
            for key, value in annotations.items()
            if key not in gone
            and known.get(key) != value
            and not (key in known and known[key].updated_at > value.updated_at)
        }
        if news:
            with self.connection.pipeline() as pipe:
                pipe.hset(
                    self.key("annotations"),
                    mapping={str(key): records.dumps(asdict(value)) for key, value in news.items()},
                )
                pipe.incr(self.key("facts"))
                pipe.execute()
        return len(news)

    def delete_annotations(self, ids: Iterable[int]) -> int:
        """Forget annotations, also ones that have not been heard of yet. Returns how many were known."""
        return self._delete("annotations", list(ids))

    def annotations(self, ids: Iterable[int] | None = None) -> dict[int, Annotation]:
        """All annotations, or those of the given ids, by id."""
        if ids is None:
            raw = cast(dict[bytes, bytes], self.connection.hgetall(self.key("annotations")))
            pairs: Iterable[tuple[Any, Any]] = raw.items()
        else:
            wanted = list(ids)
            values = cast(list[bytes | None], self.connection.hmget(self.key("annotations"), [str(i) for i in wanted]))
            pairs = zip(wanted, values, strict=True)
        found = ((int(key), records.read(Annotation, value)) for key, value in pairs if value)
        return {key: annotation for key, annotation in found if annotation}

    # -- tasks --------------------------------------------------------------------------------------------------

    def put_tasks(self, text_ids: Mapping[int, str], unembeddable: Mapping[int, str]) -> None:
        """Remember tasks by the id of their text, or by the reason why they have none."""
        gone = self._tombstones("tasks", [*text_ids, *unembeddable])
        texts = {t: text for t, text in text_ids.items() if t not in gone}
        reasons = {t: reason.encode("utf-8", "replace") for t, reason in unembeddable.items() if t not in gone}
        if not texts and not reasons:
            return
        with self.connection.pipeline() as pipe:
            if texts:
                self._texts.put(texts, pipe)
                pipe.hdel(self.key("unembeddable"), *map(str, texts))
            if reasons:
                self._texts.delete(reasons, pipe)
                pipe.hset(self.key("unembeddable"), mapping={str(t): reason for t, reason in reasons.items()})
            pipe.set(self.key("last-task"), max(self.last_task, *texts, *reasons))
            pipe.incr(self.key("facts"))
            pipe.incr(self.key("tasks-version"))
            pipe.execute()

    def delete_tasks(self, ids: Iterable[int]) -> int:
        """Forget tasks, with their annotations and predictions. Returns how many were known."""
        gone = list(ids)
        chosen = set(gone)
        self._delete("annotations", [key for key, a in self.annotations().items() if a.task in chosen])
        if not gone:
            return 0
        before = self.task_count()
        with self.connection.pipeline() as pipe:
            self._texts.delete(gone, pipe)
            self._predictions.delete(gone, pipe)
            pipe.hdel(self.key("unembeddable"), *map(str, gone))
            pipe.srem(self.key("audits"), *gone)
            self._bury("tasks", gone, pipe)
            pipe.incr(self.key("tasks-version"))
            pipe.execute()
        return before - self.task_count()

    def clear_tasks(self) -> None:
        """Forget which text each task has, because the label config reads another one."""
        with self.connection.pipeline() as pipe:
            self._texts.clear(pipe)
            pipe.delete(self.key("unembeddable"), self.key("last-task"), self.key("read-until"))
            pipe.incr(self.key("tasks-version"))
            pipe.incr(self.key("facts"))
            pipe.execute()

    @property
    def last_task(self) -> int:
        """The largest task id that was ever read."""
        return int(_get(self.connection, self.key("last-task")) or 0)

    @property
    def read_until(self) -> int:
        """The task id up to which tasks have been read; less than the largest while some are read again."""
        known = _get(self.connection, self.key("read-until"))
        return self.last_task if known is None else int(known)

    @read_until.setter
    def read_until(self, task: int) -> None:
        self.connection.set(self.key("read-until"), task)

    def read_again(self, task: int) -> None:
        """Let tasks be read again from this one on."""
        self.read_until = min(self.read_until, task - 1)

    @property
    def tasks_version(self) -> int:
        """Changes whenever a task or a text id does."""
        return int(_get(self.connection, self.key("tasks-version")) or 0)

    def add_vectors(self, texts: Sequence[str]) -> None:
        """Note that vectors of these of the project's texts have arrived, by text id."""
        if not texts:
            return
        with self.connection.pipeline() as pipe:
            pipe.rpush(self.key("arrived"), *texts)
            pipe.ltrim(self.key("arrived"), -_ARRIVED, -1)
            pipe.incrby(self.key("vectors-version"), len(texts))
            pipe.incr(self.key("facts"))
            pipe.execute()

    @property
    def vectors_version(self) -> int:
        """How many vectors of the project's texts have arrived."""
        return int(_get(self.connection, self.key("vectors-version")) or 0)

    def arrived_since(self, version: int) -> tuple[int, list[str] | None]:
        """The version now, and the texts whose vectors have arrived since another one; None when too many have."""
        with self.connection.pipeline() as pipe:
            pipe.get(self.key("vectors-version"))
            pipe.lrange(self.key("arrived"), 0, -1)
            now, texts = pipe.execute()
        count = int(now or 0) - version
        return int(now or 0), [t.decode() for t in texts[len(texts) - count :]] if 0 <= count <= len(texts) else None

    def task_count(self) -> int:
        """How many tasks are known."""
        return len(self._texts) + self.connection.hlen(self.key("unembeddable"))

    def task_texts(self) -> tuple[NDArray[np.int64], NDArray[np.bytes_]]:
        """(n,) int64: the tasks that have a text, ascending; (n,) S32: their text ids."""
        return self._texts.all()

    def texts_of(self, tasks: Sequence[int]) -> dict[int, str]:
        """Text id by task, for those of the given tasks that have a text."""
        return {task: text.decode() for task, text in self._texts.get(tasks).items()}

    def unembeddable(self) -> dict[int, str]:
        """Reason by task that has no text to embed."""
        raw = cast(dict[bytes, bytes], self.connection.hgetall(self.key("unembeddable")))
        return {int(task): reason.decode() for task, reason in raw.items()}

    # -- audit tasks, predictions, rounds -----------------------------------------------------------------------

    def add_audits(self, task_ids: Iterable[int]) -> None:
        """Remember tasks that were put into the head because they were drawn at random."""
        ids = list(task_ids)
        if ids:
            self.connection.sadd(self.key("audits"), *ids)

    def audits(self) -> set[int]:
        """All tasks that were ever drawn as audit tasks."""
        return {int(task) for task in cast(set[bytes], self.connection.smembers(self.key("audits")))}

    def put_predictions(self, ids: Mapping[int, int], *, replace: bool = False) -> None:
        """Remember which prediction in Label Studio belongs to which task."""
        with self.connection.pipeline() as pipe:
            if replace:
                self._predictions.clear(pipe)
            self._predictions.put(ids, pipe)
            pipe.execute()

    def drop_prediction(self, task: int) -> None:
        """Forget a prediction that Label Studio no longer has."""
        self._predictions.delete([task])

    def prediction_count(self) -> int:
        """How many tasks have a prediction."""
        return len(self._predictions)

    def predictions(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n,) int64: the tasks that have a prediction, ascending; (n,) int64: the predictions' ids."""
        return self._predictions.all()

    def known_predictions(self, tasks: Sequence[int]) -> dict[int, int]:
        """Prediction id by task, for those of the given tasks that have one."""
        return self._predictions.get(tasks)

    def labels_before(self, labels: int) -> int:
        """How many labels there were before the first round, which is told by the first call."""
        self.connection.setnx(self.key("labels-before"), labels)
        return min(labels, int(_get(self.connection, self.key("labels-before")) or 0))

    @property
    def score_floor(self) -> float | None:
        """The lowest score that any prediction in Label Studio may have."""
        raw = _get(self.connection, self.key("score-floor"))
        return float(raw) if raw else None

    def lower_score_floor(self, score: float) -> None:
        """Remember that scores now reach down to `score`."""
        floor = self.score_floor
        if floor is None or score < floor:
            self.connection.set(self.key("score-floor"), repr(score))

    @property
    def round(self) -> RoundRecord | None:
        """The newest finished round."""
        raw = _get(self.connection, self.key("round"))
        return records.read(RoundRecord, raw) if raw else None

    def finish_round(self, record: RoundRecord) -> None:
        """Make a round the newest finished one."""
        self.connection.set(self.key("round"), records.dumps(asdict(record)))

    def add_accuracy(self, labels: int, accuracy: Mapping[str, float]) -> None:
        """Remember how accurate the classifier of so many labels was."""
        self.connection.rpush(self.key("accuracies"), records.dumps({"labels": labels, **accuracy}))
        self.connection.ltrim(self.key("accuracies"), -_ACCURACIES, -1)

    def accuracies(self) -> list[dict[str, float]]:
        """Accuracy by number of labels, oldest first."""
        raw = cast(list[bytes], self.connection.lrange(self.key("accuracies"), 0, -1))
        return [records.loads(value) for value in raw]

    def expect(self, labels: int, accuracy: float) -> None:
        """Remember how accurate the first classifier, of so many labels, expects to be; later calls change nothing."""
        self.connection.setnx(self.key("expected"), records.dumps({"labels": labels, "accuracy": accuracy}))

    @property
    def expected(self) -> dict[str, float] | None:
        """What `expect` was told first."""
        raw = _get(self.connection, self.key("expected"))
        return None if raw is None else dict(records.loads(raw))

    @property
    def fresh_round(self) -> int:
        """The round whose ranking was published beyond its head."""
        return int(_get(self.connection, self.key("fresh")) or 0)

    @fresh_round.setter
    def fresh_round(self, number: int) -> None:
        self.connection.set(self.key("fresh"), number)

    def put_ranking(self, ranking: Ranking) -> None:
        """Store the ranking for `/predict` and for `status`."""
        packed = np.packbits(ranking.chosen, axis=1)
        self.connection.hset(
            self.key("ranking"),
            mapping={
                "task_ids": ranking.task_ids.tobytes(),
                "chosen": packed.tobytes(),
                "choices": str(ranking.chosen.shape[1]),
                "confidence": ranking.confidence.astype(np.float32).tobytes(),
            },
        )

    def ranking(self) -> Ranking | None:
        """The newest finished round's ranking."""
        raw = cast(dict[bytes, bytes], self.connection.hgetall(self.key("ranking")))
        if not raw:
            return None
        task_ids = np.frombuffer(raw[b"task_ids"], np.int64)
        choices = int(raw[b"choices"])
        packed = np.frombuffer(raw[b"chosen"], np.uint8).reshape(len(task_ids), -1)
        chosen = np.unpackbits(packed, axis=1, count=choices).astype(bool)
        return Ranking(task_ids, chosen, np.frombuffer(raw[b"confidence"], np.float32))

    # -- helpers ------------------------------------------------------------------------------------------------

    def _delete(self, kind: str, ids: Sequence[int]) -> int:
        if not ids:
            return 0
        with self.connection.pipeline() as pipe:
            pipe.hdel(self.key(kind), *map(str, ids))
            self._bury(kind, ids, pipe)
            return int(pipe.execute()[0])

    def _bury(self, kind: str, ids: Sequence[int], pipe: Pipeline) -> None:
        grave = self.key(f"deleted-{kind}")
        pipe.sadd(grave, *ids)
        pipe.expire(grave, _TOMBSTONE_S)
        pipe.incr(self.key("facts"))

    def _tombstones(self, kind: str, ids: Iterable[int]) -> set[int]:
        wanted = list(ids)
        if not wanted:
            return set()
        marks = cast(list[int], self.connection.smismember(self.key(f"deleted-{kind}"), wanted))
        return {pk for pk, gone in zip(wanted, marks, strict=True) if gone}


def all_projects(connection: redis.Redis) -> list[Project]:
    """Every project that is remembered."""
    ids = sorted(int(raw) for raw in cast(set[bytes], connection.smembers(_PROJECTS)))
    return [Project(connection, project_id) for project_id in ids]


def _get(connection: redis.Redis, key: str) -> bytes | None:
    return cast(bytes | None, connection.get(key))
