"""Label Studio as its admins and annotators use it, through its own API."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import pytest

PASSWORD = "secret-pass-1"
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class LabelStudioApi:
    """What admins and annotators do in Label Studio, through its own API."""

    def __init__(self, url: str, admin_token: str) -> None:
        self.url = url
        self._sessions: dict[str, httpx.Client] = {}
        self._admin = self.session(admin_token)

    def session(self, token: str) -> httpx.Client:
        """A client that is signed in with a token."""
        if token not in self._sessions:
            headers = {"Authorization": f"Token {token}"}
            self._sessions[token] = httpx.Client(base_url=self.url, headers=headers, timeout=60)
        return self._sessions[token]

    def call(self, method: str, path: str, token: str | None = None, **request: Any) -> Any:
        """Any request, as the admin unless a token says who; anything but success is an error."""
        session = self._admin if token is None else self.session(token)
        answer = session.request(method, path, **request)
        if answer.is_error:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def create_project(self, label_config: str, **settings: Any) -> int:
        fields = {"title": "Test", "label_config": label_config, **settings}
        return int(self.call("POST", "/api/projects/", json=fields)["id"])

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> int:
        """Import the data of tasks; returns how many came in."""
        answer = self.call("POST", f"/api/projects/{project}/import", json=[{"data": data} for data in tasks])
        return int(answer["task_count"])

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """All tasks, by id."""
        tasks: list[dict[str, Any]] = []
        page = 1
        while True:
            query = {"project": project, "include": "id,data,is_labeled", "page_size": 1000, "page": page}
            answer = self.call("GET", "/api/tasks", params=query)
            tasks += answer["tasks"]
            if not answer["tasks"] or len(tasks) >= answer["total"]:
                return sorted(tasks, key=lambda task: task["id"])
            page += 1

    def next(self, project: int, token: str | None = None) -> dict[str, Any] | None:
        """The task that Label Studio serves, with its lock taken; None when it says that no task is left."""
        session = self._admin if token is None else self.session(token)
        answer = session.get(f"/api/projects/{project}/next")
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json()

    def annotate(
        self,
        task: int,
        *choices: str,
        token: str | None = None,
        from_name: str = "topic",
        to_name: str = "text",
        **fields: Any,
    ) -> int:
        """Submit an annotation; fields such as `was_cancelled=True` are Label Studio's own."""
        chosen = {
            "from_name": from_name,
            "to_name": to_name,
            "type": "choices",
            "value": {"choices": list(choices)},
        }
        body = {"result": [chosen] if choices else [], **fields}
        return int(self.call("POST", f"/api/tasks/{task}/annotations/", token, json=body)["id"])

    def update_annotation(self, annotation: int, **fields: Any) -> None:
        self.call("PATCH", f"/api/annotations/{annotation}/", json=fields)

    def delete_annotation(self, annotation: int) -> None:
        self.call("DELETE", f"/api/annotations/{annotation}/")

    def predictions(self, project: int) -> list[dict[str, Any]]:
        """All predictions of a project."""
        return self.call("GET", "/api/predictions/", params={"project": project})

    def new_annotator(self, email: str) -> str:
        """Sign up through the invitation link, as a person would; returns the new user's token."""
        invitation = self.call("GET", "/api/invite")["invite_url"]
        with httpx.Client(base_url=self.url, timeout=60) as browser:
            form = browser.get(invitation)
            token = CSRF.search(form.text)
            assert token, f"no sign-up form at {invitation}"
            answers = {"csrfmiddlewaretoken": token[1], "email": email, "password": PASSWORD}
            answers |= {"how_find_us": "", "elaborate": ""}
            signed_up = browser.post(invitation, data=answers, headers={"Referer": self.url})
            assert signed_up.status_code == 302, signed_up.text[:500]
            return str(browser.get("/api/current-user/token").raise_for_status().json()["token"])

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()


def wait_until(condition: Callable[[], Any], timeout_s: float = 60, interval_s: float = 0.1) -> Any:
    """Return the first true value of the condition; fail when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not so within {timeout_s} s: {getattr(condition, '__name__', condition)}")
        time.sleep(interval_s)
    return value
