"""The LabelStudioMLBase subclass: predict() answers from the newest round, fit() writes down what happened."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import Any

from prepal.labels import label_config
from prepal.labels.events import as_list, number, read_annotation
from prepal.project import MODEL_VERSION, Project
from prepal.queues.requests import request_round, request_sync

# label-studio-ml prefers torch's multiprocessing where torch is installed, and would load all of torch for it. That of
# its repository (2.x) makes a file in MODEL_DIR when it is loaded, which nothing here needs.
_torch = {"torch": sys.modules["torch"]} if "torch" in sys.modules else {}
_model_dir = {"MODEL_DIR": os.environ["MODEL_DIR"]} if "MODEL_DIR" in os.environ else {}
sys.modules["torch"] = None  # type: ignore[assignment]
try:
    with TemporaryDirectory() as os.environ["MODEL_DIR"]:
        from label_studio_ml.model import LabelStudioMLBase
finally:
    del sys.modules["torch"], os.environ["MODEL_DIR"]
    sys.modules.update(_torch)
    os.environ.update(_model_dir)

log = logging.getLogger(__name__)

# Below every score that a ranking gives: a prediction made on demand waits for the next round to be placed.
_UNPLACED = 1.0


class PrepalModel(LabelStudioMLBase):  # type: ignore[misc]
    """What Label Studio sees of one project: it neither trains, nor embeds, nor calls Label Studio."""

    def __init__(self, project: Project) -> None:
        # What the base class keeps of itself, in 2.x in a file, is in Redis here.
        self.project = project

    def predict(self, tasks: Sequence[Mapping[str, Any]], *_: object, **__: object) -> list[dict[str, Any]]:
        """One prediction per task, in their order, empty where the newest round knows none."""
        config = label_config.parse_or_none(self.project.info.label_config)
        rankings = [] if config is None else self.project.rankings(config)
        results: list[list[dict[str, Any]]] = [[] for _ in tasks]
        if config and rankings:
            ranking = rankings[0]
            places = {task: place for place, task in enumerate(ranking.task_ids.tolist())}
            for result, task in zip(results, tasks, strict=True):
                at = places.get(number(task.get("id")) or 0)
                if at is not None and not (ranking.hidden is not None and ranking.hidden[at]):
                    result += config.results([one.said(at) for one in rankings])
        return [{"result": result, "score": _UNPLACED, "model_version": MODEL_VERSION} for result in results]

    def fit(self, event: str, data: Mapping[str, Any], **_: object) -> bool:
        """Write down one event of Label Studio, and let a round or a reading of Label Studio follow.

        Returns:
            Whether the project is connected; an event of one that is not changes nothing.
        """
        connection = self.project.connection
        if not self.project.is_known:
            return False
        match event:
            case "ANNOTATION_CREATED" | "ANNOTATIONS_CREATED" | "ANNOTATION_UPDATED":
                self._annotations(data)
            case "ANNOTATIONS_DELETED":
                self.project.delete_annotations(_ids(data.get("annotations")))
                request_round(connection, self.project.id)
            case "TASKS_DELETED":
                self.project.delete_tasks(_ids(data.get("tasks")))
                request_round(connection, self.project.id)
            case "TASKS_CREATED":
                request_sync(connection, self.project.id)
            case "PROJECT_UPDATED":
                self._project_updated(data)
            case "START_TRAINING":
                self.project.seen.clear()
                self.project.end_trouble()
                self.project.add_fact()
                request_sync(connection, self.project.id, full=True)
                request_round(connection, self.project.id)
            case _:
                log.debug("project %d: event %r is of no concern", self.project.id, event)
        return True

    def _annotations(self, data: Mapping[str, Any]) -> None:
        tasks = [task for task in as_list(data.get("task")) if isinstance(task, Mapping)]
        found = {}
        for place, raw in enumerate(as_list(data.get("annotation"))):
            if not isinstance(raw, Mapping):
                continue
            task = number(raw.get("task")) or (number(tasks[place].get("id")) if place < len(tasks) else None)
            annotation = number(raw.get("id"))
            if task and annotation:
                found[annotation] = read_annotation(raw, task)
        if self.project.put_annotations(found):
            request_round(self.project.connection, self.project.id)

    def _project_updated(self, data: Mapping[str, Any]) -> None:
        # Our own changes come back as events too; only news is worth reading Label Studio for.
        sent, info = data.get("project"), self.project.info
        if isinstance(sent, Mapping) and any(
            field in sent and sent[field] != known
            for field, known in (("label_config", info.label_config), ("model_version", info.model_version))
        ):
            request_sync(self.project.connection, self.project.id)


def _ids(items: object) -> list[int]:
    return [pk for item in as_list(items) if (pk := number(item.get("id") if isinstance(item, Mapping) else item))]
