"""The focus from the project page: who is signed in may set it, no other site may, and what is wrong is said."""

from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.helpers.serving import settings_of
from tests.integration.server.test_guard import LOGIN

from prepal.project import Focus, Info, Project
from prepal.queues.requests import mark
from prepal.server.app import create_app

CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="topic" toName="text">'
    '<Choice value="A"/><Choice value="B"/></Choices></View>'
)
RIGHT = {"kind": "choice", "value": "B", "labels": 5}


@pytest.fixture
def project(redis: redis.Redis) -> Project:
    known = Project(redis, 4)
    known.register()
    known.set_info(Info(label_config=CONFIG, connected=True))
    return known


def test_whoever_is_signed_in_sets_it_and_is_named(redis: redis.Redis, project: Project) -> None:
    guarded = create_app(settings_of(redis, basic_auth_user="lead", basic_auth_pass="secret")).test_client()
    assert guarded.post("/projects/4/focus", json=RIGHT).status_code == 401
    assert project.focus == Focus()
    assert guarded.post("/projects/4/focus", json=RIGHT, headers=LOGIN).status_code == 200
    assert (project.focus.kind, project.focus.value, project.focus.by, project.focus.until) == (
        "choice",
        "B",
        "lead",
        5,
    )
    assert redis.exists(mark("round", 4))
    told = guarded.get("/projects/4.json", headers=LOGIN).json["focus"]
    assert told["told"].startswith("First come texts that are likely 'B', as asked for by lead at ")


def test_where_nobody_signs_in_the_page_is_named_and_may_end_it(client: FlaskClient, project: Project) -> None:
    # What somebody sends whom nobody asked proves nothing.
    assert client.post("/projects/4/focus", json=RIGHT, headers=LOGIN).status_code == 200
    assert project.focus.by == "the project page"
    assert client.post("/projects/4/focus", json={"kind": "", "value": "", "labels": 0}).status_code == 200
    assert not project.focus.is_on
    assert "ended by the project page" in client.get("/projects/4.json").json["focus"]["told"]


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
)
def test_no_other_site_sets_it(client: FlaskClient, project: Project, headers: dict[str, str]) -> None:
    assert client.post("/projects/4/focus", json=RIGHT, headers=headers).status_code == 403
    assert client.post("/projects/4/focus", data=RIGHT).status_code == 415
    assert client.get("/projects/4/focus").status_code == 405
    assert project.focus == Focus()


def test_what_does_not_exist_is_said(client: FlaskClient, project: Project) -> None:
    answer = client.post("/projects/4/focus", json={**RIGHT, "value": "C"})
    assert answer.status_code == 400
    assert answer.json["error"] == "Project 4 has no choice 'C': its choices are 'A', 'B'."
    assert client.post("/projects/5/focus", json=RIGHT).status_code == 404
    assert project.focus == Focus()


values = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=())) | st.lists(st.none())
bodies = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["choice", "task", "words", "filter", "doubt", ""]) | values,
        "value": values,
        "labels": values,
    },
)


@given(bodies)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_is_sent_is_a_focus_or_refused_and_the_page_goes_on(
    client: FlaskClient, project: Project, body: dict[str, Any]
) -> None:
    before = project.focus
    answer = client.post("/projects/4/focus", json=body)
    assert answer.status_code in (200, 400)
    assert answer.status_code == 200 or project.focus == before
    assert client.get("/projects/4.json").status_code == 200
