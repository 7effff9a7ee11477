"""Second looks as tabs of the Data Manager: what is in them, what people may do to them, and what stays as it was."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers.installation import CHOICES, Installation, Subject
from tests.helpers.label_studio_in_memory import BACKEND_URL

from prepal.label_studio import tabs
from prepal.label_studio.connect import connect, disconnect
from prepal.label_studio.publish import Published
from prepal.learner import jobs
from prepal.server.model import PrepalModel

TASKS, LABELS = 80, 60
WRONG, PASSED = tabs.TITLES["suspected"], tabs.TITLES["passed"]


@pytest.fixture
def here(install: Callable[..., Installation]) -> Installation:
    return install(TASKS)


@pytest.fixture
def it(here: Installation) -> Subject:
    """A project with labels, of which those of three texts that are easy to tell are wrong."""
    subject = here.subjects[1]
    wrong = planted(here, subject)
    for task in subject.tasks[:LABELS]:
        right = truth(here, subject, task)
        subject.label(task, other(right) if task in wrong else right)
    here.work()
    return subject


def planted(here: Installation, it: Subject) -> list[int]:
    return sorted(it.tasks[:LABELS], key=lambda task: -abs(side(here, it, task)))[:3]


def truth(here: Installation, it: Subject, task: int) -> str:
    return CHOICES[int(side(here, it, task) > 0)]


def side(here: Installation, it: Subject, task: int) -> float:
    _, vectors = here.table.find([it.project.texts_of([task])[task]])
    return float(vectors[0, 0])


def other(choice: str) -> str:
    return CHOICES[1 - CHOICES.index(choice)]


def annotation_of(it: Subject, task: int) -> int:
    return next(pk for pk, raw in it.label_studio.raw_annotations.items() if raw["task"] == task)


def relabel(it: Subject, task: int, choice: str) -> None:
    raw = it.label_studio.relabel(annotation_of(it, task), choice)
    PrepalModel(it.project).fit("ANNOTATION_UPDATED", {"annotation": raw})


def tab_data(it: Subject, title: str) -> dict[str, Any]:
    data: dict[str, Any] = next(t["data"] for t in it.label_studio.tab_list if t["data"]["title"] == title)
    return data


def titles(it: Subject) -> list[str]:
    return [tab["data"]["title"] for tab in it.label_studio.tab_list]


def tab(it: Subject, title: str) -> list[int]:
    """The tasks of a tab, in its order, as Label Studio finds them."""
    data, annotations = tab_data(it, title), it.label_studio.raw_annotations
    found: set[int] = set()
    for item in data["filters"]["items"]:
        if item["filter"] == "filter:tasks:id":
            found.add(item["value"])
        else:
            found |= {annotations[n]["task"] for n in map(int, item["value"].split(", ")) if n in annotations}
    scores = {row["task"]: row["score"] for row in it.label_studio.predictions(project=it.number)}
    skips = Counter(raw["task"] for raw in annotations.values() if raw["was_cancelled"])
    by_score = data["ordering"] == ["tasks:predictions_score"]
    return sorted(found & set(it.tasks), key=lambda task: (scores.get(task, 2.0) if by_score else -skips[task], task))


def suspected(it: Subject) -> list[int]:
    return tab(it, WRONG)


def refresh(it: Subject) -> bool:
    return tabs.refresh(it.project, Published(), it.label_studio, lambda: False)  # type: ignore[arg-type]


def test_wrong_labels_come_first_with_the_reason_in_the_prediction(here: Installation, it: Subject) -> None:
    assert set(suspected(it)[:3]) == set(planted(here, it))
    for task in planted(here, it):
        (row,) = it.label_studio.predictions(task=task)
        right, (item,) = truth(here, it, task), row["result"]
        assert item["value"]["choices"] == [right]
        assert item["meta"]["text"][0].startswith(f"Rather {right} (")
        assert item["meta"]["text"][0].endswith("%).")
        assert f"than {other(right)} (" in item["meta"]["text"][0]


def test_tabs_that_have_nothing_to_show_are_not_made_and_the_usual_one_is(it: Subject) -> None:
    assert titles(it) == ["Default", WRONG]
    assert tab_data(it, "Default")["hiddenColumns"]["explore"] == tab_data(it, WRONG)["hiddenColumns"]["labeling"]
    assert "tasks:predictions_results" not in tab_data(it, WRONG)["hiddenColumns"]["explore"]
    assert "tasks:predictions_score" in tab_data(it, WRONG)["hiddenColumns"]["explore"]


def test_a_corrected_label_leaves_by_the_job_after_the_round(it: Subject, here: Installation) -> None:
    wrong = planted(here, it)[1]
    assert wrong in suspected(it)
    relabel(it, wrong, truth(here, it, wrong))
    jobs.round(it.number)
    jobs.second_looks(it.number)
    assert wrong not in suspected(it)
    here.work()
    assert wrong not in suspected(it)


def test_the_order_that_people_are_served_in_stays_as_it_was(it: Subject, here: Installation) -> None:
    labelled = {raw["task"] for raw in it.label_studio.raw_annotations.values()}
    scores = {row["task"]: row["score"] for row in it.label_studio.predictions(project=it.number)}
    listed = suspected(it)
    assert set(listed) <= labelled
    assert min(scores[task] for task in listed) > max(score for task, score in scores.items() if task not in labelled)
    assert len({scores[task] for task in listed}) == len(listed)
    it.check()
    # Who loses their label is served again, in the place that the round gives.
    for task in listed[:2]:
        number = annotation_of(it, task)
        it.label_studio.delete_annotation(number)
        PrepalModel(it.project).fit("ANNOTATIONS_DELETED", {"annotations": [{"id": number}]})
        here.work()
        it.check()
    assert set(suspected(it)).isdisjoint(listed[:2])


def test_nothing_is_asked_of_label_studio_while_nothing_changes(it: Subject) -> None:
    before = it.label_studio.calls
    assert refresh(it)
    assert it.label_studio.calls == before
    it.project.add_fact()
    assert refresh(it)
    assert it.label_studio.calls == before


def test_a_label_that_is_submitted_once_more_is_suspected_no_more(it: Subject, here: Installation) -> None:
    task, second, _ = planted(here, it)
    relabel(it, task, other(truth(here, it, task)))
    here.work()
    assert task not in suspected(it)
    relabel(it, second, truth(here, it, second))
    here.work()
    assert task not in suspected(it)
    assert it.project.confirmed() == {task: [other(truth(here, it, task))]}


def test_ground_truth_is_not_suspected(it: Subject, here: Installation) -> None:
    task = planted(here, it)[0]
    raw = it.label_studio.raw_annotations[annotation_of(it, task)]
    raw["ground_truth"] = True
    PrepalModel(it.project).fit("ANNOTATION_UPDATED", {"annotation": dict(raw)})
    here.work()
    assert task not in suspected(it)


def test_a_tab_is_emptied_when_nothing_is_left_and_filled_again(it: Subject, here: Installation) -> None:
    task = it.tasks[LABELS]
    it.label(task, skip=True)
    here.work()
    assert tab(it, PASSED) == [task]
    it.label(task, "A", by=2)
    here.work()
    assert tab(it, PASSED) == []
    assert titles(it).count(PASSED) == 1
    it.label(it.tasks[LABELS + 1], skip=True)
    here.work()
    assert tab(it, PASSED) == [it.tasks[LABELS + 1]]


def test_disagreement_and_postponed_tasks_have_their_tabs(it: Subject, here: Installation) -> None:
    agreed, task = [task for task in it.tasks if task not in planted(here, it)][:2]
    later = it.tasks[LABELS + 2]
    it.label(task, other(truth(here, it, task)), by=2)
    it.label(agreed, truth(here, it, agreed), by=2)
    it.label_studio.postpone(later, by=1)
    it.project.set_postponed([later], {later: {1}})
    here.work()
    assert tab(it, tabs.TITLES["disputed"]) == [task]
    assert tab(it, PASSED) == [later]


def test_what_people_set_stays_and_other_filters_are_put_right(it: Subject, here: Installation) -> None:
    mine = {"id": 1, "data": {"title": "Mine", "filters": {"conjunction": "and", "items": []}}}
    it.label_studio.tab_list.append(mine)
    data, before = tab_data(it, WRONG), suspected(it)
    data |= {"ordering": ["tasks:id"], "columnsWidth": {"tasks:id": 7}, "filters": {"conjunction": "or", "items": []}}
    here.compare()
    data = tab_data(it, WRONG)
    assert (data["ordering"], data["columnsWidth"]) == (["tasks:id"], {"tasks:id": 7})
    assert sorted(suspected(it)) == sorted(before)
    assert it.label_studio.tab_list[-1] == mine


def test_who_deletes_a_tab_wants_none_until_the_project_is_connected_again(it: Subject, here: Installation) -> None:
    it.label_studio.tab_list = [tab for tab in it.label_studio.tab_list if tab["data"]["title"] != WRONG]
    here.compare()
    first, second, _ = planted(here, it)
    relabel(it, first, truth(here, it, first))
    here.work()
    assert titles(it) == ["Default"]
    connect(it.project, it.label_studio, BACKEND_URL)  # type: ignore[arg-type]
    here.compare()
    assert titles(it) == ["Default", WRONG]
    assert second in suspected(it)


def test_a_tab_that_was_renamed_is_its_owners_and_another_one_is_made(it: Subject, here: Installation) -> None:
    tab_data(it, WRONG)["title"] = "For Anna"
    here.compare()
    kept = tab_data(it, "For Anna")["filters"]
    task = planted(here, it)[0]
    relabel(it, task, truth(here, it, task))
    here.work()
    assert titles(it) == ["Default", "For Anna", WRONG]
    assert tab_data(it, "For Anna")["filters"] == kept


def test_tabs_are_found_again_by_their_titles_when_redis_was_lost(it: Subject, here: Installation) -> None:
    it.project.connection.flushdb()
    it.project.register()
    here.compare()
    assert titles(it) == ["Default", WRONG]
    assert set(suspected(it)[:3]) == set(planted(here, it))


def test_a_round_that_waits_comes_first(it: Subject) -> None:
    it.project.set_tabs({})
    assert not tabs.refresh(it.project, Published(), it.label_studio, lambda: True)  # type: ignore[arg-type]
    assert not tabs.is_fresh(it.project)
    for _ in range(len(suspected(it))):
        if tabs.refresh(it.project, Published(), it.label_studio, lambda: True):  # type: ignore[arg-type]
            break
    assert tabs.is_fresh(it.project)


def test_who_leaves_takes_the_tabs_along_and_no_other(it: Subject) -> None:
    it.label_studio.tab_list.append({"id": 1, "data": {"title": "Mine"}})
    changes = disconnect(it.project, it.label_studio, BACKEND_URL, predictions=False)  # type: ignore[arg-type]
    assert f"Deleted the tab {WRONG!r}." in changes
    assert titles(it) == ["Default", "Mine"]
