"""All tasks of a project as Label Studio lists them, and which of them have changed since they were read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prepal.label_studio.client import LabelStudio
from prepal.labels.events import unix_time
from prepal.project import Project


@dataclass(frozen=True)
class Listing:
    """All tasks that Label Studio has.

    Attributes:
        tasks: `(n,)` int64, ascending.
        changed_at: `(n,)` int64, when each was changed last.
        annotations: `(n,)` int64, how many each has, skipped ones too.
        is_whole: whether there are as many as Label Studio counts; what a list lacks is not gone otherwise.
    """

    tasks: NDArray[np.int64]
    changed_at: NDArray[np.int64]
    annotations: NDArray[np.int64]
    is_whole: bool

    @classmethod
    def read(cls, project: Project, label_studio: LabelStudio) -> "Listing":
        """Let Label Studio list all tasks."""
        parts = [
            np.array([(int(t["id"]), changed_at(t), annotation_count(t)) for t in page], np.int64)
            for page in label_studio.states(project.id)
        ]
        rows = np.concatenate([np.empty((0, 3), np.int64), *parts])
        return cls(rows[:, 0], rows[:, 1], rows[:, 2], len(rows) >= project.info.task_count)

    def changed_since(self, seen: tuple[NDArray[np.int64], NDArray[np.int64]]) -> NDArray[np.bool_]:
        """Which tasks `(n,)` have changed since they were read: tasks, ascending, and when they had been changed."""
        tasks, changed_at = seen
        if not len(tasks):
            return np.ones(len(self.tasks), bool)
        at = np.minimum(np.searchsorted(tasks, self.tasks), len(tasks) - 1)
        return np.asarray((tasks[at] != self.tasks) | (changed_at[at] != self.changed_at))

    def counts_differ(self, counts: Mapping[int, int]) -> NDArray[np.bool_]:
        """Which tasks `(n,)` have more or fewer annotations than these, as where one was lost or cannot be read."""
        expected = np.fromiter((counts.get(task, 0) for task in self.tasks.tolist()), np.int64, len(self.tasks))
        return np.asarray(expected != self.annotations)


def annotation_count(task: Mapping[str, Any]) -> int:
    """How many annotations a task has, skipped ones too, as far as its state tells."""
    return int(task.get("total_annotations") or 0) + int(task.get("cancelled_annotations") or 0)


def changed_at(task: Mapping[str, Any]) -> int:
    """When a task was changed last, in microseconds since 1970; 1 where that cannot be known."""
    at = unix_time(str(task.get("updated_at") or ""))
    return 1 if at is None else int(at * 1_000_000)
