"""`prepal doctor` on a real installation: healthy, then with one planted fault after another."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result
from tests.helpers import free_port
from tests.helpers.api import wait_until
from tests.helpers.ward import Fault, Ward, found_and_mended, webhook_with

from prepal.cli.main import main
from prepal.doctor.examination import examine
from prepal.queues.requests import LEARN, SYNC, queue


def test_on_a_healthy_installation_nothing_is_wrong(ward: Ward) -> None:
    found = examine(ward.settings, ward.project)
    assert [finding for finding in found if finding.is_wrong] == []
    assert [finding.name for finding in found if finding.state == "skipped"] == ["adapt worker", "locks"]
    shown = command(ward)
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) == len(found)
    for secret in (ward.settings.label_studio_api_key, ward.settings.redis_url, ward.settings.basic_auth_pass):
        assert secret not in shown.output


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
    # A round that is on its way, as after what was mended before, would know the fact.
    wait_until(lambda: ward.loop.is_up_to_date() and nothing_is_on_its_way(ward))
    ward.loop.known.add_fact()
    yield


def nothing_is_on_its_way(ward: Ward) -> bool:
    connection = ward.loop.redis
    return not any(len(queue(connection, name)) for name in (LEARN, SYNC)) and not connection.exists(
        f"prepal:lock:{ward.project}"
    )


@contextmanager
def a_forgotten_annotation(ward: Ward) -> Iterator[None]:
    annotations = ward.loop.known.annotations()
    forgotten = next(key for key, annotation in annotations.items() if not annotation.skipped)
    ward.loop.redis.hdel(ward.loop.known.key("annotations"), str(forgotten))
    yield


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


def command(ward: Ward, *options: str) -> Result:
    """`prepal doctor`, without the seconds that a process takes to start."""
    home = str(ward.loop.installation.home)
    return CliRunner().invoke(main, ["doctor", str(ward.project), "--home", home, *options])
