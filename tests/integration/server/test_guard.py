"""Whom the backend listens to: no web page from elsewhere, nobody without the password, no project of nobody's."""

import base64
import json

import pytest
import redis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.helpers.serving import settings_of

from prepal.errors import PrepalError
from prepal.labels.events import Annotation
from prepal.project import Project, all_projects
from prepal.queues.requests import LEARN, SYNC, queue
from prepal.server.app import create_app

LOGIN = {"Authorization": f"Basic {base64.b64encode(b'lead:secret').decode()}"}
ROUTES = ["/setup", "/predict", "/webhook", "/health", "/", "/projects/4", "/nothing/there"]
DELETE = json.dumps({"action": "TASKS_DELETED", "project": {"id": 4}, "tasks": [{"id": 1}, {"id": 2}]})


@pytest.fixture
def guarded(redis: redis.Redis) -> FlaskClient:
    return create_app(settings_of(redis, basic_auth_user="lead", basic_auth_pass="secret")).test_client()


@pytest.fixture
def project(redis: redis.Redis) -> Project:
    known = Project(redis, 4)
    known.register()
    known.put_tasks({1: "0" * 32, 2: "1" * 32}, {})
    known.put_annotations({7: Annotation(1, 1, "2026", False, False, {"topic": ["A"]})})
    return known


foreign = st.one_of(
    st.fixed_dictionaries({"Sec-Fetch-Site": st.sampled_from(["cross-site", "same-site", "", "anything"])}),
    st.fixed_dictionaries(
        {
            "Origin": st.sampled_from(
                [
                    "https://evil.example",
                    "null",
                    "",
                    "http://localhost:9091",
                    "http://127.0.0.1",
                    "http://[",
                    "localhost",
                ]
            )
        },
        optional={"Sec-Fetch-Site": st.sampled_from(["same-origin", "none", "cross-site"])},
    ),
)
types = st.sampled_from([None, "text/plain", "application/json", "application/x-www-form-urlencoded", "text/json"])


@given(path=st.sampled_from(ROUTES), headers=foreign, content_type=types, signed_in=st.booleans())
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_page_from_elsewhere_is_listened_to(
    client: FlaskClient,
    guarded: FlaskClient,
    project: Project,
    path: str,
    headers: dict[str, str],
    content_type: str | None,
    signed_in: bool,
) -> None:
    asked, login = (guarded, LOGIN) if signed_in else (client, {})
    answer = asked.post(path, data=DELETE, content_type=content_type, headers={**headers, **login})
    assert answer.status_code == 403
    assert "may not send anything here" in answer.json["error"]
    assert project.task_count() == 2


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "text/json", "*/*"])
def test_only_json_is_read(client: FlaskClient, project: Project, content_type: str | None) -> None:
    answer = client.post("/webhook", data=DELETE, content_type=content_type)
    assert answer.status_code == 415
    assert answer.json["error"] == f"The content type is {content_type or ''!r}: send application/json."
    assert project.task_count() == 2


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}])
def test_label_studio_and_our_own_pages_are_listened_to(
    client: FlaskClient, project: Project, headers: dict[str, str]
) -> None:
    answer = client.post("/webhook", data=DELETE, content_type="application/json; charset=utf-8", headers=headers)
    assert answer.json == {"status": "ok"}
    assert project.task_count() == 0


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("path", ["/projects/4.json", "/metrics", "/"])
def test_without_a_password_a_name_that_somebody_else_may_point_here_is_refused(
    client: FlaskClient, redis: redis.Redis, path: str
) -> None:
    for host in ("evil.example", "evil.example:9090", "127.0.0.1.evil.example", "backend.example:9090"):
        refused = client.get(path, headers={"Host": host})
        assert refused.status_code == 403
        assert "set BASIC_AUTH_USER and BASIC_AUTH_PASS" in refused.status
        assert client.get("/health", headers={"Host": host}).status_code == 200
    for host in ("localhost", "127.0.0.1:9090", "[::1]:9090", "192.168.1.5:9090", "this-machine:9090"):
        assert client.get(path, headers={"Host": host}).status_code == 200
    configured = create_app(settings_of(redis, prepal_backend_url="http://backend.example:9090")).test_client()
    assert configured.get(path, headers={"Host": "Backend.Example:9090"}).status_code == 200


def test_with_a_password_every_name_is_as_good(guarded: FlaskClient) -> None:
    assert guarded.get("/metrics", headers={"Host": "labels.example.com", **LOGIN}).status_code == 200
    refused = guarded.get("/metrics", headers={"Host": "labels.example.com"})
    assert refused.status_code == 401
    assert refused.json["error"].startswith("Sign in with BASIC_AUTH_USER and BASIC_AUTH_PASS of the backend")


@pytest.mark.parametrize("half", [{"basic_auth_user": "lead"}, {"basic_auth_pass": "secret"}])
def test_half_of_the_credentials_are_refused_at_the_start(redis: redis.Redis, half: dict[str, str]) -> None:
    with pytest.raises(PrepalError, match="set both, or neither"):
        create_app(settings_of(redis, **half))


@pytest.mark.parametrize(
    "action",
    [
        *("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"),
        *("TASKS_CREATED", "TASKS_DELETED", "PROJECT_UPDATED", "START_TRAINING", "PROJECT_DELETED", "x"),
    ],
)
def test_an_event_of_a_project_that_was_never_connected_changes_nothing(
    client: FlaskClient, redis: redis.Redis, action: str
) -> None:
    result = [{"from_name": "topic", "to_name": "text", "type": "choices", "value": {"choices": ["A"]}}]
    body = {
        "action": action,
        "project": {"id": 4711, "label_config": "<View/>"},
        "task": {"id": 1},
        "annotation": {"id": 2, "task": 1, "result": result},
        "tasks": [{"id": 1}],
        "annotations": [{"id": 2}],
    }
    before = set(redis.keys())
    answer = client.post("/webhook", json=body)
    assert answer.status_code == 200
    assert answer.json["reason"] == "Project 4711 is not connected: `prepal connect 4711` connects it."
    assert client.post("/predict", json={**body, "tasks": [{"id": 1}]}).status_code == 200
    assert set(redis.keys()) == before
    assert all_projects(redis) == []
    assert len(queue(redis, LEARN)) == len(queue(redis, SYNC)) == 0
