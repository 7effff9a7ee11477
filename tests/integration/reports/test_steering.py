"""Why a task comes next is told of what put it there, and never against what is shown beside it."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import redis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.reports.test_page import EVIL, ROUND

from prepal.project import Focus, Info, Project, Ranking, RoundRecord

CONFIG = """<View><Text name="text" value="$text"/><Choices name="topic" toName="text" choice="KIND">
<Choice value="50 % off"/><Choice value="B"/><Choice value="C"/></Choices></View>"""
CHOICES = ("50 % off", "B", "C")
SLOTS = ("audit", "focus: texts like 'a: b'", "doubt", "coverage", "random", "strategy")
SAYS = {
    "audit": "a check at random",
    "focus": "asked for: texts like 'a: b'",
    "coverage": "typical of",
    "random": "drawn at random",
    "strategy": "chosen by the strategy auto",
    "order": "behind those above",
}
BETWEEN = re.compile(r"(?:between|unsure of) (.+) \((\d+) %\) and (.+) \((\d+) %\)")

places = st.lists(
    st.tuples(st.sampled_from(SLOTS), st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3)),
    min_size=1,
    max_size=12,
)


@pytest.fixture
def project(redis: redis.Redis) -> Project:
    known = Project(redis, 4)
    known.register()
    return known


def rank(project: Project, found: list[tuple[str, list[float]]], head: int, *, multiple: bool) -> None:
    """A round whose head was put there by these, as the learner records it."""
    project.set_info(Info(label_config=CONFIG.replace("KIND", "multiple" if multiple else "single"), connected=True))
    shares = np.array([of for _, of in found])
    if not multiple:
        shares = (shares + 1e-6) / (shares + 1e-6).sum(axis=1, keepdims=True)
    two = np.argsort(np.abs(shares - 0.5) if multiple else -shares, axis=1, kind="stable")[:, :2]
    tasks, chosen = np.arange(1, len(found) + 1), np.zeros(shares.shape, bool)
    chosen[np.arange(len(found)), shares.argmax(axis=1)] = True
    project.put_ranking(Ranking(tasks, chosen, shares.max(axis=1).astype(np.float32)))
    slots = [slot for slot, _ in found[:head]]
    likely = [
        {CHOICES[at]: float(of[at]) for at in both} for of, both in zip(shares[:head], two.tolist(), strict=False)
    ]
    audits = [task for task, slot in enumerate(slots, start=1) if slot == "audit"]
    more: dict[str, Any] = {"head": tasks[:head].tolist(), "head_audit": audits, "slots": slots, "likely": likely}
    project.finish_round(RoundRecord(**{**ROUND, **more, "facts": project.facts}))


@given(places, st.integers(0, 12), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_of_whatever_ranking_no_reason_contradicts_what_put_a_task_there_or_is_shown_of_it(
    client: FlaskClient, project: Project, found: list[tuple[str, list[float]]], head: int, multiple: bool
) -> None:
    rank(project, found, head, multiple=multiple)
    told = client.get("/projects/4.json").json
    for place, entry in enumerate(told["next"]):
        slot = found[place][0] if place < head else "order"
        kind, why = slot.partition(":")[0], entry["why"]
        assert entry["reason"] == kind
        assert "teaches" not in why
        if kind != "doubt":
            assert why.startswith(SAYS[kind])
            continue
        between = BETWEEN.fullmatch(why)
        assert bool(between) != why.startswith("like many texts that are doubted")
        if between and not multiple:
            # Nobody is between two choices of which one is as good as certain.
            assert float(entry["confidence"]) <= 0.76
            assert between[1] in entry["choices"]
            assert 0 <= int(between[2]) - int(between[4]) <= 51
        if between and multiple:
            assert 24 <= int(between[2]) <= 76
    assert told["next_why"] == [{name: entry[name] for name in ("task", "reason", "why")} for entry in told["next"]]


def test_what_a_release_before_this_one_recorded_says_no_more_than_it_knew(
    client: FlaskClient, project: Project
) -> None:
    rank(project, [("doubt", [0.9, 0.1, 0.1])] * 4, 3, multiple=False)
    record = project.round
    assert record is not None
    project.finish_round(replace(record, slots=[], likely=[], head_audit=[2]))
    told = client.get("/projects/4.json").json["next"]
    assert [one["reason"] for one in told] == ["strategy", "audit", "strategy", "order"]


def test_what_people_write_is_told_as_text(client: FlaskClient, project: Project) -> None:
    rank(project, [("random", [0.9, 0.1, 0.1])], 1, multiple=False)
    project.set_focus(Focus("words", EVIL, EVIL, at=1e9))
    assert EVIL in client.get("/projects/4.json").json["focus"]["told"]
    assert EVIL not in client.get("/projects/4").text
