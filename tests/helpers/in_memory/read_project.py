"""A project of a Label Studio in memory that is read as the learner's jobs read it."""

from pathlib import Path
from typing import Any

import redis

from prepal.label_studio.describe import describe
from prepal.label_studio.sync import Reader
from prepal.labels.events import read_annotation
from prepal.project import Project
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import VectorTable, text_id
from tests.helpers.label_studio_in_memory import LabelStudioInMemory

PROJECT = 5


def config(field: str = "text", tag: str = "Choices") -> str:
    inner = '<Choice value="A"/><Choice value="B"/>' if tag == "Choices" else '<Label value="A"/>'
    return f'<View><Text name="text" value="${field}"/><{tag} name="topic" toName="text">{inner}</{tag}></View>'


UNSERVABLE = config(tag="Labels")


class ReadProject:
    """A project of ten tasks that has been read once, and the parts that reading needs."""

    def __init__(self, connection: redis.Redis, folder: Path) -> None:
        data = {n: {"text": f"text {n}", "title": f"title {n}"} for n in range(1, 11)}
        self.label_studio = LabelStudioInMemory(PROJECT, config(), data)
        self.project = Project(connection, PROJECT)
        self.project.register()
        self.table = VectorTable(str(folder), "encoder")
        self.waiting = WaitingTexts(connection, "encoder")
        self.compare()

    def compare(self) -> None:
        """Read what is new, and compare everything, as the learner's jobs do."""
        reader = self._reader()
        if reader is not None:
            reader.reconcile()
            self.read_new_tasks()
            reader.reconcile()

    def read_new_tasks(self) -> None:
        """Read what is new, as the learner's job does when it hears of tasks."""
        reader = self._reader()
        while reader is not None and reader.read_new_tasks():
            pass

    def _reader(self) -> Reader | None:
        label_studio: Any = self.label_studio
        config = describe(self.project, label_studio)
        return Reader(self.project, config, label_studio, [(self.table, self.waiting)]) if config else None

    def hear(self, raw: dict[str, Any]) -> None:
        """What the backend does with an event of an annotation."""
        self.project.put_annotations({raw["id"]: read_annotation(raw, raw["task"])})

    def check(self, field: str = "text") -> None:
        """Everything that is known is what Label Studio has."""
        project, label_studio = self.project, self.label_studio
        texts = {task: text_id(data[field]) for task, data in label_studio.data.items() if data[field]}
        assert project.texts_of(sorted(label_studio.data)) == texts
        assert project.task_count() == len(label_studio.data)
        assert project.annotations() == {
            pk: read_annotation(raw, raw["task"]) for pk, raw in label_studio.raw_annotations.items()
        }
