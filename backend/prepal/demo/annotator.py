"""Plays an annotator: takes the next task from Label Studio, answers it, submits, like a person in the browser."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from prepal.errors import PrepalError

# A save waits for the webhook and, on sqlite, for other writers.
_TIMEOUT_S = 60.0
_NO_TASKS = "There are no tasks"


@dataclass(frozen=True)
class Labelled:
    """A task that was annotated, its text, and the topic that was chosen."""

    task_id: int
    text: str
    topic: str


class Annotator:
    """One annotator of one project, who knows the answer to every text."""

    def __init__(
        self,
        label_studio_url: str,
        token: str,
        project: int,
        answers: Mapping[str, str],
        from_name: str = "topic",
        to_name: str = "text",
    ) -> None:
        """Sign in with a legacy token; `answers` maps the text of every task to its topic."""
        self._url = label_studio_url.rstrip("/")
        self._project = project
        self._answers = answers
        self._from_name = from_name
        self._to_name = to_name
        self._http = httpx.Client(base_url=self._url, headers={"Authorization": f"Token {token}"}, timeout=_TIMEOUT_S)

    def annotate_next(self) -> Labelled | None:
        """Annotate the task that Label Studio serves next; None when no tasks are left.

        Raises:
            PrepalError: Label Studio does not answer, refuses, or serves a text without an answer.
        """
        began = time.monotonic()
        served = self._call("GET", f"/api/projects/{self._project}/next")
        # A project that does not exist is a 404 too.
        if served.status_code == httpx.codes.NOT_FOUND and _NO_TASKS in served.text:
            return None
        self._expect_success(served)
        task = served.json()
        text = task["data"].get(self._to_name)
        topic = self._answers.get(text)
        if topic is None:
            raise PrepalError(
                f"Task {task['id']} of project {self._project} has the text {text!r:.60}, to which the played "
                "annotator knows no answer: import the texts that it was given."
            )
        choice = {
            "from_name": self._from_name,
            "to_name": self._to_name,
            "type": "choices",
            "value": {"choices": [topic]},
        }
        annotation = {"result": [choice], "lead_time": time.monotonic() - began}
        self._expect_success(self._call("POST", f"/api/tasks/{task['id']}/annotations/", annotation))
        return Labelled(task["id"], text, topic)

    def _call(self, method: str, path: str, content: dict[str, Any] | None = None) -> httpx.Response:
        try:
            return self._http.request(method, path, json=content)
        except httpx.HTTPError as error:
            raise PrepalError(
                f"Label Studio at {self._url} does not answer ({type(error).__name__}): check that it runs."
            ) from error

    def _expect_success(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        said = _detail(answer)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise PrepalError(
                f"Label Studio at {self._url} does not know the token ({said}): give a legacy token, and switch "
                "legacy tokens on in the organisation's settings."
            )
        raise PrepalError(
            f"Label Studio answered {answer.status_code} to {answer.request.method} {answer.request.url.path} "
            f"({said}): check that project {self._project} exists and has a choice for every answer."
        )


def _detail(answer: httpx.Response) -> str:
    """What Label Studio says went wrong; where it answers with a page, only the status's name."""
    try:
        body = answer.json()
    except ValueError:
        return answer.reason_phrase
    if not isinstance(body, dict):
        return str(body)
    return str(body.get("validation_errors") or body.get("detail") or body)
