"""What Redis has of a project and nobody can read is made anew, from what Label Studio has."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis
from tests.helpers.installation import (
    CHOICES,
    WELL,
    Installation,
    Subject,
    check_well,
    look,
)
from tests.helpers.label_studio_in_memory import BACKEND_URL

from prepal.project import mend
from prepal.server.app import create_app

KEYS = """
    accuracies annotations arrived audits backend-url before begun clock compared confirmed created encoder expected
    facts fresh gone info judged labels-before last-task left looked-until missed missed:figures missed:reading opinions
    overtaken people postponed predictions:0 predictions:count predictions:pages publications ranking read-annotations
    read-until reading-s removed-annotations removed-tasks round rules score-floor seen:0 seen:count seen:pages shown
    tabs tasks-version texts:0 texts:count texts:pages touched-annotations troubles unembeddable vectors-version
    focus matched-until matching:0 matching:count matching:pages
"""
NAMES = KEYS.split()
# Of these only whether they are there is asked, and they end by themselves.
ONLY_THERE = {"read-again", "serving", "unread"}
BROKEN: list[Callable[[redis.Redis, str], Any]] = [
    lambda r, key: r.set(key, "x"),
    lambda r, key: r.set(key, b"\xff\xfe"),
    lambda r, key: r.set(key, '{"a": [1]}'),
    lambda r, key: r.rpush(key, "x"),
    lambda r, key: r.hset(key, mapping={"x": "y", "1": "{}", b"\xff": "["}),
    lambda r, key: r.sadd(key, "x"),
    lambda r, key: r.zadd(key, {"x": 1.5}),
]


def test_the_keys_that_are_broken_below_are_all_that_a_project_has(here: Installation, sick: Subject) -> None:
    for task in sick.tasks[:6]:
        sick.label(task, CHOICES[task % 2])
    here.work()
    names = [
        key.decode().removeprefix(sick.project.key("")) for key in here.connection.scan_iter(sick.project.key("*"))
    ]
    assert {name.partition(":")[0] for name in names} - ONLY_THERE <= {name.partition(":")[0] for name in NAMES}


def test_what_redis_has_of_a_project_and_nobody_can_read_is_made_anew(
    install: Callable[..., Installation],
) -> None:
    here = install(*[6] * len(NAMES))
    several = [subject for number, subject in here.subjects.items() if number != WELL]
    for subject in several:
        subject.label(subject.tasks[0], "A")
    here.work()
    for name, subject in zip(NAMES, several, strict=True):
        key = subject.project.key(name)
        here.connection.delete(key)
        BROKEN[subject.number % len(BROKEN)](here.connection, key)
    client = create_app(here.settings).test_client()
    for path in ("/", "/metrics", f"/projects/{WELL}.json"):
        assert client.get(path).status_code == 200, path
    for name, subject in zip(NAMES, several, strict=True):
        answer = client.get(f"/projects/{subject.number}.json")
        assert answer.status_code in (200, 503), name
        assert answer.status_code == 200 or "cannot be read" in answer.json["error"], name
        subject.label_studio.annotate(subject.tasks[1], "B")
    here.maintain()
    here.compare()
    check_well(here)
    for subject in several:
        subject.rest()
    for name, subject in zip(NAMES, several, strict=True):
        if name in ("left", "backend-url"):
            # What can be read is believed: here, that somebody wants it left alone, until it is connected again.
            subject.project.left, subject.project.backend_url = "", BACKEND_URL
    here.maintain()
    here.compare()
    for name, subject in zip(NAMES, several, strict=True):
        assert mend(subject.project) == [], name
        subject.check()
    look(here, *(subject.number for subject in several))


@pytest.mark.parametrize(("name", "content"), [("clock", ""), ("facts", ""), ("texts:0", b"\xff" * 64)])
def test_what_can_be_read_and_cannot_be_used_is_made_anew(
    here: Installation, sick: Subject, name: str, content: str | bytes
) -> None:
    here.connection.set(sick.project.key(name), content)
    for _ in range(2):
        here.compare()
        sick.rest()
    here.compare()
    check_well(here)
    sick.check()


@pytest.mark.parametrize(
    "found", [{"labels": 3, "kappas": [], "a_field_of_tomorrow": 1}, {"kappas": None}, {"labels": {}}]
)
def test_a_round_goes_on_from_the_record_of_another_release(
    here: Installation, sick: Subject, found: dict[str, Any]
) -> None:
    record = sick.project.round
    assert record is not None
    sick.project.finish_round(replace(record, stability=found))
    look(here, sick.number)
    sick.label_next()
    here.work()
    sick.check()


def test_a_redis_that_has_lost_everything_is_as_before_after_two_comparisons(here: Installation, sick: Subject) -> None:
    for task in sick.tasks[:6]:
        sick.label(task, CHOICES[task % 2])
    here.work()
    here.connection.flushdb()
    for subject in here.subjects.values():
        subject.project.register()
    here.another_learner()
    here.compare()
    here.compare()
    sick.check()
    check_well(here)
