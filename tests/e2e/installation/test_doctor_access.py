"""`prepal doctor` where somebody is not let in, and where Label Studio answers what this one never does."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from tests.helpers import free_port
from tests.helpers.api import wait_until
from tests.helpers.ward import Fault, Ward, found_and_mended, webhook_with

from prepal.doctor.case import Case
from prepal.label_studio.connect import connect
from prepal.project import Project
from prepal.settings import Settings

USER, PASSWORD = "prepal", "secret-pass-of-the-backend"
GUARDED_FAULTS = [
    Fault("webhook credentials", "prepal connect", webhook_with(headers={}), fixed=True),
    Fault("Basic auth", "the same BASIC_AUTH_USER", settings={"basic_auth_pass": "a wrong one"}),
]


def test_faults_of_a_backend_that_asks_for_credentials_are_found(ward: Ward) -> None:
    def with_password(password: str, url: str) -> Settings:
        changes = {"basic_auth_user": USER, "basic_auth_pass": password, "prepal_backend_url": url}
        return ward.settings.model_copy(update=changes)

    url = f"http://127.0.0.1:{free_port()}"
    project = ward.loop.api.create_project(ward.described()["label_config"])
    guarded = Ward(ward.loop, with_password(PASSWORD, url), project)
    known = Project(ward.loop.redis, project)
    # Without this the learner connects what it does not know to the installation's own backend.
    known.set_info(replace(known.info, connected=True))
    with backend_of(guarded.settings):
        connect(known, Case(guarded.settings).label_studio, url, USER, PASSWORD)
        for fault in GUARDED_FAULTS:
            found_and_mended(guarded, fault)
            assert guarded.look(fault.name).state == "ok"
        assert guarded.look("backend reachable").state == "ok"
    gone = guarded.look("backend reachable")
    assert gone.state == "problem"
    assert "prepal serve" in gone.remedy
    guarded = replace(guarded, settings=with_password("another password", url))
    with backend_of(guarded.settings):
        locked_out = guarded.look("backend reachable")
        assert locked_out.state == "problem"
        assert "--fix" in locked_out.remedy
        assert locked_out.fix is not None
        locked_out.fix()
        assert guarded.look("backend reachable").state == "ok"
        ward.loop.api.call("DELETE", f"/api/projects/{project}/")


@pytest.mark.parametrize(
    ("name", "remedy", "path", "answer"),
    [
        ("Label Studio version", "1.12", "/api/version", {"body": {"release": "1.11.0"}}),
        ("clock", "NTP", "/api/version", {"late": timedelta(minutes=10)}),
        (
            "private addresses",
            "SSRF_PROTECTION_ENABLED=false",
            "/api/webhooks/",
            {"status": 403, "body": {"detail": "URL resolves to a reserved network address (block: 127.0.0.0/8)"}},
        ),
        ("rights", "may change", "/api/ml", {"status": 403, "body": {"detail": "You do not have permission."}}),
    ],
)
def test_what_this_label_studio_cannot_be_made_to_answer_is_found_when_it_does(
    ward: Ward, name: str, remedy: str, path: str, answer: dict[str, Any]
) -> None:
    with altered(ward.settings.label_studio_url, path, **answer) as url:
        found = ward.look(name, label_studio_url=url)
    assert found.state == "problem"
    assert remedy in found.remedy
    assert ward.look(name).state == "ok"


def test_a_proxy_that_limits_bodies_is_found_and_all_predictions_come_through_it(ward: Ward) -> None:
    tasks = [task["id"] for task in ward.loop.api.tasks(ward.project)]
    version = "sent through a proxy"
    rows = [{"task": task, "result": [], "score": 0.5, "model_version": version} for task in tasks]
    with altered(ward.settings.label_studio_url, "/nowhere", most=1000) as url:
        found = ward.look("body limit", label_studio_url=url)
        client = Case(ward.settings.model_copy(update={"label_studio_url": url})).label_studio
        client.create_predictions(ward.project, rows)
    assert (found.state, "client_max_body_size" in found.remedy) == ("warning", True)
    assert ward.look("body limit").state == "ok"
    stored = ward.loop.api.call("GET", "/api/predictions/", params={"project": ward.project})
    assert sorted(row["task"] for row in stored if row["model_version"] == version) == tasks
    Case(ward.settings).label_studio.delete_predictions(ward.project, version)


@contextmanager
def backend_of(settings: Settings) -> Iterator[None]:
    """A backend that asks for these credentials."""
    names = ("redis_url", "basic_auth_user", "basic_auth_pass")
    environment = {**os.environ, **{name.upper(): str(getattr(settings, name)) for name in names}}
    port = settings.prepal_backend_url.rpartition(":")[2]
    process = subprocess.Popen([sys.executable, "-m", "prepal.cli", "serve", "--port", port], env=environment)
    try:
        wait_until(lambda: Case(settings).backend_answer("/health"), 90)
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def altered(
    url: str,
    path: str,
    *,
    status: int = 0,
    body: object = None,
    late: timedelta = timedelta(),
    most: float = float("inf"),
) -> Iterator[str]:
    """The Label Studio at `url`, behind something that alters its answers to writing requests, or about its version.

    It refuses bodies of more than `most` bytes.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer("GET", alter=self.path.startswith(path) and "version" in path)

        def do_POST(self) -> None:
            self.answer("POST", alter=self.path.startswith(path))

        def answer(self, method: str, *, alter: bool) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if len(sent) > most:
                self.send_error(413)
                return
            headers = {k: v for k, v in self.headers.items() if k.lower() in ("authorization", "content-type")}
            real = httpx.request(
                method, url + self.path, headers=headers, content=sent, follow_redirects=True, timeout=30
            )
            content = json.dumps(body).encode() if alter and body else real.content
            self.send_response_only(status if alter and status else real.status_code)
            self.send_header("Date", format_datetime(datetime.now(UTC) - (late if alter else timedelta()), usegmt=True))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
