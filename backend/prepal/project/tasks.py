"""The tasks of a project: which text each has, or why it has none, and which vectors have arrived."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np
import redis
from numpy.typing import NDArray

from prepal.project.annotations import Annotations
from prepal.project.id_map import IdMap
from prepal.project.part import Stored, Value

# Texts whose vectors came are named, so that a learner reads these alone; one that missed more reads all it lacks.
_ARRIVED = 65_536


class Tasks(Annotations):
    """A project's tasks, by their ids in Label Studio."""

    looked_until = Value("looked-until", int, 0)
    """The task id up to which the texts of tasks have been looked at again, whatever had changed."""
    has_unread_tasks = Value("unread", bool, False)
    """Whether Label Studio has tasks that wait to be read."""
    last_task = Stored("last-task", int, 0)
    """The largest task id that was ever read."""
    tasks_version = Stored("tasks-version", int, 0)
    """Changes whenever a task or a text id does."""

    def __init__(self, connection: redis.Redis, project_id: int, question: str = "", *, reads: bool = False) -> None:
        super().__init__(connection, project_id, question, reads=reads)
        self.texts = IdMap(connection, self.key("texts"), "S32")
        """The id of each task's text."""
        self.predictions = IdMap(connection, self.key("predictions"), "<i8")
        """The id of the prediction in Label Studio that belongs to each task."""

    def readings(self) -> Sequence["Tasks"]:
        """This copy, and those of questions that read texts of their own."""
        return [self]

    def put_tasks(self, text_ids: Mapping[int, str], unembeddable: Mapping[int, str], began: int | None = None) -> None:
        """Remember tasks by the id of their text, or by the reason why they have none.

        Args:
            text_ids: of the texts, by task.
            unembeddable: reasons, by task.
            began: what `begin_reading` said before these were read; tasks that were deleted since then stay so. None:
                nothing that was deleted comes back.
        """
        gone = self._deleted_tasks([*text_ids, *unembeddable], began)
        texts = {t: text for t, text in text_ids.items() if t not in gone}
        reasons = {t: reason.encode("utf-8", "replace") for t, reason in unembeddable.items() if t not in gone}
        if not texts and not reasons:
            return
        with self.connection.pipeline() as pipe:
            if texts:
                self.texts.put(texts, pipe)
                pipe.hdel(self.key("unembeddable"), *map(str, texts))
            if reasons:
                self.texts.delete(reasons, pipe)
                pipe.hset(self.key("unembeddable"), mapping={str(t): reason for t, reason in reasons.items()})
            pipe.hdel(self.key("removed-tasks"), *map(str, [*texts, *reasons]))
            pipe.set(self.key("last-task"), max(self.last_task, *texts, *reasons))
            pipe.incr(self.key("facts"))
            pipe.incr(self.key("tasks-version"))
            pipe.execute()

    def delete_tasks(self, ids: Iterable[int]) -> int:
        """Forget tasks, with their annotations and predictions. Returns how many were known."""
        gone = list(ids)
        if not gone:
            return 0
        chosen = set(gone)
        self.delete_annotations([key for key, a in self.annotations().items() if a.task in chosen])
        before = self.task_count()
        stamp = self.begin_reading()
        with self.connection.pipeline() as pipe:
            for reading in self.readings():
                reading.texts.delete(gone, pipe)
                pipe.hdel(reading.key("unembeddable"), *map(str, gone))
            self.predictions.delete(gone, pipe)
            self.seen.delete(gone, pipe)
            pipe.hset(self.key("removed-tasks"), mapping={str(task): stamp for task in gone})
            pipe.incr(self.key("facts"))
            pipe.incr(self.key("tasks-version"))
            pipe.execute()
        return before - self.task_count()

    def _deleted_tasks(self, ids: Sequence[int], began: int | None) -> set[int]:
        stamps = self._of_each("removed-tasks", ids)
        return {task for task, stamp in stamps.items() if began is None or int(stamp) > began}

    def forget_removed_tasks(self, before: int) -> None:
        """Let go of the deletions that no reading can be older than that began at `before`."""
        stamps = cast(dict[bytes, bytes], self.connection.hgetall(self.key("removed-tasks")))
        old = [task for task, stamp in stamps.items() if int(stamp) < before]
        if old:
            self.connection.hdel(self.key("removed-tasks"), *old)

    def clear_tasks(self) -> None:
        """Forget which text each task has, because the label config reads another one."""
        with self.connection.pipeline() as pipe:
            for reading in self.readings():
                reading.texts.clear(pipe)
                pipe.delete(reading.key("unembeddable"))
            self.seen.clear(pipe)
            pipe.delete(self.key("last-task"), self.key("read-until"))
            pipe.incr(self.key("tasks-version"))
            pipe.incr(self.key("facts"))
            pipe.execute()

    @property
    def read_until(self) -> int:
        """The task id up to which tasks have been read; less than the largest while some are read again."""
        raw = self._get("read-until")
        return self.last_task if raw is None else int(raw)

    @read_until.setter
    def read_until(self, task: int) -> None:
        self.connection.set(self.key("read-until"), task)

    def read_again(self, task: int) -> None:
        """Let tasks be read again from this one on."""
        self.read_until = min(self.read_until, task - 1)

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

    def arrived_since(self, version: int) -> tuple[int, list[str] | None]:
        """The version now, and the texts whose vectors have arrived since another one; None when too many have."""
        now = self._number("vectors-version")
        count = now - version
        if not 0 < count <= _ARRIVED:
            return now, [] if not count else None
        with self.connection.pipeline() as pipe:
            pipe.get(self.key("vectors-version"))
            pipe.lrange(self.key("arrived"), 0, -1)
            raw, texts = pipe.execute()
        now = int(raw or 0)
        count = now - version
        return now, [t.decode() for t in texts[len(texts) - count :]] if 0 <= count <= len(texts) else None

    def task_count(self) -> int:
        """How many tasks are known."""
        return len(self.texts) + int(self.connection.hlen(self.key("unembeddable")))

    def all_tasks(self) -> NDArray[np.int64]:
        """(n,) int64: the tasks that are known, with a text and without, ascending."""
        without_text = self.unembeddable()
        return np.union1d(self.task_texts()[0], np.fromiter(without_text, np.int64, len(without_text)))

    def task_texts(self) -> tuple[NDArray[np.int64], NDArray[np.bytes_]]:
        """(n,) int64: the tasks that have a text, ascending; (n,) S32: their text ids."""
        return self.texts.all()

    def every_text(self) -> tuple[NDArray[np.int64], NDArray[np.bytes_]]:
        """(n,) int64 and (n,) S32: tasks and text ids, once more for each question that reads texts of its own."""
        tasks, texts = zip(*(reading.task_texts() for reading in self.readings()), strict=True)
        return np.concatenate(tasks), np.concatenate(texts)

    def texts_of(self, tasks: Sequence[int]) -> dict[int, str]:
        """Text id by task, for those of the given tasks that have a text."""
        return {task: text.decode() for task, text in self.texts.get(tasks).items()}

    def unembeddable(self) -> dict[int, str]:
        """Reason by task that has no text to embed."""
        raw = cast(dict[bytes, bytes], self.connection.hgetall(self.key("unembeddable")))
        return {int(task): reason.decode() for task, reason in raw.items()}

    def reasons_of(self, tasks: Sequence[int]) -> dict[int, str]:
        """Why they have no text, for those of the given tasks that have none."""
        return {task: reason.decode() for task, reason in self._of_each("unembeddable", tasks).items()}
