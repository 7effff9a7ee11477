"""What Label Studio gets for an answer, whatever it sends and whatever is down."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from prepal.project import Info, Project, Ranking
from prepal.queues.requests import LEARN, SYNC, queue
from prepal.server.app import create_app
from prepal.settings import Settings

CONFIG = """<View><Text name="text" value="$text"/><Choices name="topic" toName="text">
<Choice value="A"/><Choice value="B"/></Choices></View>"""


def url_of(connection: redis.Redis) -> str:
    where = connection.connection_pool.connection_kwargs
    password = f":{where['password']}@" if where.get("password") else ""
    return f"redis://{password}{where['host']}:{where['port']}/{where.get('db', 0)}"


@pytest.fixture
def client(redis: redis.Redis) -> FlaskClient:
    return create_app(Settings(redis_url=url_of(redis))).test_client()


@pytest.fixture
def project(redis: redis.Redis) -> Project:
    """A project that is connected."""
    known = Project(redis, 4)
    known.register()
    return known


def event(action: str, **fields: Any) -> dict[str, Any]:
    return {"action": action, "project": {"id": 4, "label_config": CONFIG}, **fields}


def annotation(pk: int = 9, task: int = 2, **changes: Any) -> dict[str, Any]:
    result = [{"from_name": "topic", "to_name": "text", "type": "choices", "value": {"choices": ["A"]}}]
    return {"id": pk, "task": task, "completed_by": 1, "updated_at": "2026-01-01", "result": result, **changes}


def test_the_base_class_is_loaded_without_a_trace(tmp_path: Path) -> None:
    code = "import os, prepal.server.model; print(os.environ['MODEL_DIR'])"
    environment = {**os.environ, "MODEL_DIR": "mine"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "mine\n"
    assert list(tmp_path.iterdir()) == []


def test_a_label_is_written_down_and_one_round_is_asked_for(
    client: FlaskClient, redis: redis.Redis, project: Project
) -> None:
    for pk in (9, 10, 11):
        answer = client.post("/webhook", json=event("ANNOTATION_CREATED", annotation=annotation(pk), task={"id": 2}))
        assert answer.status_code == 200
    assert set(project.annotations()) == {9, 10, 11}
    assert len(queue(redis, LEARN)) == 1


def test_many_annotations_in_one_event_are_all_written_down(client: FlaskClient, project: Project) -> None:
    many = [annotation(pk, task=pk) for pk in range(1, 50)]
    client.post("/webhook", json=event("ANNOTATIONS_CREATED", annotation=many, task=[{"id": a["task"]} for a in many]))
    assert len(project.annotations()) == 49


def test_deletions_carry_only_ids_and_are_followed(client: FlaskClient, project: Project) -> None:
    client.post("/webhook", json=event("ANNOTATION_CREATED", annotation=annotation(9), task={"id": 2}))
    assert project.annotations()
    client.post("/webhook", json=event("ANNOTATIONS_DELETED", annotations=[{"id": 9}]))
    assert project.annotations() == {}


def test_start_training_carries_only_the_project(client: FlaskClient, redis: redis.Redis, project: Project) -> None:
    assert project.facts == 0
    assert client.post("/webhook", json=event("START_TRAINING")).status_code == 200
    assert len(queue(redis, LEARN)) == 1
    assert len(queue(redis, SYNC)) == 1


def test_an_event_stores_no_secret_of_the_project(client: FlaskClient, redis: redis.Redis, project: Project) -> None:
    body = event("ANNOTATION_CREATED", annotation=annotation(), task={"id": 2, "data": {"text": "tell-no-one"}})
    body["project"] |= {"token": "top-secret", "task_data_password": "top-secret"}
    client.post("/webhook", json=body)
    client.post("/setup", json={"project": "4.1", "schema": CONFIG, "access_token": "top-secret"})
    assert project.annotations()
    for key in redis.scan_iter():
        dumped = redis.dump(key)
        assert dumped is not None
        assert b"top-secret" not in dumped
        assert b"tell-no-one" not in dumped


def test_setup_names_our_version_and_makes_the_project_known(client: FlaskClient, redis: redis.Redis) -> None:
    body = {"project": "4.1700000000", "schema": CONFIG}
    assert client.post("/setup", json=body).json == {"model_version": "PRepAL"}
    assert len(queue(redis, SYNC)) == 1


def test_a_config_that_cannot_be_served_is_refused_in_the_status_line(client: FlaskClient) -> None:
    body = {
        "project": "4.1",
        "schema": '<View><Image name="i" value="$i"/><RectangleLabels name="r" toName="i"/></View>',
    }
    answer = client.post("/setup", json=body)
    assert answer.status_code == 422
    assert "has RectangleLabels, but no Choices: PRepAL serves Choices and Taxonomy" in answer.status


def test_predictions_come_in_the_order_of_the_tasks(client: FlaskClient, redis: redis.Redis) -> None:
    project = Project(redis, 4)
    project.set_info(Info(label_config=CONFIG))
    project.put_ranking(
        Ranking(np.array([7, 3]), np.array([[True, False], [False, True]]), np.array([0.6, 0.9], np.float32))
    )
    body = {"project": "4.1", "label_config": CONFIG, "tasks": [{"id": 3}, {"id": 99}, {"id": 7}]}
    results = client.post("/predict", json=body).json["results"]
    assert [[r["value"]["choices"] for r in one["result"]] for one in results] == [[["B"]], [], [["A"]]]
    assert results[0]["result"][0]["score"] == pytest.approx(0.9)
    assert {one["model_version"] for one in results} == {"PRepAL"}


def test_nothing_is_predicted_while_the_ranking_cannot_be_read(client: FlaskClient, redis: redis.Redis) -> None:
    project = Project(redis, 4)
    redis.hset(project.key("ranking"), mapping={"task_ids": b"x"})
    answer = client.post("/predict", json={"project": "4.1", "tasks": [{"id": 3}]})
    assert answer.status_code == 200
    assert [one["result"] for one in answer.json["results"]] == [[]]


def test_predicting_2000_of_10000_tasks_takes_less_than_a_second(client: FlaskClient, redis: redis.Redis) -> None:
    project = Project(redis, 4)
    project.set_info(Info(label_config=CONFIG))
    chosen = np.zeros((10_000, 2), bool)
    chosen[:, 0] = True
    project.put_ranking(Ranking(np.arange(1, 10_001), chosen, np.full(10_000, 0.5, np.float32)))
    tasks = [{"id": pk, "data": {"text": "some text " * 20}} for pk in range(1, 2001)]
    began = time.perf_counter()
    answer = client.post("/predict", json={"project": "4.1", "tasks": tasks})
    assert time.perf_counter() - began < 1
    assert len(answer.json["results"]) == 2000
    assert all(one["result"] for one in answer.json["results"])


def test_credentials_are_asked_for_everywhere_but_on_health(redis: redis.Redis) -> None:
    settings = Settings(redis_url=url_of(redis), basic_auth_user="ls", basic_auth_pass="pass")
    client = create_app(settings).test_client()
    assert client.get("/health").status_code == 200
    for path in ("/setup", "/predict", "/webhook"):
        assert client.post(path, json={}).status_code == 401
    wrong = base64.b64encode(b"ls:wrong").decode()
    assert client.post("/setup", json={}, headers={"Authorization": f"Basic {wrong}"}).status_code == 401
    right = base64.b64encode(b"ls:pass").decode()
    assert client.post("/setup", json={}, headers={"Authorization": f"Basic {right}"}).status_code == 200
    assert Project(redis, 4).annotations() == {}


@pytest.fixture(params=["refused", "silent"])
def broken_redis(request: pytest.FixtureRequest) -> Iterator[Callable[[], FlaskClient]]:
    """A Redis that refuses connections, and one that accepts them and then says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if request.param == "silent":
            server.listen(16)
        port = server.getsockname()[1]
        yield lambda: create_app(Settings(redis_url=f"redis://127.0.0.1:{port}/0")).test_client()


def test_everything_is_answered_in_time_while_redis_is_down(broken_redis: Callable[[], FlaskClient]) -> None:
    client = broken_redis()
    body = {"project": "4.1", "schema": CONFIG, "tasks": [{"id": 1}, {"id": 2}]}
    label = event("ANNOTATION_CREATED", annotation=annotation(), task={"id": 2})
    for path, sent, status in (("/setup", body, 200), ("/predict", body, 200), ("/webhook", label, 202)):
        began = time.perf_counter()
        answer = client.post(path, json=sent)
        assert answer.status_code == status
        assert time.perf_counter() - began < 0.9
    assert client.get("/health").status_code == 200
    assert len(client.post("/predict", json=body).json["results"]) == 2


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"x"', b"[" * 100_000, b'{"action": 3}'])
@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook"])
def test_nonsense_is_never_an_error_of_ours(client: FlaskClient, path: str, body: bytes) -> None:
    assert client.post(path, data=body, content_type="application/json").status_code < 500


def test_a_lone_surrogate_in_an_event_does_no_harm(client: FlaskClient, project: Project) -> None:
    body = json.dumps(event("ANNOTATION_CREATED", annotation=annotation(), task={"id": 2, "data": {"text": "\ud800"}}))
    raw = body.encode("utf-8", "surrogatepass")
    assert client.post("/webhook", data=raw, content_type="application/json").status_code == 200
    assert len(project.annotations()) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "task",
                    "result",
                    "value",
                    "choices",
                    "from_name",
                    "completed_by",
                    "updated_at",
                    "label_config",
                    "data",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
actions = st.sampled_from(
    [
        "ANNOTATION_CREATED",
        "ANNOTATIONS_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_DELETED",
        "TASKS_CREATED",
        "TASKS_DELETED",
        "PROJECT_UPDATED",
        "START_TRAINING",
        "PROJECT_DELETED",
        "SOMETHING_NEW",
    ]
)


@given(actions, st.just({"id": 4}) | json_values, json_values, json_values, json_values, json_values)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
def test_no_event_however_malformed_is_an_error_of_ours(
    client: FlaskClient,
    action: str,
    project: object,
    annotation: object,
    task: object,
    annotations: object,
    tasks: object,
) -> None:
    body = {
        "action": action,
        "project": project,
        "annotation": annotation,
        "task": task,
        "annotations": annotations,
        "tasks": tasks,
    }
    text = json.dumps(body).encode("utf-8", "surrogatepass")
    for path in ("/setup", "/webhook", "/predict"):
        assert client.post(path, data=text, content_type="application/json").status_code < 500
