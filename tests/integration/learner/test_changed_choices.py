"""What was predicted before a label config changed is never read as if it were of the choices that there are now."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.helpers.installation import Installation, Subject

from prepal.label_studio import order
from prepal.learner import judging
from prepal.reports.page import document
from prepal.reports.status import report
from prepal.server.model import PrepalModel

LABELLED = 6


def config(*choices: str, name: str = "topic", how: str = "single") -> str:
    inner = "".join(f'<Choice value="{choice}"/>' for choice in choices)
    return (
        '<View><Text name="text" value="$text"/>'
        f'<Choices name="{name}" toName="text" choice="{how}">{inner}</Choices></View>'
    )


# Each is another config than that of choices A and B, in another way.
OTHERS = [
    config("B", "A"),
    config("A", "C"),
    config("C", "D"),
    config("A", "B", "C"),
    config("A", "B", how="multiple"),
    config("A", "B", name="tone"),
]


@pytest.fixture
def here(redis: redis.Redis, redis_url: str, tmp_path: Path) -> Installation:
    """A project whose tasks have predictions, except for two new ones."""
    here = Installation(redis, redis_url, tmp_path, {1: 60}, 0.3)
    it = here.subjects[1]
    for _ in range(LABELLED):
        it.label_next()
        here.work()
    for task in it.tasks[-2:]:
        (row,) = it.label_studio.predictions(task=task)
        it.label_studio.delete_prediction(row["id"])
        it.project.predictions.delete([task])
    return here


def change(it: Subject, xml: str) -> None:
    """Somebody changes the config, and the learner hears of it; a round is due, and has not begun."""
    it.label_studio.settings["label_config"] = xml
    it.project.set_info(replace(it.project.info, label_config=xml))
    it.project.add_fact()


def predicted(_: Installation, it: Subject) -> list[list[Any]]:
    return [one["result"] for one in PrepalModel(it.project).predict([{"id": task} for task in it.tasks])]


def on_the_page(here: Installation, it: Subject) -> list[list[Any]]:
    found = document(it.project, here.waiting, "http://127.0.0.1:8080")
    return [one["choices"] for one in found["next"]] + [one["predicted"] or [] for one in found["choices"]]


def behind_the_head(_: Installation, it: Subject) -> list[list[Any]]:
    before = {row["id"] for row in it.label_studio.predictions(project=1)}
    order.publish_tail(it.project, it.label_studio)  # type: ignore[arg-type]
    return [row["result"] for row in it.label_studio.predictions(project=1) if row["id"] not in before]


def freshened(here: Installation, it: Subject) -> list[list[Any]]:
    before = {row["id"]: row["result"] for row in it.label_studio.predictions(project=1)}
    published = here.learner.memories.published(1)
    order.freshen(it.project, published, it.label_studio, lambda: False)  # type: ignore[arg-type]
    return [row["result"] for row in it.label_studio.predictions(project=1) if before[row["id"]] != row["result"]]


@pytest.mark.parametrize("xml", OTHERS)
@pytest.mark.parametrize("reader", [predicted, on_the_page, behind_the_head, freshened])
def test_nothing_is_predicted_by_a_ranking_of_other_choices(
    here: Installation, reader: Callable[[Installation, Subject], list[list[Any]]], xml: str
) -> None:
    it = here.subjects[1]
    change(it, xml)
    assert not any(reader(here, it))
    it.project.end_trouble()
    here.compare()
    it.check()


def test_a_config_that_says_the_same_choices_otherwise_goes_on_predicting(here: Installation) -> None:
    it = here.subjects[1]
    change(it, config("A", "B").replace("<View>", "<View><Header value='Which?'/>"))
    assert any(predicted(here, it))


@pytest.mark.parametrize("xml", OTHERS)
def test_a_round_of_other_choices_is_not_judged_by_these(here: Installation, xml: str) -> None:
    it = here.subjects[1]
    change(it, xml)
    it.project.judged = ""
    found = judging.evidence(it.project, here.learner.memories.of(1), here.table, here.learner.choosing)
    assert found is None


def test_whether_people_agree_with_what_they_saw_is_told_by_the_names_of_the_choices(here: Installation) -> None:
    it = here.subjects[1]
    before = report(it.project, here.waiting)["acceptance"]
    change(it, config("C", "B", "A"))
    assert it.project.shown()
    assert {choice for chosen, _, _ in it.project.shown().values() for choice in chosen} <= {"A", "B"}
    assert report(it.project, here.waiting)["acceptance"] == before
