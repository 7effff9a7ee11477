"""All that is said to Label Studio."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import httpx

from prepal import records
from prepal.errors import PrepalError
from prepal.labels.annotation import Annotation
from prepal.labels.events import read_annotation

log = logging.getLogger(__name__)

UNCERTAINTY_SAMPLING = "Uncertainty sampling"
_PAGE = 1000
# So many tasks are asked for by their ids in one go: an address has little room.
_CHOSEN = 100
# Fields of a task that tell whether anything has happened to it, and those of an annotation that bear on a label.
_STATE = ["id", "updated_at", "total_annotations", "cancelled_annotations"]
_ANNOTATION = ["annotations", "result", "completed_by", "was_cancelled", "ground_truth", "created_at"]
_JSON = {"content-type": "application/json"}
_TIMEOUT_S = 60.0
# What Label Studio does for all tasks of a project takes it up to 12 ms a task (import/predictions, in small calls) on
# two busy cores; a small project must not be waited for as long as a large one.
_TASK_TIMEOUT_S, _LONGEST_TIMEOUT_S = 0.02, 1800.0


class NotFoundError(PrepalError):
    """Label Studio itself says that it does not have (any more) what was asked for."""


class UnavailableError(PrepalError):
    """Label Studio does not answer, or something in front of it does; it is worth trying again soon."""


class LabelStudio:
    """Label Studio's HTTP API, as one user; safe to use from several threads."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._sizes: dict[int, int] = {}
        self._users: dict[str, int] = {}
        if not token:
            raise PrepalError(
                "LABEL_STUDIO_API_KEY is empty: set it to a token from Label Studio's Account & Settings page."
            )
        # It takes seconds on a busy machine, which commands that only name what is wrong need not wait for.
        from label_studio_sdk.client import LabelStudio as Sdk
        from label_studio_sdk.core.api_error import ApiError

        try:
            sdk: Any = Sdk(base_url=self.url, api_key=token, timeout=_TIMEOUT_S)  # type: ignore[no-untyped-call]
            self._http = sdk._client_wrapper.httpx_client
        except ApiError as error:
            raise PrepalError(
                f"Label Studio's token cannot be used ({_detail(error.body)}): make a new one."
            ) from error

    def close(self) -> None:
        """Let go of all connections."""
        self._http.httpx_client.close()

    # -- projects -----------------------------------------------------------------------------------------------

    def version(self) -> str:
        """Label Studio's release, such as `1.23.2`."""
        return str(self._call("GET", "api/version").get("release", ""))

    def projects(self) -> list[dict[str, Any]]:
        """All projects that the token's user sees."""
        return list(self._call("GET", "api/projects/", params={"page_size": 1000})["results"])

    def project(self, project: int) -> dict[str, Any]:
        """One project, with its counts."""
        found = self._dict(self._call("GET", f"api/projects/{project}/"))
        self._sizes[project] = int(found.get("task_number") or 0)
        return found

    def create_project(self, title: str, label_config: str) -> int:
        """Make a project; returns its id."""
        return int(self._call("POST", "api/projects/", json={"title": title, "label_config": label_config})["id"])

    def update_project(self, project: int, **changes: object) -> None:
        """Change fields of a project."""
        self._call("PATCH", f"api/projects/{project}/", json=changes)

    # -- the ML backend and its webhook -------------------------------------------------------------------------

    def backends(self, project: int) -> list[dict[str, Any]]:
        """The ML backends of a project."""
        return list(self._call("GET", "api/ml", params={"project": project}))

    def save_backend(self, backend: int | None, fields: Mapping[str, object]) -> dict[str, Any]:
        """Connect an ML backend, or change one. Label Studio calls its /health and /setup while we wait."""
        if backend is None:
            return self._dict(self._call("POST", "api/ml", json=dict(fields)))
        return self._dict(self._call("PATCH", f"api/ml/{backend}", json=dict(fields)))

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

    # -- tasks and annotations ----------------------------------------------------------------------------------

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> int:
        """Import tasks, each an object of the fields that the label config names; returns how many."""
        path, timeout = f"api/projects/{project}/import", self._timeout(project, len(tasks))
        answer = self._call("POST", path, json=list(tasks), timeout=timeout)
        return int(answer["task_count"])

    def tasks(self, project: int, *, after: int = 0) -> Iterator[list[dict[str, Any]]]:
        """Pages of the tasks whose id is larger than `after`, ids ascending: what `states` has, and `data`."""
        return self._pages(project, [*_STATE, "data"], after)

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

    def postponed(self, tasks: Iterable[int]) -> dict[int, set[int]]:
        """Who postponed tasks, by task, where somebody did."""
        found: dict[int, set[int]] = {}
        for task in tasks:
            try:
                drafts = self._call("GET", f"api/tasks/{task}/drafts")
            except NotFoundError:
                continue
            people = {self._user(str(draft.get("user"))) for draft in drafts if draft.get("was_postponed")}
            if people:
                found[task] = people
        return found

    def annotations(self, project: int) -> dict[int, Annotation]:
        """All annotations of a project, skipped ones where the export has them, by id."""
        return {
            int(raw["id"]): read_annotation(raw, int(task["id"]))
            for task in self.export(project)
            for raw in task.get("annotations", [])
        }

    def export(self, project: int) -> list[dict[str, Any]]:
        """Label Studio's own JSON export of a project, of which Label Studio keeps a copy on its disk."""
        return list(
            self._call(
                "GET",
                f"api/projects/{project}/export",
                params={"exportType": "JSON"},
                timeout=self._timeout(project),
            )
        )

    # -- predictions --------------------------------------------------------------------------------------------

    def predictions(self, *, project: int | None = None, task: int | None = None) -> list[dict[str, Any]]:
        """The predictions of a project or of one task."""
        params = {"project": project} if project is not None else {"task": task}
        return list(self._call("GET", "api/predictions/", params=params, timeout=self._timeout(project)))

    def has_predictions(self, project: int, model_version: str) -> bool:
        """Whether a project has predictions of a version."""
        return model_version in self._call("GET", f"api/projects/{project}/model-versions/")

    def create_predictions(self, project: int, predictions: Sequence[Mapping[str, Any]]) -> None:
        """Make many predictions in one call.

        Raises:
            PrepalError: Label Studio stored fewer than it was sent, which it does without an error of its own.
        """
        answer = self._call(
            "POST",
            f"api/projects/{project}/import/predictions",
            json=list(predictions),
            timeout=self._timeout(project, len(predictions)),
        )
        if answer.get("created") != len(predictions):
            raise PrepalError(
                f"Label Studio stored {answer.get('created')} of {len(predictions)} predictions of project {project}: "
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

    # -- helpers ------------------------------------------------------------------------------------------------

    def _timeout(self, project: int | None, items: int = 0) -> float:
        """How long Label Studio may take for something that it does with all tasks of a project, or with many items."""
        most = max(items, self._sizes.get(project or 0, 0))
        return min(_TIMEOUT_S + _TASK_TIMEOUT_S * most, _LONGEST_TIMEOUT_S)

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
        page = {"project": project, "page": 1, "page_size": _PAGE, "query": ordered, **params}
        return list(self._call("GET", "api/tasks", params=page).get("tasks", []))

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: object = None,
        timeout: float = _TIMEOUT_S,
    ) -> Any:  # noqa: ANN401
        from label_studio_sdk.core.api_error import ApiError

        # What changes something is not repeated by itself: an import that timed out may have happened.
        options: Any = {"timeout_in_seconds": timeout, "max_retries": 1 if method == "GET" else 0}
        content: Any = {} if json is None else {"content": records.dumps(json), "headers": _JSON}
        try:
            answer = self._http.request(path, method=method, params=params, request_options=options, **content)
        except httpx.HTTPError as error:
            raise UnavailableError(
                f"Label Studio at {self.url} does not answer ({type(error).__name__}): check LABEL_STUDIO_URL and "
                "that it runs."
            ) from error
        except ApiError as error:
            raise PrepalError(f"Label Studio refused the token ({_detail(error.body)}): make a new one.") from error
        body = _json(answer)
        if answer.status_code >= 400:
            raise self._error(method, path, answer, body)
        if body is None and answer.content:
            raise UnavailableError(
                f"What answers at {self.url} to {method} {path} is not JSON of Label Studio's: check LABEL_STUDIO_URL, "
                "and what is in front of it."
            )
        return body

    def _error(self, method: str, path: str, answer: httpx.Response, body: Any) -> PrepalError:  # noqa: ANN401
        status = answer.status_code
        detail = answer.reason_phrase if body is None else _detail(body)
        if status == 401:
            return PrepalError(
                f"Label Studio at {self.url} does not know the token ({detail}): check LABEL_STUDIO_API_KEY; legacy "
                "tokens must be switched on in the organisation's settings."
            )
        if "reserved" in detail.lower() or "private" in detail.lower():
            return PrepalError(
                f"Label Studio blocks private addresses ({detail}): start it with ML_BLOCK_LOCAL_IP=false and "
                "SSRF_PROTECTION_ENABLED=false."
            )
        said = f"Label Studio answered {status} to {method} {path}: {detail}"
        # A proxy answers 404 as well, when nobody is behind it; Label Studio's own answer names its release.
        is_own = isinstance(body, Mapping) and "version" in body and body.get("status_code") == status
        if status == 404 and is_own:
            return NotFoundError(said)
        return UnavailableError(said) if status in (404, 408, 429) or status >= 500 else PrepalError(said)

    @staticmethod
    def _dict(answer: Any) -> dict[str, Any]:  # noqa: ANN401
        return dict(answer)


def _json(answer: httpx.Response) -> Any:  # noqa: ANN401
    """The content of an answer; None where it has none, or none that is JSON."""
    try:
        return records.loads(answer.content) if answer.content else None
    except ValueError:
        return None


def _detail(body: object) -> str:
    """What Label Studio says went wrong, on one line and without markup."""
    if isinstance(body, Mapping):
        found = body.get("validation_errors") or body.get("detail") or body
        body = found if isinstance(found, str) else json.dumps(found)
    return records.readable(" ".join(str(body).split())[:500])
