"""A project of a Label Studio in memory whose predictions several processes publish."""

from collections.abc import Callable
from typing import Any

import numpy as np
import redis

from prepal.label_studio import order
from prepal.label_studio.publish import Entry, Published, Publisher
from prepal.labels import label_config
from prepal.project import Info, Project, Ranking
from tests.helpers.label_studio_in_memory import LabelStudioInMemory

PROJECT, TASKS, CHOICES = 3, 30, "ABC"
CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="topic" toName="text">'
    + "".join(f'<Choice value="{choice}"/>' for choice in CHOICES)
    + "</Choices></View>"
)


class Killed(BaseException):
    """The process is no more."""


class PublishedProject:
    """A project whose predictions are made and published by several processes."""

    def __init__(self, connection: redis.Redis, tasks: int = TASKS, processes: int = 2) -> None:
        connection.flushdb()
        self.label_studio = LabelStudioInMemory(PROJECT, CONFIG, {n: {"text": str(n)} for n in range(1, tasks + 1)})
        self.project = Project(connection, PROJECT)
        self.project.register()
        self.project.set_info(Info(label_config=CONFIG))
        self.published = [Published() for _ in range(processes)]
        self.pool = set(self.label_studio.data)
        self.publisher = Publisher(self.project, self.label_studio, label_config.parse(CONFIG))  # type: ignore[arg-type]

    def make_tail(self, last: int = 0) -> int:
        tasks = sorted(self.label_studio.data)
        entries = [Entry(task, (0,), 0.5) for task in tasks[: len(tasks) - last]]
        made = self.publisher.create_tail(entries, tasks[len(tasks) - last :])
        order.serve(self.project, self.label_studio)  # type: ignore[arg-type]
        return made

    def publish(self, entries: list[Entry], process: int = 0, stop: Callable[[], bool] = lambda: False) -> int:
        return self.publisher.publish(entries, self.published[process], self.pool.__contains__, stop)

    def verify(self, process: int = 0) -> bool:
        tasks = np.array(sorted(self.pool), np.int64)
        self.project.put_ranking(Ranking(tasks, np.zeros((len(tasks), 3), bool), np.zeros(len(tasks), np.float32)))
        return order.verify(self.project, self.published[process], self.label_studio)  # type: ignore[arg-type]

    def order(self) -> list[int]:
        """The pool as Label Studio serves it."""
        return [task for task in self.label_studio.order() if task in self.pool]

    def scores(self) -> dict[int, float]:
        return {row["task"]: row["score"] for row in self.label_studio.predictions(project=PROJECT)}

    def row(self, task: int) -> dict[str, Any]:
        (found,) = self.label_studio.predictions(task=task)
        return found

    def fail_at(self, call: int, error: BaseException) -> None:
        """Let a call fail, and all that follow: calls are counted from 0."""
        left = call

        def before(_: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise error

        self.label_studio.before_call = before

    def mend(self) -> None:
        self.label_studio.before_call = lambda _: None


def entries_of(*tasks: int, chosen: int = 1, confidence: float | None = 0.8, shown: bool = True) -> list[Entry]:
    return [Entry(task, (chosen,), confidence, shown) for task in tasks]
