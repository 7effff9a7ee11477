"""`prepal doctor` on a real installation: healthy, then with one planted fault after another."""

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import redis
from click.testing import CliRunner, Result
from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.projects import Loop, tickets

from prepal.cli.main import main
from prepal.doctor import Case, Finding, check, examine
from prepal.label_studio.connect import connect
from prepal.machine.up import Installation
from prepal.project import Project
from prepal.queues.requests import LEARN, queue
from prepal.settings import Settings

TASKS = 30
USER, PASSWORD = "prepal", "secret-pass-of-the-backend"


@dataclass(frozen=True)
class Ward:
    """A project, and the settings with which the doctor looks at it."""

    loop: Loop
    settings: Settings
    project: int

    def look(self, name: str, **settings: Any) -> Finding:
        return check(self.settings.model_copy(update=settings), self.project, name)

    def wrong(self, **settings: Any) -> list[Finding]:
        found = examine(self.settings.model_copy(update=settings), self.project)
        return [finding for finding in found if finding.is_wrong]

    def patch(self, **changes: Any) -> None:
        self.loop.api.call("PATCH", f"/api/projects/{self.project}/", json=changes)

    def described(self) -> dict[str, Any]:
        found: dict[str, Any] = self.loop.api.call("GET", f"/api/projects/{self.project}/")
        return found

    def webhook(self) -> dict[str, Any]:
        hooks = self.loop.api.call("GET", "/api/webhooks/", params={"project": self.project})
        return next(hook for hook in hooks if hook["url"] == f"{self.settings.prepal_backend_url}/webhook")

    def backend(self) -> dict[str, Any]:
        backends = self.loop.api.call("GET", "/api/ml", params={"project": self.project})
        return next(backend for backend in backends if backend["url"] == self.settings.prepal_backend_url)


@pytest.fixture(scope="module")
def ward(installation: Installation, label_studio: LabelStudioApi) -> Ward:
    texts, answers = tickets(TASKS, mark="doctor")
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts])
    loop.wait_until_ranked(TASKS)
    for _ in range(2):
        loop.annotate_next(answers)
    loop.api.annotate(loop.api.next(loop.id)["id"], was_cancelled=True)
    loop.wait_for_round()
    settings = Settings(
        label_studio_url=installation.label_studio_url,
        label_studio_api_key=installation.label_studio_token,
        redis_url=installation.redis_url,
        prepal_backend_url=installation.backend_url,
        basic_auth_user=installation.backend_user,
        basic_auth_pass=installation.backend_password,
        prepal_vectors=str(installation.home / "vectors"),
    )
    return Ward(loop, settings, loop.id)


def test_on_a_healthy_installation_nothing_is_wrong(ward: Ward) -> None:
    found = examine(ward.settings, ward.project)
    assert [finding for finding in found if finding.is_wrong] == []
    assert [finding.name for finding in found if finding.state == "skipped"] == ["locks"]
    shown = command(ward)
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) == len(found)
    for secret in (ward.settings.label_studio_api_key, ward.settings.redis_url, ward.settings.basic_auth_pass):
        assert secret not in shown.output


@contextmanager
def nothing(_: Ward) -> Iterator[None]:
    yield


@dataclass(frozen=True)
class Fault:
    """Something that is wrong: how it comes about, which check tells, and what its remedy says."""

    name: str
    remedy: str
    plant: Callable[[Ward], AbstractContextManager[None]] = nothing
    settings: dict[str, Any] = field(default_factory=dict)
    """Environment of the doctor."""
    fixed: bool = False
    """Whether `--fix` mends it; if not, the end of `plant` is the remedy."""
    state: str = "problem"


def changed(**changes: Any) -> Callable[[Ward], AbstractContextManager[None]]:
    """Settings of the project, until it is over."""

    @contextmanager
    def plant(ward: Ward) -> Iterator[None]:
        before = ward.described()
        ward.patch(**changes)
        yield
        ward.patch(**{name: before[name] for name in changes})

    return plant


def redis_with(name: str, value: str) -> Callable[[Ward], AbstractContextManager[None]]:
    @contextmanager
    def plant(ward: Ward) -> Iterator[None]:
        before = ward.loop.redis.config_get(name)[name]
        ward.loop.redis.config_set(name, value)
        yield
        ward.loop.redis.config_set(name, before)

    return plant


def webhook_with(**changes: Any) -> Callable[[Ward], AbstractContextManager[None]]:
    """A changed webhook; Label Studio forgets the events of one when they are not sent along."""

    @contextmanager
    def plant(ward: Ward) -> Iterator[None]:
        hook = ward.webhook()
        body = {"url": hook["url"], "actions": hook["actions"], **changes}
        ward.loop.api.call("PATCH", f"/api/webhooks/{hook['id']}/", json=body)
        yield

    return plant


@contextmanager
def without_webhook(ward: Ward) -> Iterator[None]:
    ward.loop.api.call("DELETE", f"/api/webhooks/{ward.webhook()['id']}/")
    yield


@contextmanager
def doubled_webhook(ward: Ward) -> Iterator[None]:
    body = {key: ward.webhook()[key] for key in ("url", "project", "actions", "send_for_all_actions", "headers")}
    double = ward.loop.api.call("POST", "/api/webhooks/", json=body)["id"]
    yield
    ward.loop.api.call("DELETE", f"/api/webhooks/{double}/")


@contextmanager
def without_backend(ward: Ward) -> Iterator[None]:
    ward.loop.api.call("DELETE", f"/api/ml/{ward.backend()['id']}")
    yield


@contextmanager
def backend_named_like_its_predictions(ward: Ward) -> Iterator[None]:
    settings = ward.settings
    body = {"project": ward.project, "url": settings.prepal_backend_url, "title": "PRepAL", "auth_method": "BASIC_AUTH"}
    body |= {"basic_auth_user": settings.basic_auth_user, "basic_auth_pass": settings.basic_auth_pass}
    ward.loop.api.call("PATCH", f"/api/ml/{ward.backend()['id']}", json=body)
    yield


@contextmanager
def predictions_lost(ward: Ward) -> Iterator[None]:
    for row in ward.loop.api.predictions(ward.project)[:3]:
        ward.loop.api.call("DELETE", f"/api/predictions/{row['id']}/")
    yield


@contextmanager
def a_fact_that_no_round_knows(ward: Ward) -> Iterator[None]:
    wait_until(ward.loop.is_up_to_date)
    ward.loop.known.add_fact()
    yield


@contextmanager
def a_forgotten_annotation(ward: Ward) -> Iterator[None]:
    annotations = ward.loop.known.annotations()
    forgotten = next(key for key, annotation in annotations.items() if not annotation.skipped)
    ward.loop.redis.hdel(ward.loop.known.key("annotations"), str(forgotten))
    yield


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def jwt(**claims: Any) -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts), "c2ln"])


NOWHERE = f"http://127.0.0.1:{free_port()}"
FAULTS = {
    "wrong address": Fault("Label Studio address", "LABEL_STUDIO_URL", settings={"label_studio_url": NOWHERE}),
    "unknown token": Fault("token", "Account & Settings", settings={"label_studio_api_key": "0" * 40}),
    "expired token": Fault(
        "token",
        "Make a new one",
        settings={"label_studio_api_key": jwt(token_type="refresh", exp=int(time.time()) - 60)},
    ),
    "access token": Fault(
        "token",
        "personal access token",
        settings={"label_studio_api_key": jwt(token_type="access", exp=int(time.time()) + 60)},
    ),
    "Redis elsewhere": Fault(
        "Redis", "REDIS_URL", settings={"redis_url": NOWHERE.replace("http://", "redis://:hidden@")}
    ),
    "Redis without append-only file": Fault("Redis persistence", "appendonly yes", redis_with("appendonly", "no")),
    "Redis that forgets": Fault("Redis memory", "noeviction", redis_with("maxmemory-policy", "allkeys-lru")),
    "Redis that is nearly full": Fault("Redis memory", "Raise", redis_with("maxmemory", "1000000"), state="warning"),
    "misspelt strategy": Fault("strategy", "PREPAL_STRATEGY", settings={"prepal_strategy": "entropie"}),
    "another encoder": Fault("encoder", "PREPAL_ENCODER", settings={"prepal_encoder": "somebody/another-encoder"}),
    "vector cache that is a file": Fault("vector cache", "PREPAL_VECTORS", settings={"prepal_vectors": __file__}),
    "no credentials beyond loopback": Fault(
        "Basic auth",
        "BASIC_AUTH_USER",
        settings={"prepal_backend_url": "http://192.0.2.1:9090", "basic_auth_user": "", "basic_auth_pass": ""},
        state="warning",
    ),
    "backend not connected": Fault("backend connected", "prepal connect", without_backend, fixed=True),
    "backend with the version as its title": Fault(
        "backend connected", "prepal connect", backend_named_like_its_predictions, fixed=True
    ),
    "no webhook": Fault("webhook", "prepal connect", without_webhook, fixed=True),
    "webhook switched off": Fault("webhook", "prepal connect", webhook_with(is_active=False), fixed=True),
    "two webhooks": Fault("webhook", "prepal connect", doubled_webhook, fixed=True, state="warning"),
    "webhook without events": Fault(
        "webhook events",
        "prepal connect",
        webhook_with(actions=["ANNOTATION_CREATED"], send_for_all_actions=False),
        fixed=True,
    ),
    "webhook without content": Fault("webhook events", "prepal connect", webhook_with(send_payload=False), fixed=True),
    "sequential sampling": Fault("sampling", "prepal connect", changed(sampling="Sequential sampling"), fixed=True),
    "another model version": Fault(
        "model version", "prepal connect", changed(model_version="PRepAL backend"), fixed=True
    ),
    "predictions that nobody sees": Fault(
        "shown predictions", "prepal connect", changed(show_collab_predictions=False), fixed=True
    ),
    "training at every save": Fault(
        "training switch", "prepal connect", changed(start_training_on_annotation_update=True), fixed=True
    ),
    "several annotators a task": Fault(
        "overlap", "maximum_annotations", changed(maximum_annotations=2), state="warning"
    ),
    "predictions lost": Fault("tail", "--fix", predictions_lost, fixed=True),
    "stale round": Fault("round", "--fix", a_fact_that_no_round_knows, fixed=True, state="warning"),
    "lost event": Fault("labels read", "--fix", a_forgotten_annotation, fixed=True, state="warning"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_found_with_its_remedy_and_is_gone_after_it(ward: Ward, fault: Fault) -> None:
    found_and_mended(ward, fault)
    assert ward.look(fault.name).state == "ok"


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("learner", "prepal worker learn"), ("embed worker", "prepal worker embed"), ("queues", "restart it")],
)
def test_workers_that_are_gone_are_found(ward: Ward, name: str, remedy: str) -> None:
    # Another database of the same Redis: nobody works on what is in it.
    url = ward.settings.redis_url.removesuffix("/0") + "/1"
    with redis.Redis.from_url(url) as elsewhere:
        job = queue(elsewhere, LEARN).enqueue("prepal.learner.round", ward.project)
        job.enqueued_at = datetime.now(UTC) - timedelta(minutes=5)
        job.save()
        found = ward.look(name, redis_url=url)
        elsewhere.flushdb()
    assert found.state == "problem"
    assert remedy in found.remedy
    assert ward.look(name).state == "ok"


# label-studio-sdk's own way of reading what it gets.
@pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")
def test_a_personal_access_token_is_as_good(ward: Ward) -> None:
    key = ward.loop.api.call("POST", "/api/token/", json={})["token"]
    found = ward.look("token", label_studio_api_key=key)
    assert (found.state, found.what) == ("ok", "Label Studio knows the personal access token.")


def test_a_project_that_the_token_does_not_see_is_found(ward: Ward) -> None:
    found = replace(ward, project=999_999).look("project")
    assert found.state == "problem"
    assert "member of its organisation" in found.remedy


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
        ("Label Studio version", "1.23", "/api/version", {"body": {"release": "1.13.1"}}),
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


def test_the_command_says_what_it_mended_and_is_content_then(ward: Ward) -> None:
    ward.patch(sampling="Uniform sampling", start_training_on_annotation_update=True)
    with without_webhook(ward):
        before = command(ward, "--json")
        assert before.exit_code == 1
        wrong = {row["name"] for row in json.loads(before.stdout)["findings"] if row["state"] == "problem"}
        assert wrong == {"sampling", "training switch", "webhook"}
        after = command(ward, "--fix", "--json")
    assert after.exit_code == 0
    document = json.loads(after.stdout)
    assert document["treated"] == ["webhook: treated", "sampling: treated", "training switch: treated"]
    assert document["healthy"]


def test_after_all_that_nothing_is_wrong(ward: Ward) -> None:
    wait_until(lambda: not ward.wrong(), 30, 1)


def found_and_mended(ward: Ward, fault: Fault) -> None:
    """The reconciler may mend some faults before they are looked at: those are planted again."""
    for attempt in range(3):
        with fault.plant(ward):
            finding = ward.look(fault.name, **fault.settings)
            if finding.state == "ok" and fault.fixed and attempt < 2:
                continue
            assert finding.state == fault.state
            assert fault.remedy in finding.remedy
            assert "hidden" not in finding.what + finding.remedy
            assert (finding.fix is not None) == fault.fixed
            if finding.fix is not None:
                finding.fix()
                wait_until(lambda: ward.look(fault.name).state == "ok", 30, 0.2)
        return


def command(ward: Ward, *options: str) -> Result:
    """`prepal doctor`, without the seconds that a process takes to start."""
    home = str(ward.loop.installation.home)
    return CliRunner().invoke(main, ["doctor", str(ward.project), "--home", home, *options])


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
    url: str, path: str, *, status: int = 0, body: object = None, late: timedelta = timedelta()
) -> Iterator[str]:
    """The Label Studio at `url`, behind something that alters its answers to writing requests, or about its version."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer("GET", alter=self.path.startswith(path) and "version" in path)

        def do_POST(self) -> None:
            self.answer("POST", alter=self.path.startswith(path))

        def answer(self, method: str, *, alter: bool) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
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
