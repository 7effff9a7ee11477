"""What is told of people: on the page and by `status`, with their names."""

from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from tests.helpers.installation import Installation, Subject, look
from tests.helpers.label_studio_in_memory import LabelStudioInMemory

from prepal.cli.screen import show_status
from prepal.errors import PrepalError
from prepal.labels.events import Annotation, read_annotation
from prepal.records import fill
from prepal.reports.status import report
from prepal.server.model import PrepalModel


@pytest.fixture
def install(redis: redis.Redis, redis_url: str, tmp_path: Path) -> Callable[[], Installation]:
    def make() -> Installation:
        return Installation(redis, redis_url, tmp_path, {1: 40, 999: 1})

    return make


def label(it: Subject, task: int, choice: str, by: int, seconds: float, *, true: bool = False) -> None:
    raw = it.label_studio.annotate(task, choice, by=by)
    it.label_studio.raw_annotations[raw["id"]] |= {"lead_time": seconds, "ground_truth": true}
    PrepalModel(it.project).fit("ANNOTATION_CREATED", {"annotation": it.label_studio.raw_annotations[raw["id"]]})


def test_agreement_speed_and_acceptance_are_told_of_each(
    install: Callable[[], Installation], capsys: pytest.CaptureFixture[str]
) -> None:
    here = install()
    it = here.subjects[1]
    for number, task in enumerate(it.tasks[:20]):
        label(it, task, "A" if number % 2 else "B", 1, 4.0 + number % 3)
        label(it, task, "B" if number < 4 else "A" if number % 2 else "B", 2, 9.0)
    for task in it.tasks[:6]:
        label(it, task, "A", 3, 1.0, true=True)
    it.label(it.tasks[30], by=2, skip=True)
    here.compare()
    told = look(here, 1)[1]["people"]
    anna, ben, other = told["annotators"]
    assert [one["name"] for one in told["annotators"]] == ["Anna", "ben@example.com", ""]
    assert (anna["annotations"], anna["passed"], anna["seconds"]) == (20, 0, 5.0)
    assert (ben["annotations"], ben["passed"], ben["seconds"]) == (20, 1, 9.0)
    assert anna["truth"] == {"tasks": 6, "agreed": 0.5, "kappa": 0.0}
    assert other["truth"] is None
    both = next(pair for pair in told["agreement"] if pair["people"] == [1, 2])
    assert (both["tasks"], both["agreed"]) == (20, 0.9)
    assert both["kappa"] == pytest.approx(0.8)
    show_status(report(it.project, here.waiting))
    shown = capsys.readouterr().out
    assert "Anna: 20 labels, 5.0 s each, 50% as ground truth" in shown
    assert "Anna and ben@example.com: 90% of 20 the same, kappa 0.80" in shown


def test_who_labels_one_after_the_other_is_compared_with_what_was_shown_and_hidden(
    install: Callable[[], Installation],
) -> None:
    here = install()
    it = here.subjects[1]
    for _ in range(30):
        it.label_next()
        here.work()
    (one,) = look(here, 1)[1]["people"]["annotators"]
    seen = it.project.shown()
    for kind, is_hidden in (("shown", False), ("hidden", True)):
        tasks = [task for task, (_, _, hidden) in seen.items() if hidden == is_hidden]
        assert (one[kind] or {"tasks": 0})["tasks"] == (len(tasks) if len(tasks) >= 5 else 0)
    assert 0 <= one["shown"]["agreed"] <= 1


def test_a_token_that_may_not_read_names_leaves_numbers(install: Callable[[], Installation]) -> None:
    here = install()
    it = here.subjects[1]

    def refuse(name: str) -> None:
        if name == "users":
            raise PrepalError("Label Studio answered 403 to GET api/users/: no.")

    for subject in here.subjects.values():
        studio: LabelStudioInMemory = subject.label_studio
        studio.before_call = refuse
    it.label(it.tasks[0], "A", by=7)
    here.compare()
    assert it.project.people() == {7: ""}
    assert it.project.troubles() == []


def test_annotations_of_the_release_before_have_no_lead_time_and_are_read() -> None:
    old = {"task": 1, "annotator": 2, "updated_at": "", "skipped": False, "ground_truth": False, "choices": {}}
    assert fill(Annotation, old) == Annotation(1, 2, "", False, False, {})
    for lead_time in (None, "x", -1, True, float("nan"), float("inf"), 10**400):
        assert read_annotation({"lead_time": lead_time}, 1).lead_time is None
    assert read_annotation({"lead_time": 3}, 1).lead_time == 3.0
