"""Label Studio as methods: projects, tasks, annotations, predictions, backends and webhooks."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prepal.errors import PrepalError
from prepal.label_studio.api import TIMEOUT_S, Api, NotFoundError, TooLargeError
from prepal.labels.events import Annotation, read_annotation

log = logging.getLogger(__name__)

UNCERTAINTY_SAMPLING = "Uncertainty sampling"
# So Label Studio begins to say that it has no task to serve.
_NO_TASKS = "There are no tasks"
_PAGE = 1000
# So many tasks are asked for by their ids in one go: an address has little room.
_CHOSEN = 100
# Fields of a task that tell whether anything has happened to it, and those of an annotation that bear on a label.
_STATE = ["id", "updated_at", "total_annotations", "cancelled_annotations"]
_ANNOTATION = ["annotations", "result", "completed_by", "was_cancelled", "ground_truth", "created_at", "lead_time"]
# What Label Studio does for all tasks of a project takes it up to 12 ms a task (import/predictions, in small calls) on
# two busy cores; a small project must not be waited for as long as a large one.
_TASK_TIMEOUT_S, _LONGEST_TIMEOUT_S = 0.02, 1800.0


class LabelStudio(Api):
    """What is asked of Label Studio, and what it is told, as one user; safe to use from several threads."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(url, token)
        self._sizes: dict[int, int] = {}
        self._users: dict[str, int] = {}

    def version(self) -> str:
        """Label Studio's release, such as `1.23.2`."""
        return str(self._call("GET", "api/version").get("release", ""))

    def projects(self) -> list[dict[str, Any]]:
        """All projects that the token's user sees."""
        return list(self._call("GET", "api/projects/", params={"page_size": 1000})["results"])

    def project(self, project: int) -> dict[str, Any]:
        """One project, with its counts."""
        settings = dict(self._call("GET", f"api/projects/{project}/"))
        self._sizes[project] = int(settings.get("task_number") or 0)
        return settings

    def create_project(self, title: str, label_config: str) -> int:
        """Make a project; returns its id."""
        return int(self._call("POST", "api/projects/", json={"title": title, "label_config": label_config})["id"])

    def update_project(self, project: int, **changes: object) -> None:
        """Change fields of a project."""
        self._call("PATCH", f"api/projects/{project}/", json=changes)

    def backends(self, project: int) -> list[dict[str, Any]]:
        """The ML backends of a project."""
        return list(self._call("GET", "api/ml", params={"project": project}))

    def save_backend(self, backend: int | None, fields: Mapping[str, object]) -> dict[str, Any]:
        """Connect an ML backend, or change one. Label Studio calls its /health and /setup while we wait."""
        if backend is None:
            return dict(self._call("POST", "api/ml", json=dict(fields)))
        return dict(self._call("PATCH", f"api/ml/{backend}", json=dict(fields)))

    def webhooks(self, project: int) -> list[dict[str, Any]]:
        """The webhooks of a project."""
        return list(self._call("GET", "api/webhooks/", params={"project": project}))

    def save_webhook(self, webhook: int | None, fields: Mapping[str, object]) -> None:
        """Make a webhook, or change one."""
        if webhook is None:
            self._call("POST", "api/webhooks/", json=dict(fields))
        else:
            self._call("PATCH", f"api/webhooks/{webhook}/", json=dict(fields))

    def delete_backend(self, backend: int) -> None:
        """Disconnect an ML backend."""
        self._call("DELETE", f"api/ml/{backend}")

    def delete_webhook(self, webhook: int) -> None:
        """Delete a webhook."""
        self._call("DELETE", f"api/webhooks/{webhook}/")

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> int:
        """Import tasks, each an object of the fields that the label config names; returns how many."""
        return sum(int(answer["task_count"]) for _, answer in self._import(project, "import", tasks))

    def tasks(self, project: int, *, after: int = 0, with_meta: bool = False) -> Iterator[list[dict[str, Any]]]:
        """Pages of the tasks whose id is larger than `after`, ids ascending: what `states` has, `data`, and `meta`."""
        return self._pages(project, [*_STATE, "data", *(["meta"] if with_meta else [])], after)

    def states(self, project: int) -> Iterator[list[dict[str, Any]]]:
        """Pages of all tasks, ids ascending: `id`, when it was changed last, and how many annotations it has.

        Whatever happens to a task or its annotations changes its `updated_at`.
        """
        return self._pages(project, _STATE, 0)

    def whole_tasks(self, project: int, tasks: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
        """Pages of chosen tasks with their data and all their annotations, skipped ones too.

        The export would be quicker, but leaves two files on Label Studio's disk each time.
        """
        params = {"fields": "all", "include": ",".join([*_STATE, "data", *_ANNOTATION])}
        for start in range(0, len(tasks), _CHOSEN):
            chosen = {"all": False, "included": list(tasks[start : start + _CHOSEN])}
            yield self._tasks_page(project, {"selectedItems": chosen}, params)

    def next_task(self, project: int) -> dict[str, Any] | None:
        """The task that the user is served next, and has to themselves for a day; None when none is left."""
        try:
            return dict(self._call("GET", f"api/projects/{project}/next"))
        except NotFoundError as error:
            # A project that does not exist is a 404 too.
            if _NO_TASKS in str(error):
                return None
            raise

    def users(self) -> dict[int, str]:
        """All users that the token may see: their names, or else their addresses, by id."""
        return {
            int(user["id"]): f"{user.get('first_name') or ''} {user.get('last_name') or ''}".strip()
            or str(user.get("email") or user.get("username") or "")
            for user in self._call("GET", "api/users/")
        }

    def create_annotation(self, task: int, annotation: Mapping[str, Any]) -> None:
        """Submit an annotation of a task; Label Studio calls its webhooks while we wait."""
        self._call("POST", f"api/tasks/{task}/annotations/", json=dict(annotation))

    def postponed(self, tasks: Iterable[int]) -> dict[int, set[int]]:
        """Who postponed tasks, by task, where somebody did."""
        by_task: dict[int, set[int]] = {}
        for task in tasks:
            try:
                drafts = self._call("GET", f"api/tasks/{task}/drafts")
            except NotFoundError:
                continue
            people = {self._user(str(draft.get("user"))) for draft in drafts if draft.get("was_postponed")}
            if people:
                by_task[task] = people
        return by_task

    def annotations(self, project: int) -> dict[int, Annotation]:
        """All annotations of a project, skipped ones where the export has them, by id."""
        return {
            int(raw["id"]): read_annotation(raw, int(task["id"]))
            for task in self.export(project)
            for raw in task.get("annotations", [])
        }

    def export(self, project: int) -> list[dict[str, Any]]:
        """Label Studio's own JSON export of a project, of which Label Studio keeps a copy on its disk."""
        path, timeout = f"api/projects/{project}/export", self._timeout(project)
        return list(self._call("GET", path, params={"exportType": "JSON"}, timeout=timeout))

    def predictions(self, *, project: int | None = None, task: int | None = None) -> list[dict[str, Any]]:
        """The predictions of a project or of one task."""
        params = {"project": project} if project is not None else {"task": task}
        return list(self._call("GET", "api/predictions/", params=params, timeout=self._timeout(project)))

    def has_predictions(self, project: int, model_version: str) -> bool:
        """Whether a project has predictions of a version."""
        return model_version in self._call("GET", f"api/projects/{project}/model-versions/")

    def create_predictions(self, project: int, predictions: Sequence[Mapping[str, Any]]) -> None:
        """Make many predictions, in one call where something in front of Label Studio does not find it too large.

        Raises:
            PrepalError: Label Studio stored fewer than it was sent, which it does without an error of its own.
        """
        for count, answer in self._import(project, "import/predictions", predictions):
            if answer.get("created") != count:
                raise PrepalError(
                    f"Label Studio stored {answer.get('created')} of {count} predictions of project {project}: "
                    "the label config has probably changed meanwhile; the next round tries again."
                )

    def create_prediction(self, prediction: Mapping[str, Any]) -> int:
        """Make one prediction; returns its id. NotFoundError when its task is gone."""
        try:
            return int(self._call("POST", "api/predictions/", json=dict(prediction))["id"])
        except PrepalError as error:
            if "object does not exist" in str(error):
                raise NotFoundError(str(error)) from error
            raise

    def update_prediction(self, prediction: int, changes: Mapping[str, Any]) -> None:
        """Change a prediction in place; the very next `next` goes by it."""
        self._call("PATCH", f"api/predictions/{prediction}/", json=dict(changes))

    def delete_predictions(self, project: int, model_version: str) -> None:
        """Delete all predictions of a version."""
        path, timeout = f"api/projects/{project}/model-versions/", self._timeout(project)
        self._call("DELETE", path, json={"model_version": model_version}, timeout=timeout)

    def delete_prediction(self, prediction: int) -> None:
        """Delete a prediction."""
        self._call("DELETE", f"api/predictions/{prediction}/")

    def tabs(self, project: int) -> list[dict[str, Any]]:
        """The tabs of a project's Data Manager, each with its `id` and `data`: title, filters, ordering, columns."""
        tabs = self._call("GET", "api/dm/views/", params={"project": project})
        return [{**tab, "data": dict(tab.get("data") or {})} for tab in tabs]

    def columns(self, project: int) -> list[dict[str, Any]]:
        """The columns that such a tab can show."""
        return list(self._call("GET", "api/dm/columns/", params={"project": project})["columns"])

    def save_tab(self, tab: int | None, project: int, data: Mapping[str, Any]) -> int:
        """Make a tab, or change one, whose data are then these; returns its id. NotFoundError when it is gone."""
        method, path = ("POST", "api/dm/views/") if tab is None else ("PATCH", f"api/dm/views/{tab}/")
        return int(self._call(method, path, json={"project": project, "data": dict(data)})["id"])

    def delete_tab(self, tab: int) -> None:
        """Delete a tab."""
        self._call("DELETE", f"api/dm/views/{tab}/")

    def _import(
        self, project: int, what: str, rows: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Send rows, as many at once as pass; yields with each answer how many it is about."""
        start, most = 0, len(rows)
        while start < len(rows):
            part = list(rows[start : start + most])
            timeout = self._timeout(project, len(part))
            try:
                answer = self._call("POST", f"api/projects/{project}/{what}", json=part, timeout=timeout)
            except TooLargeError as error:
                if len(part) == 1:
                    raise
                most = -(-len(part) // 2)
                log.warning("%d rows are too many for one call, %d come next: %s", len(part), most, error)
                continue
            yield len(part), answer
            start += len(part)

    def _timeout(self, project: int | None, items: int = 0) -> float:
        """How long Label Studio may take for something that it does with all tasks of a project, or with many items."""
        most = max(items, self._sizes.get(project or 0, 0))
        return min(TIMEOUT_S + _TASK_TIMEOUT_S * most, _LONGEST_TIMEOUT_S)

    def _user(self, email: str) -> int:
        """The id of a user; 0 of one that is not known."""
        if email not in self._users:
            self._users = {str(user["email"]): int(user["id"]) for user in self._call("GET", "api/users/")}
            self._users.setdefault(email, 0)
        return self._users[email]

    def _pages(self, project: int, fields: Sequence[str], after: int) -> Iterator[list[dict[str, Any]]]:
        while True:
            newer = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": after}
            query = {"filters": {"conjunction": "and", "items": [newer]}}
            page = self._tasks_page(project, query, {"include": ",".join(fields)})
            if not page:
                return
            yield page
            after = max(int(task["id"]) for task in page)

    def _tasks_page(self, project: int, query: Mapping[str, Any], params: Mapping[str, str]) -> list[dict[str, Any]]:
        ordered = json.dumps({**query, "ordering": ["tasks:id"]})
        # A text in a bucket stays the address that it is, whichever of its own Label Studio would put there.
        page = {"project": project, "page": 1, "page_size": _PAGE, "query": ordered, "resolve_uri": "false", **params}
        return list(self._call("GET", "api/tasks", params=page).get("tasks", []))
