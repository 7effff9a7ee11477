"""What is told of the labels that the next accuracy takes."""

import pytest
import redis

from prepal.labels.events import Annotation
from prepal.project import Info, Project, RoundRecord
from prepal.queues.waiting import WaitingTexts
from prepal.reports.how_much_longer import how_much_longer
from prepal.reports.status import report

CHOICES = '<Choice value="A"/><Choice value="B"/>'
CONFIG = f"<View><Text name='t' value='$t'/><Choices name='topic' toName='t'>{CHOICES}</Choices></View>"


def record(high: int | None) -> RoundRecord:
    forecast = {"goal": 0.925, "about": 223, "low": 180, "high": high}
    return RoundRecord(3, 9, 100, 1900, 1.5, {}, [], [], None, "auto", True, forecast=forecast)


def test_labels_that_are_left_are_told_with_two_digits() -> None:
    found = how_much_longer(record(1434), 100)
    assert found is not None
    assert found["told"] == "About 120 more labels for 92.5 %: between 80 and 1,300."
    assert found["more"] == {"about": 123, "low": 80, "high": 1334}


def test_more_than_there_are_texts_is_no_number() -> None:
    found = how_much_longer(record(None), 100)
    assert found is not None
    assert found["told"] == "About 120 more labels for 92.5 %: 80 or more."
    found = how_much_longer(record(None), 1000)
    assert found is not None
    assert found["told"] == "About 0 more labels for 92.5 %: nobody can say yet whether none or many."


def test_labels_that_came_since_are_not_left_any_more() -> None:
    found = how_much_longer(record(260), 190)
    assert found is not None
    assert found["more"] == {"about": 33, "low": 0, "high": 70}


@pytest.mark.parametrize("known", [None, RoundRecord(3, 9, 2, 8, 1.5, {}, [], [], None, "auto", True)])
def test_nothing_is_told_where_nothing_is_foretold(known: RoundRecord | None) -> None:
    assert how_much_longer(known, 100) is None


def test_status_tells_it(redis: redis.Redis) -> None:
    project = Project(redis, 1)
    project.register()
    project.set_info(Info(label_config=CONFIG))
    project.put_annotations(
        {n: Annotation(n, 1, "2026-01-01T00:00:00+00:00", False, False, {"topic": ["A"]}) for n in range(1, 41)}
    )
    project.finish_round(record(300))
    told = report(project, WaitingTexts(redis, "encoder"))["forecast"]
    assert told == how_much_longer(record(300), 40)
