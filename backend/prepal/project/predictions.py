"""What Label Studio shows and serves: predictions, audit tasks, what annotators saw, and who passed which task."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from prepal import records
from prepal.labels.serving import Rules
from prepal.project.part import Stored, Value
from prepal.project.tasks import Tasks


class Predictions(Tasks):
    """A project's predictions, and what is known of those who see them."""

    score_floor = Value[float | None]("score-floor", float, None)
    """The lowest score that any prediction in Label Studio has; None where that is not known."""
    is_serving = Value("serving", bool, False)
    """Whether Label Studio was told to serve by our predictions; who undoes that by hand means it."""
    weak_version = Stored("weak-version", int, 0)
    """Changes whenever a prediction that somebody imported does; 0 where nobody did."""
    publications = Stored("publications", int, 0)
    """How many publications have begun; only who made the last one knows the order in Label Studio."""
    rules = Stored("rules", lambda raw: records.read(Rules, raw) or Rules(), Rules())
    """Whom Label Studio serves a task that others have seen already."""

    def replace_predictions(self, ids: Mapping[int, int]) -> None:
        """Remember which prediction in Label Studio belongs to which task, and nothing of others."""
        with self.connection.pipeline() as pipe:
            self.predictions.clear(pipe)
            self.predictions.put(ids, pipe)
            pipe.execute()

    def set_weak_labels(self, choices: Mapping[int, str]) -> None:
        """Remember which choice a prediction that somebody imported gives a task, by task, and nothing of others."""
        names = sorted(set(choices.values()))
        numbers = {name: number for number, name in enumerate(names)}
        tasks = sorted(choices)
        value = {
            b"tasks": np.array(tasks, np.int64).tobytes(),
            b"numbers": np.array([numbers[choices[task]] for task in tasks], np.int64).tobytes(),
            b"names": records.dumps(names),
        }
        before = cast(dict[bytes, bytes], self.connection.hgetall(self.key("weak-labels")))
        if value == before or not (before or tasks):
            return
        with self.connection.pipeline() as pipe:
            pipe.hset(self.key("weak-labels"), mapping=cast(Any, value))
            pipe.incr(self.key("weak-version"))
            pipe.incr(self.key("facts"))
            pipe.execute()

    def weak_labels(self) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
        """(w,): tasks with an imported prediction, ascending; (w,): the number of its choice; the names of all."""
        raw = cast(dict[bytes, bytes], self.connection.hgetall(self.key("weak-labels")))
        if not raw:
            return np.empty(0, np.int64), np.empty(0, np.int64), []
        tasks, numbers = (np.frombuffer(raw[name], np.int64) for name in (b"tasks", b"numbers"))
        return tasks, numbers, list(records.loads(raw[b"names"]))

    def begin_publication(self) -> int:
        """Count one more publication; also said when the order in Label Studio turned out to be another one."""
        return int(self.connection.incr(self.key("publications")))

    def add_audits(self, task_ids: Iterable[int]) -> None:
        """Remember tasks that were drawn at random to judge the classifier by."""
        ids = list(task_ids)
        if ids:
            self.connection.sadd(self.key("audits"), *ids)

    def audits(self) -> set[int]:
        """All tasks that were ever drawn as audit tasks."""
        return {int(task) for task in cast(set[bytes], self.connection.smembers(self.key("audits")))}

    def labels_before(self, labels: int) -> int:
        """How many labels there were before the first round, which is told by the first call."""
        self.connection.setnx(self.key("labels-before"), labels)
        return min(labels, self._number("labels-before"))

    def note_shown(self, seen: Mapping[int, tuple[list[str], float, bool]]) -> None:
        """Remember what was predicted for tasks that have a label now: choices, confidence, whether that was hidden."""
        if seen:
            self.connection.hset(
                self.key("shown"), mapping={str(task): records.dumps(what) for task, what in seen.items()}
            )

    def shown(self) -> dict[int, tuple[list[str], float, bool]]:
        """By task with a label, what was predicted of it: choices, confidence, and whether that was hidden."""
        raw = cast(dict[bytes, bytes], self.connection.hgetall(self.key("shown")))
        seen = {int(task): records.loads(what) for task, what in raw.items()}
        return {task: (choices, confidence, hidden) for task, (choices, confidence, hidden, *_) in seen.items()}

    def set_rules(self, rules: Rules) -> None:
        """Remember whom Label Studio serves a task that others have seen already."""
        if rules != self.rules:
            self.connection.set(self.key("rules"), records.dumps(asdict(rules)))
            self.add_fact()

    def postponed(self) -> dict[int, set[int]]:
        """The annotators who postponed a task, by task."""
        return {task: set(people) for task, people in self._by_task("postponed").items()}

    def set_postponed(self, looked_at: Iterable[int], found: Mapping[int, Iterable[int]]) -> bool:
        """Remember who postponed which of the tasks that were looked at; tells whether that is news."""
        before, looked_at = self.postponed(), set(looked_at)
        now = {task: people for task, people in before.items() if task not in looked_at}
        now |= {task: set(people) for task, people in found.items()}
        if now == before:
            return False
        self._put_by_task("postponed", {task: sorted(people) for task, people in now.items()})
        self.add_fact()
        return True

    def people(self) -> dict[int, str]:
        """The names of those who annotated; "" of one whose name is not known."""
        raw = cast(dict[bytes, bytes], self.connection.hgetall(self.key("people")))
        return {int(person): name.decode() for person, name in raw.items()}

    def name_people(self, names: Mapping[int, str]) -> None:
        """Remember names of those who annotated."""
        self.connection.hset(self.key("people"), mapping={str(person): name for person, name in names.items()})

    def overtaken(self) -> dict[int, list[float]]:
        """How often tasks of the head were not given to people who should have got them, and until when they rest."""
        return self._by_task("overtaken")

    def set_overtaken(self, counts: Mapping[int, list[float]]) -> None:
        """Remember how often tasks were passed over, and until when they rest."""
        self._put_by_task("overtaken", counts)

    def _by_task(self, name: str) -> dict[int, Any]:
        raw = self._get(name)
        return {int(task): what for task, what in records.loads(raw).items()} if raw else {}

    def _put_by_task(self, name: str, values: Mapping[int, Any]) -> None:
        if values:
            self.connection.set(self.key(name), records.dumps({str(task): what for task, what in values.items()}))
        else:
            self.connection.delete(self.key(name))
