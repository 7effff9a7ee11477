"""All that is said to Label Studio."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
from label_studio_sdk.client import LabelStudio as Sdk
from label_studio_sdk.core.api_error import ApiError

from prepal import records
from prepal.errors import PrepalError
from prepal.events import read_annotation
from prepal.project import Annotation

log = logging.getLogger(__name__)

UNCERTAINTY_SAMPLING = "Uncertainty sampling"
_PAGE = 1000
_JSON = {"content-type": "application/json"}
_TIMEOUT_S = 60.0
# One bulk call of predictions takes Label Studio minutes when a project is large.
_BULK_TIMEOUT_S = 1800.0


class NotFoundError(PrepalError):
    """Label Studio does not have (any more) what was asked for."""


class LabelStudio:
    """Label Studio's HTTP API, as one user; safe to use from several threads."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        if not token:
            raise PrepalError(
                "LABEL_STUDIO_API_KEY is empty: set it to a token from Label Studio's Account & Settings page."
            )
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
        return self._dict(self._call("GET", f"api/projects/{project}/"))

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

    # -- tasks and annotations ----------------------------------------------------------------------------------

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> int:
        """Import tasks, each an object of the fields that the label config names; returns how many."""
        answer = self._call("POST", f"api/projects/{project}/import", json=list(tasks), timeout=_BULK_TIMEOUT_S)
        return int(answer["task_count"])

    def tasks(self, project: int, *, after: int = 0) -> Iterator[list[dict[str, Any]]]:
        """Pages of `{"id", "data"}` of the tasks whose id is larger than `after`, ids ascending."""
        last = after
        while True:
            page = self._tasks_page(project, last)
            if not page:
                return
            yield page
            last = max(int(task["id"]) for task in page)

    def annotations(self, project: int) -> dict[int, Annotation]:
        """All annotations of a project, skipped ones where the export has them, by id."""
        tasks = self._call(
            "GET", f"api/projects/{project}/export", params={"exportType": "JSON"}, timeout=_BULK_TIMEOUT_S
        )
        return {
            int(raw["id"]): read_annotation(raw, int(task["id"]))
            for task in tasks
            for raw in task.get("annotations", [])
        }

    def export(self, project: int) -> list[dict[str, Any]]:
        """Label Studio's own JSON export of a project."""
        return list(
            self._call(
                "GET",
                f"api/projects/{project}/export",
                params={"exportType": "JSON"},
                timeout=_BULK_TIMEOUT_S,
            )
        )

    # -- predictions --------------------------------------------------------------------------------------------

    def predictions(self, *, project: int | None = None, task: int | None = None) -> list[dict[str, Any]]:
        """The predictions of a project or of one task."""
        params = {"project": project} if project is not None else {"task": task}
        return list(self._call("GET", "api/predictions/", params=params, timeout=_BULK_TIMEOUT_S))

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
            timeout=_BULK_TIMEOUT_S,
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

    def delete_prediction(self, prediction: int) -> None:
        """Delete a prediction."""
        self._call("DELETE", f"api/predictions/{prediction}/")

    # -- helpers ------------------------------------------------------------------------------------------------

    def _tasks_page(self, project: int, after: int) -> list[dict[str, Any]]:
        query = {
            "filters": {
                "conjunction": "and",
                "items": [{"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": after}],
            },
            "ordering": ["tasks:id"],
        }
        params = {
            "project": project,
            "include": "id,data",
            "page": 1,
            "page_size": _PAGE,
            "query": json.dumps(query),
        }
        return list(self._call("GET", "api/tasks", params=params).get("tasks", []))

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: object = None,
        timeout: float = _TIMEOUT_S,
    ) -> Any:  # noqa: ANN401
        # A POST is not repeated by itself: an import that timed out may have happened.
        options: Any = {"timeout_in_seconds": timeout, "max_retries": 0 if method == "POST" else 2}
        body: Any = {} if json is None else {"content": records.dumps(json), "headers": _JSON}
        try:
            answer = self._http.request(path, method=method, params=params, request_options=options, **body)
        except httpx.HTTPError as error:
            raise PrepalError(
                f"Label Studio at {self.url} does not answer ({type(error).__name__}): check LABEL_STUDIO_URL and "
                "that it runs."
            ) from error
        except ApiError as error:
            raise PrepalError(f"Label Studio refused the token ({_detail(error.body)}): make a new one.") from error
        if answer.status_code >= 400:
            raise self._error(method, path, answer)
        try:
            return records.loads(answer.content) if answer.content else None
        except ValueError as error:
            raise PrepalError(
                f"What answers at {self.url} to {method} {path} is not Label Studio ({error}): check LABEL_STUDIO_URL."
            ) from error

    def _error(self, method: str, path: str, answer: httpx.Response) -> PrepalError:
        try:
            detail = _detail(records.loads(answer.content))
        except ValueError:
            detail = answer.reason_phrase
        if answer.status_code == 401:
            return PrepalError(
                f"Label Studio at {self.url} does not know the token ({detail}): check LABEL_STUDIO_API_KEY; legacy "
                "tokens must be switched on in the organisation's settings."
            )
        if "reserved" in detail.lower() or "private" in detail.lower():
            return PrepalError(
                f"Label Studio blocks private addresses ({detail}): start it with ML_BLOCK_LOCAL_IP=false and "
                "SSRF_PROTECTION_ENABLED=false."
            )
        kind = NotFoundError if answer.status_code == 404 else PrepalError
        return kind(f"Label Studio answered {answer.status_code} to {method} {path}: {detail}")

    @staticmethod
    def _dict(answer: Any) -> dict[str, Any]:  # noqa: ANN401
        return dict(answer)


def _detail(body: object) -> str:
    """What Label Studio says went wrong, on one line and without markup."""
    if isinstance(body, Mapping):
        found = body.get("validation_errors") or body.get("detail") or body
        body = found if isinstance(found, str) else json.dumps(found)
    return records.readable(" ".join(str(body).split())[:500])
