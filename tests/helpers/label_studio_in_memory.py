"""A Label Studio in memory: of its API what the learner uses, and people who label; as Label Studio 1.23.2 does it."""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from prepal.errors import PrepalError
from prepal.label_studio.api import NotFoundError

_PAGE = 1000
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BACKEND_URL = "http://127.0.0.1:9090"


class LabelStudioInMemory:
    """One project of Label Studio's; `settings`, `data` of the tasks and raw annotations may be changed at will."""

    def __init__(self, project: int, label_config: str, data: Mapping[int, Any]) -> None:
        self.settings: dict[str, Any] = {
            "id": project,
            "title": "Tickets",
            "label_config": label_config,
            "model_version": "",
            "sampling": "Uncertainty sampling",
            "maximum_annotations": 1,
            "skip_queue": "REQUEUE_FOR_OTHERS",
            "show_collab_predictions": True,
            "start_training_on_annotation_update": False,
            "created_at": _BEGIN.isoformat(),
        }
        self.data = dict(data)
        self.meta: dict[int, Any] = {}
        self.raw_annotations: dict[int, dict[str, Any]] = {}
        self.drafts: dict[int, set[int]] = defaultdict(set)
        self.backend_list: list[dict[str, Any]] = [{"id": 1, "url": BACKEND_URL, "title": "PRepAL backend"}]
        self.hooks: list[dict[str, Any]] = []
        self.tab_list: list[dict[str, Any]] = []
        self.before_call: Callable[[str], None] = lambda _: None
        """Told what is asked for, before it is done; whatever it raises is what happens instead."""
        self.unlisted: set[int] = set()
        """Tasks that no list of tasks has, as when a page of it got lost."""
        self.calls = 0
        self._changed_at: dict[int, datetime] = {}
        self._predictions: dict[int, dict[str, Any]] = {}
        self._last_id = 1000
        self._clock = _BEGIN

    # -- what the learner calls ---------------------------------------------------------------------------------

    def project(self, project: int) -> dict[str, Any]:
        self._asked("project", project)
        return {**self.settings, "task_number": len(self.data)}

    def update_project(self, project: int, **changes: object) -> None:
        self._asked("update_project", project)
        self.settings |= changes

    def backends(self, project: int) -> list[dict[str, Any]]:
        self._asked("backends", project)
        return [dict(one) for one in self.backend_list]

    def save_backend(self, backend: int | None, fields: Mapping[str, object]) -> dict[str, Any]:
        self._asked("save_backend")
        if backend is None:
            self.backend_list.append({"id": self._new_id(), **fields})
            return self.backend_list[-1]
        found = next(one for one in self.backend_list if one["id"] == backend)
        found |= fields
        return found

    def delete_backend(self, backend: int) -> None:
        self._asked("delete_backend")
        self.backend_list = [one for one in self.backend_list if one["id"] != backend]

    def webhooks(self, project: int) -> list[dict[str, Any]]:
        self._asked("webhooks", project)
        return [dict(one) for one in self.hooks]

    def save_webhook(self, webhook: int | None, fields: Mapping[str, object]) -> None:
        self._asked("save_webhook")
        if webhook is None:
            self.hooks.append({"id": self._new_id(), **fields})
        else:
            next(one for one in self.hooks if one["id"] == webhook).update(fields)

    def delete_webhook(self, webhook: int) -> None:
        self._asked("delete_webhook")
        self.hooks = [one for one in self.hooks if one["id"] != webhook]

    def tasks(self, project: int, *, after: int = 0, with_meta: bool = False) -> Iterator[list[dict[str, Any]]]:
        for page in self._pages(project, after):
            more = [{"meta": self.meta.get(task)} if with_meta else {} for task in page]
            rows = zip(page, more, strict=True)
            yield [{**self._state(task), "data": self.data[task], **meta} for task, meta in rows]

    def states(self, project: int) -> Iterator[list[dict[str, Any]]]:
        for page in self._pages(project, 0):
            yield [self._state(task) for task in page]

    def users(self) -> dict[int, str]:
        self._asked("users")
        return {1: "Anna", 2: "ben@example.com"}

    def whole_tasks(self, project: int, tasks: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
        self._asked("whole_tasks", project)
        found = [task for task in tasks if task in self.data]
        if found:
            yield [
                {**self._state(task), "data": self.data[task], "annotations": self._annotations_of(task)}
                for task in found
            ]

    def postponed(self, tasks: Iterable[int]) -> dict[int, set[int]]:
        self._asked("postponed")
        return {task: set(self.drafts[task]) for task in tasks if self.drafts.get(task)}

    def has_predictions(self, project: int, model_version: str) -> bool:
        self._asked("has_predictions", project)
        return any(one["model_version"] == model_version for one in self._predictions.values())

    def predictions(self, *, project: int | None = None, task: int | None = None) -> list[dict[str, Any]]:
        self._asked("predictions")
        return [dict(one) for one in self._predictions.values() if project is not None or one["task"] == task]

    def create_predictions(self, project: int, predictions: Sequence[Mapping[str, Any]]) -> None:
        self._asked("create_predictions", project)
        known = [prediction for prediction in predictions if prediction["task"] in self.data]
        for prediction in known:
            self._add_prediction(prediction)
        if len(known) < len(predictions):
            raise PrepalError(f"Label Studio stored {len(known)} of {len(predictions)} predictions.")

    def create_prediction(self, prediction: Mapping[str, Any]) -> int:
        self._asked("create_prediction")
        if prediction["task"] not in self.data:
            raise NotFoundError(f"Task {prediction['task']} does not exist.")
        return self._add_prediction(prediction)

    def update_prediction(self, prediction: int, changes: Mapping[str, Any]) -> None:
        self._asked("update_prediction")
        if prediction not in self._predictions:
            raise NotFoundError(f"Prediction {prediction} does not exist.")
        self._predictions[prediction] |= changes
        self._touch(self._predictions[prediction]["task"])

    def delete_prediction(self, prediction: int) -> None:
        self._asked("delete_prediction")
        self._predictions.pop(prediction, None)

    def delete_predictions(self, project: int, model_version: str) -> None:
        self._asked("delete_predictions", project)
        self._predictions = {pk: p for pk, p in self._predictions.items() if p["model_version"] != model_version}

    def tabs(self, project: int) -> list[dict[str, Any]]:
        self._asked("tabs", project)
        return copy.deepcopy(self.tab_list)

    def columns(self, project: int) -> list[dict[str, Any]]:
        self._asked("columns", project)
        rare = {"visibility_defaults": {"explore": False, "labeling": False}}
        return [
            {"id": "text", "parent": "data", "visibility_defaults": {"explore": True, "labeling": True}},
            *({"id": name} for name in ("id", "annotators", "data")),
            *({"id": name, **rare} for name in ("annotations_results", "predictions_results", "predictions_score")),
        ]

    def save_tab(self, tab: int | None, project: int, data: Mapping[str, Any]) -> int:
        self._asked("save_tab", project)
        if tab is None:
            self.tab_list.append({"id": self._new_id(), "data": {}})
            tab = self.tab_list[-1]["id"]
        found = next((one for one in self.tab_list if one["id"] == tab), None)
        if found is None:
            raise NotFoundError(f"Tab {tab} does not exist.")
        found["data"] = copy.deepcopy(dict(data))
        return int(found["id"])

    def delete_tab(self, tab: int) -> None:
        self._asked("delete_tab")
        self.tab_list = [one for one in self.tab_list if one["id"] != tab]

    # -- what people do -----------------------------------------------------------------------------------------

    def annotate(
        self, task: int, *choices: str, by: int = 1, skip: bool = False, answers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Submit, or skip, and return the annotation as an event carries it; `answers` are those to other questions."""
        pk = self._new_id()
        self.raw_annotations[pk] = {
            "id": pk,
            "task": task,
            "completed_by": by,
            "updated_at": self._tick(),
            "was_cancelled": skip,
            "ground_truth": False,
            "result": [
                *_result(choices),
                *(item for tag, said in (answers or {}).items() for item in _result([said], tag)),
            ],
        }
        self._touch(task)
        self.drafts[task].discard(by)
        return copy.deepcopy(self.raw_annotations[pk])

    def relabel(self, annotation: int, *choices: str) -> dict[str, Any]:
        """Change an annotation, and return it."""
        raw = self.raw_annotations[annotation]
        raw |= {"result": _result(choices), "was_cancelled": False, "updated_at": self._tick()}
        self._touch(raw["task"])
        return copy.deepcopy(raw)

    def delete_annotation(self, annotation: int) -> None:
        self._touch(self.raw_annotations.pop(annotation)["task"])

    def postpone(self, task: int, by: int) -> None:
        self.drafts[task].add(by)

    def import_tasks(self, data: Iterable[Any]) -> list[int]:
        new = []
        for one in data:
            new.append(self._new_id())
            self.data[new[-1]] = one
            self._touch(new[-1])
        return new

    def edit_task(self, task: int, data: Any) -> None:
        self.data[task] = data
        self._touch(task)

    def delete_task(self, task: int) -> None:
        del self.data[task]
        self.drafts.pop(task, None)
        self._predictions = {pk: p for pk, p in self._predictions.items() if p["task"] != task}
        self.raw_annotations = {pk: a for pk, a in self.raw_annotations.items() if a["task"] != task}

    def backup(self) -> dict[str, Any]:
        """The database as it is."""
        names = ["settings", "data", "raw_annotations", "drafts", "tab_list"]
        names += ["_changed_at", "_predictions", "_last_id", "_clock"]
        return {name: copy.deepcopy(getattr(self, name)) for name in names}

    def restore(self, backup: Mapping[str, Any]) -> None:
        """The database as it was."""
        for name, value in backup.items():
            setattr(self, name, copy.deepcopy(value))

    def set_clock_back(self, seconds: float) -> None:
        self._clock -= timedelta(seconds=seconds)

    def begin_ids(self, first: int) -> None:
        """Whatever is made from now on has an id from here on."""
        self._last_id = first - 1

    # -- what it serves -----------------------------------------------------------------------------------------

    def can_be_given(self, task: int, person: int) -> bool:
        """Whether `next` may serve a task to a person, before there is nothing else left."""
        seen = self._annotations_of(task)
        if any(a["completed_by"] == person for a in seen) or person in self.drafts.get(task, ()):
            return False
        counts_skips = self.settings["skip_queue"] != "REQUEUE_FOR_OTHERS"
        done = {a["completed_by"] for a in seen if counts_skips or not a["was_cancelled"]}
        return len(done) < self.settings["maximum_annotations"]

    def order(self) -> list[int]:
        """All tasks that have a prediction of the project's version, lowest score first."""
        version = self.settings["model_version"]
        scores: dict[int, float] = {}
        for one in self._predictions.values():
            if one["model_version"] == version and version:
                score = float("-inf") if one["score"] is None else one["score"]
                scores[one["task"]] = min(score, scores.get(one["task"], float("inf")))
        return sorted(scores, key=lambda task: (scores[task], task))

    def next(self, person: int) -> int | None:
        """The task that is served to a person."""
        return next((task for task in self.order() if self.can_be_given(task, person)), None)

    def shown(self, task: int) -> list[str]:
        """The predicted choices that somebody sees who is given a task."""
        version = self.settings["model_version"]
        return [
            choice
            for one in self._predictions.values()
            if one["task"] == task and one["model_version"] == version
            for item in one["result"]
            for choice in item["value"]["choices"]
        ]

    # -- helpers ------------------------------------------------------------------------------------------------

    def _asked(self, name: str, project: int | None = None) -> None:
        assert project in (None, self.settings["id"])
        self.calls += 1
        self.before_call(name)

    def _pages(self, project: int, after: int) -> Iterator[list[int]]:
        self._asked("tasks", project)
        ids = sorted(task for task in self.data if task > after and task not in self.unlisted)
        yield from (ids[begin : begin + _PAGE] for begin in range(0, len(ids), _PAGE))

    def _state(self, task: int) -> dict[str, Any]:
        seen = [bool(a.get("was_cancelled")) for a in self._annotations_of(task)]
        return {
            "id": task,
            "updated_at": self._changed_at.get(task, _BEGIN).isoformat(),
            "total_annotations": len(seen) - sum(seen),
            "cancelled_annotations": sum(seen),
        }

    def _annotations_of(self, task: int) -> list[dict[str, Any]]:
        return [dict(a) for a in self.raw_annotations.values() if a["task"] == task]

    def _add_prediction(self, prediction: Mapping[str, Any]) -> int:
        pk = self._new_id()
        self._predictions[pk] = {**prediction, "id": pk}
        self._touch(prediction["task"])
        return pk

    def _touch(self, task: int) -> None:
        self._changed_at[task] = datetime.fromisoformat(self._tick())

    def _tick(self) -> str:
        self._clock += timedelta(seconds=1, microseconds=1)
        return self._clock.isoformat()

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id


def _result(choices: Sequence[str], tag: str = "topic") -> list[dict[str, Any]]:
    if not choices:
        return []
    return [{"from_name": tag, "to_name": "text", "type": "choices", "value": {"choices": list(choices)}}]
