"""The focus: what somebody who leads asked to be served first, for so many labels or until it is ended."""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Literal

import redis

from prepal import records
from prepal.errors import shortened
from prepal.project.id_map import IdMap
from prepal.project.part import Stored
from prepal.project.rounds import Rounds

Kind = Literal["", "choice", "task", "words", "filter", "doubt"]


@dataclass(frozen=True)
class Focus:
    """One order of the queue, and who asked for it."""

    kind: Kind = ""
    """What is asked for: texts that are likely a `choice`, are like those of a `task` or like `words`, tasks with a
    field's value (`filter`), or those that the classifier doubts most (`doubt`); "": nothing any more."""
    value: str = ""
    """The choice's name, the task's number, the words, or `field=value`."""
    by: str = ""
    at: float = 0.0
    """Unix time."""
    labels: int = 0
    """How many labels there were then."""
    until: int = 0
    """For how many labels more; 0: until somebody ends it."""
    over_at: float = 0.0
    """Unix time at which there were so many; 0 before."""

    @property
    def is_on(self) -> bool:
        """Whether anything is served by it."""
        return bool(self.kind) and not self.over_at

    @property
    def what(self) -> str:
        """What is asked for, in words; "" where that is nothing."""
        return {
            "choice": f"texts that are likely {self.value!r}",
            "task": f"texts like that of task {self.value}",
            "words": f"texts like {shortened(self.value)!r}",
            "filter": f"tasks with {shortened(self.value)}",
            "doubt": "texts that the classifier doubts most",
        }.get(self.kind, "")

    def left(self, labels: int) -> int | None:
        """For how many labels more it goes on, now that there are so many; None: until somebody ends it."""
        return max(0, self.until - max(0, labels - self.labels)) if self.until else None


class Focused(Rounds):
    """A project's focus, and which tasks match one by a field."""

    focus = Stored("focus", lambda raw: records.read(Focus, raw) or Focus(), Focus())
    """What was asked for last."""

    def __init__(self, connection: redis.Redis, project_id: int, question: str = "", *, reads: bool = False) -> None:
        super().__init__(connection, project_id, question, reads=reads)
        self.matching = IdMap(connection, self.key("matching"), "<i1")
        """1 for each task that matches."""

    def set_focus(self, focus: Focus) -> None:
        """Let tasks be served by a focus from the next round on, which is to be asked for."""
        with self.connection.pipeline() as pipe:
            pipe.set(self.key("focus"), records.dumps(asdict(focus)))
            self.matching.clear(pipe)
            pipe.delete(self.key("matched-until"))
            pipe.incr(self.key("facts"))
            pipe.execute()

    def matched_until(self, focus: Focus) -> int:
        """The task id up to which all tasks have been looked at, whether they match this focus."""
        at, _, task = (self._get("matched-until") or b"").decode().partition(" ")
        return int(task) if at == repr(focus.at) else 0

    def note_matched(self, focus: Focus, task: int) -> None:
        """Note that all tasks up to one have been looked at."""
        with self.connection.pipeline() as pipe:
            pipe.set(self.key("matched-until"), f"{focus.at!r} {task}")
            pipe.incr(self.key("facts"))
            pipe.execute()

    def end_focus(self, focus: Focus) -> None:
        """Note that a focus has had its labels, unless it is another one by now."""
        with self.connection.pipeline() as pipe, suppress(redis.WatchError):
            pipe.watch(self.key("focus"))  # type: ignore[no-untyped-call]
            if self.focus == focus:
                pipe.multi()
                pipe.set(self.key("focus"), records.dumps(asdict(replace(focus, over_at=time.time()))))
                pipe.execute()
