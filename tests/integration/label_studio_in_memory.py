"""A Label Studio in memory: of its API what rounds and readings use, and people who label."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from prepal.label_studio import NotFoundError

_PAGE = 1000
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class LabelStudioInMemory:
    """One project of Label Studio's; until it is read, everything in it may be changed at will, then by its methods."""

    def __init__(self, project: int, label_config: str, data: Mapping[int, Any]) -> None:
        self.settings: dict[str, Any] = {
            "id": project,
            "title": "Tickets",
            "label_config": label_config,
            "model_version": "",
            "sampling": "Uncertainty sampling",
        }
        self.data = dict(data)
        self.raw_annotations: dict[int, dict[str, Any]] = {}
        self.postponed_by: dict[int, set[int]] = {}
        self._changed: dict[int, int] = {}
        self._predictions: dict[int, dict[str, Any]] = {}
        self._last_id = 1000

    # -- what the learner calls ---------------------------------------------------------------------------------

    def project(self, project: int) -> dict[str, Any]:
        assert project == self.settings["id"]
        return {**self.settings, "task_number": len(self.data)}

    def update_project(self, project: int, **changes: object) -> None:
        assert project == self.settings["id"]
        self.settings |= changes

    def tasks(self, project: int, *, after: int = 0) -> Iterator[list[dict[str, Any]]]:
        assert project == self.settings["id"]
        yield from self._pages([task for task in sorted(self.data) if task > after])

    def states(self, project: int) -> Iterator[list[dict[str, Any]]]:
        assert project == self.settings["id"]
        yield from self._pages(sorted(self.data))

    def whole_tasks(self, project: int, tasks: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
        assert project == self.settings["id"]
        yield from self._pages([task for task in tasks if task in self.data])

    def postponed(self, tasks: Iterable[int]) -> dict[int, set[int]]:
        return {task: self.postponed_by[task] for task in tasks if task in self.postponed_by}

    def has_predictions(self, project: int, model_version: str) -> bool:
        assert project == self.settings["id"]
        return any(one["model_version"] == model_version for one in self._predictions.values())

    def predictions(self, *, project: int | None = None, task: int | None = None) -> list[dict[str, Any]]:
        return [dict(one) for one in self._predictions.values() if project is not None or one["task"] == task]

    def create_predictions(self, project: int, predictions: Sequence[Mapping[str, Any]]) -> None:
        assert project == self.settings["id"]
        for prediction in predictions:
            self.create_prediction(prediction)

    def create_prediction(self, prediction: Mapping[str, Any]) -> int:
        if prediction["task"] not in self.data:
            raise NotFoundError(f"Task {prediction['task']} does not exist.")
        pk = self._new_id()
        self._predictions[pk] = {**prediction, "id": pk}
        return pk

    def update_prediction(self, prediction: int, changes: Mapping[str, Any]) -> None:
        if prediction not in self._predictions:
            raise NotFoundError(f"Prediction {prediction} does not exist.")
        self._predictions[prediction] |= changes

    def delete_prediction(self, prediction: int) -> None:
        self._predictions.pop(prediction, None)

    # -- what people do -----------------------------------------------------------------------------------------

    def annotate(self, task: int, *choices: str, by: int = 1, skip: bool = False) -> dict[str, Any]:
        """Submit, or skip, and return the annotation as an event carries it."""
        pk = self._new_id()
        result = [{"from_name": "topic", "to_name": "text", "type": "choices", "value": {"choices": list(choices)}}]
        self.raw_annotations[pk] = {
            "id": pk,
            "task": task,
            "completed_by": by,
            "updated_at": _time(pk),
            "was_cancelled": skip,
            "ground_truth": False,
            "result": result if choices else [],
        }
        self._changed[task] = pk
        return self.raw_annotations[pk]

    def edit(self, task: int, data: object) -> None:
        """Add a task, or change its data."""
        self.data[task] = data
        self._changed[task] = self._new_id()

    def _pages(self, tasks: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
        for begin in range(0, len(tasks), _PAGE):
            yield [self._task(task) for task in tasks[begin : begin + _PAGE]]

    def _task(self, task: int) -> dict[str, Any]:
        annotations = [raw for raw in self.raw_annotations.values() if raw["task"] == task]
        skipped = sum(bool(raw.get("was_cancelled")) for raw in annotations)
        return {
            "id": task,
            "data": self.data[task],
            "updated_at": _time(self._changed.get(task, 0)),
            "total_annotations": len(annotations) - skipped,
            "cancelled_annotations": skipped,
            "annotations": annotations,
        }

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id


def _time(number: int) -> str:
    return (_BEGIN + timedelta(seconds=number)).isoformat()
