"""What goes wrong in a project's job is that project's trouble: told, tried again, and nobody else's."""

import logging
import time
from collections.abc import Callable

import pytest
import redis
from tests.helpers.installation import (
    WELL,
    Installation,
    Subject,
    check_well,
    give_reasons_for_every_call,
    look,
)

from prepal.doctor.examination import examine
from prepal.label_studio.api import NotFoundError, UnavailableError
from prepal.learner import jobs
from prepal.queues.requests import request
from prepal.reports import metrics, page
from prepal.server.model import PrepalModel

CALLS = [
    "project", "backends", "tasks", "whole_tasks", "predictions", "create_predictions", "create_prediction",
    "update_prediction", "delete_prediction", "update_project", "postponed",
]  # fmt: skip
ERRORS = [UnavailableError("Label Studio answered 500."), NotFoundError("Gone."), KeyError("id")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_call_to_label_studio_that_fails_is_this_projects_trouble_until_it_goes_well(
    install: Callable[..., Installation], error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    here = install(*[12] * len(CALLS))
    several = [subject for number, subject in here.subjects.items() if number != WELL]
    asked: set[str] = set()

    def fail(call: str, name: str) -> None:
        if name == call:
            asked.add(name)
            raise error

    for call, subject in zip(CALLS, several, strict=True):
        give_reasons_for_every_call(subject)
        subject.label_studio.before_call = lambda name, call=call: fail(call, name)
    here.compare()
    here.maintain()
    here.work()
    check_well(here)
    assert asked == set(CALLS)
    told = look(here, *(subject.number for subject in several))
    for call, subject in zip(CALLS, several, strict=True):
        troubles = subject.project.troubles()
        # That a prediction is not there is nothing that goes wrong, and that a project is not, is not believed at once.
        assert troubles or isinstance(error, NotFoundError), call
        assert [one["what"] for one in told[subject.number]["troubles"]] == [trouble.what for trouble in troubles]
        for trouble in troubles:
            assert f"project {subject.number}: {trouble.job} failed (1 times)" in caplog.text
            assert trouble.until > trouble.since + 5
            assert trouble.what in (str(error), f"{type(error).__name__}: the learner's log has more of it.")
        subject.label_studio.before_call = lambda _: None
        subject.rest()
    here.maintain()
    here.work()
    here.compare()
    for subject in several:
        subject.check()


def test_a_trouble_is_told_everywhere_and_rests_for_longer_each_time(here: Installation, sick: Subject) -> None:
    def fail(name: str) -> None:
        if name == "tasks":
            raise ZeroDivisionError

    sick.label_studio.before_call = fail
    pauses = []
    for count in range(1, 9):
        request(here.connection, "reconcile", 1)
        here.work()
        (trouble,) = sick.project.troubles()
        assert trouble.count == count
        pauses.append(trouble.until - time.time())
        calls = sick.label_studio.calls
        request(here.connection, "reconcile", 1)
        here.work()
        assert sick.label_studio.calls == calls, "it rests"
        ended = here.connection.hget(sick.project.key("troubles"), "reconcile").replace(
            str(trouble.until).encode(), b"0"
        )
        here.connection.hset(sick.project.key("troubles"), "reconcile", ended)
    assert pauses == pytest.approx([10, 20, 40, 80, 160, 320, 600, 600], abs=2)
    assert "reconcile failed 8 times" in look(here, 1)[1]["troubles"][0]["told"]
    assert "reconcile failed 8 times" in page.overview(here.connection)[0]["troubles"][0]
    measured = metrics.render(here.connection, here.waiting).decode()
    assert 'prepal_project_failures{project="1",step="reconcile"} 8.0' in measured
    found = {finding.name: finding for finding in examine(here.settings, 1)}
    assert found["troubles"].state == "problem"
    assert "reconcile failed 8 times" in found["troubles"].what
    sick.label_studio.before_call = lambda _: None
    here.maintain()
    here.compare()
    sick.check()


def test_label_studio_that_does_not_answer_is_asked_again_within_half_a_minute(sick: Subject) -> None:
    def fail(_: str) -> None:
        raise UnavailableError("Label Studio does not answer.")

    sick.label_studio.before_call = fail
    for _ in range(8):
        sick.rest()
        jobs.reconcile(1)
    trouble = sick.project.trouble("reconcile")
    assert trouble is not None
    assert trouble.count >= 8
    assert 20 < trouble.until - time.time() <= 30


def test_who_asks_for_a_training_has_everything_tried_again_at_once(here: Installation, sick: Subject) -> None:
    sick.project.add_trouble("round", "It failed.", 600)
    sick.project.add_trouble("reconcile", "It failed.", 600)
    sick.label(sick.tasks[0], "A")
    here.work()
    record = sick.project.round
    assert record is not None
    assert record.facts < sick.project.facts
    PrepalModel(sick.project).fit("START_TRAINING", {})
    here.work()
    sick.check()


def test_a_redis_that_is_lost_is_nobodys_trouble(sick: Subject) -> None:
    def lose(_: str) -> None:
        raise ConnectionLost

    sick.label_studio.before_call = lose
    with pytest.raises(ConnectionLost):
        jobs.reconcile(1)
    assert sick.project.troubles() == []


class ConnectionLost(redis.ConnectionError):
    """As of a Redis that is started anew."""
