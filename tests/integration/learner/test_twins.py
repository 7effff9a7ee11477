"""Tasks with the same text are labelled once: a label counts for all of them, for as long as it is there."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis
from tests.helpers.installation import CHOICES, Installation, Subject, look
from tests.integration.learner.test_handing_on import handed_on, meta

from prepal.labels import label_config
from prepal.labels.settle import settle
from prepal.learner import jobs
from prepal.server.model import PrepalModel

COPIES = 5


@pytest.fixture
def here(install: Callable[..., Installation]) -> Installation:
    """A project of eight texts, of which three are there five times."""
    here = install(8)
    it = here.subjects[1]
    texts = [it.label_studio.data[task]["text"] for task in it.tasks[:3]]
    it.label_studio.import_tasks({"text": text} for text in texts * (COPIES - 1))
    here.compare()
    return here


@pytest.fixture
def it(here: Installation) -> Subject:
    return here.subjects[1]


def twins_of(it: Subject, task: int) -> list[int]:
    data = it.label_studio.data
    return [other for other in it.tasks if other != task and data[other] == data[task]]


def told(here: Installation) -> dict[str, Any]:
    found: dict[str, Any] = look(here, 1)[1]
    return found


def unlabel(it: Subject, annotation: int) -> None:
    it.label_studio.delete_annotation(annotation)
    PrepalModel(it.project).fit("ANNOTATIONS_DELETED", {"annotations": [{"id": annotation}]})


def relabel(it: Subject, annotation: int, choice: str) -> None:
    raw = it.label_studio.relabel(annotation, choice)
    PrepalModel(it.project).fit("ANNOTATION_UPDATED", {"annotation": raw})


def twins(it: Subject) -> set[int]:
    ranking = it.project.ranking()
    assert ranking is not None
    return set(ranking.twins.tolist())


def check(it: Subject) -> None:
    """What is served, told and handed on is what the labels say."""
    config = label_config.parse(it.project.info.label_config)
    labels = settle(it.project.annotations(), config)
    texts = it.project.texts_of(it.tasks)
    said: dict[str, set[bytes]] = {}
    for task, label in labels.items():
        said.setdefault(texts[task], set()).add(label.tobytes())
    expected = {task for task in it.tasks if task not in labels and len(said.get(texts[task], ())) == 1}
    record, ranking = it.project.round, it.project.ranking()
    assert record is not None
    assert ranking is not None
    assert twins(it) == expected
    assert record.twins == len(expected)
    assert record.labels == len(labels)
    closed = {raw["task"] for raw in it.label_studio.raw_annotations.values() if raw["was_cancelled"]}
    pool = set(ranking.task_ids.tolist())
    assert set(it.tasks) - expected - labels.keys() - closed <= pool <= set(it.tasks) - expected - labels.keys()
    assert max(Counter(texts[task] for task in record.head).values(), default=1) == 1
    contradicted = {text for text, different in said.items() if len(different) > 1}
    assert {texts[group[0]] for group in record.contradicted} == contradicted
    for group in record.contradicted:
        assert len({texts[task] for task in group}) == 1
        assert len({labels[task].tobytes() for task in group}) == len(group) > 1
    order = [task for task in it.label_studio.order() if it.label_studio.can_be_given(task, 1)]
    assert order[: len(record.head)] == record.head


def everything_served(here: Installation, it: Subject) -> Iterator[int]:
    """Label what is served as long as something is that has no label, each by its text."""
    choices = {data["text"]: CHOICES[place % 2] for place, data in enumerate(it.label_studio.data.values())}
    while (task := it.label_studio.next(1)) is not None and task not in twins(it):
        yield task
        it.label(task, choices[it.label_studio.data[task]["text"]])
        here.work()
        check(it)


def test_each_text_is_asked_for_once(here: Installation, it: Subject) -> None:
    served = list(everything_served(here, it))
    assert len(served) == len({it.label_studio.data[task]["text"] for task in served}) == 8
    assert told(here)["twins"] == {"labelled": 3 * (COPIES - 1), "contradicted": []}
    assert told(here)["labelled"] == 8
    assert told(here)["round"]["ranked"] == 0


def test_twins_of_a_label_come_last_and_come_back_when_it_is_gone(here: Installation, it: Subject) -> None:
    task = it.tasks[0]
    it.label(task, "A")
    here.work()
    check(it)
    jobs.freshen(it.number)
    assert set(it.label_studio.order()[-COPIES + 1 :]) == set(twins_of(it, task))
    (annotation,) = it.label_studio.raw_annotations
    unlabel(it, annotation)
    here.work()
    check(it)
    assert not twins(it)
    assert sum(one in (task, *twins_of(it, task)) for one in everything_served(here, it)) == 1


def test_a_label_that_is_changed_is_changed_for_its_twins(here: Installation, it: Subject) -> None:
    task = it.tasks[0]
    it.label(task, "A")
    here.work()
    (annotation,) = it.label_studio.raw_annotations
    for choice in ("A", "B"):
        relabel(it, annotation, choice)
        here.work()
        marks = {one["id"]: meta(one).get("prepal_twin_label") for one in handed_on(here, it)[0]}
        assert marks == {one: [choice] if one in twins_of(it, task) else None for one in it.tasks}


def test_twins_that_contradict_each_other_are_told_and_hand_on_nothing(here: Installation, it: Subject) -> None:
    one, other, *others = it.tasks[0], *twins_of(it, it.tasks[0])
    it.label(one, "A")
    it.label(other, "B")
    here.work()
    check(it)
    assert not twins(it)
    assert told(here)["twins"] == {"labelled": 0, "contradicted": [[one, other]]}
    assert [entry["task"] for entry in told(here)["contradicted"][0]] == [one, other]
    (note,) = told(here)["notes"]
    assert note.startswith(f"Tasks {one}, {other} have the same text and different labels")
    relabel(it, max(it.label_studio.raw_annotations), "A")
    here.work()
    check(it)
    assert twins(it) == set(others)
    assert told(here)["notes"] == []


def test_who_passed_a_text_is_not_asked_for_its_twins_before_everything_else(here: Installation, it: Subject) -> None:
    first = it.tasks[0]
    it.label(it.tasks[7], "A")
    it.label(it.tasks[6], "B")
    it.label(first, skip=True)
    here.work()
    served = [task for task in everything_served(here, it) if task not in twins_of(it, first)]
    assert len(served) == 5
    # What nobody could say of one task is asked of one other, last.
    assert len(list(it.label_studio.raw_annotations)) == 3 + 5 + 1


def test_what_is_handed_on_counts_twins_apart(here: Installation, it: Subject) -> None:
    it.label(it.tasks[0], "A")
    it.label(it.tasks[1], "B")
    it.label(it.tasks[2], skip=True)
    tasks, counts = handed_on(here, it)
    assert (counts.annotated, counts.others, counts.twins, counts.without_beliefs) == (3, 17, 8, 0)
    assert all(("prepal_beliefs" in meta(one)) != ("prepal_twin_label" in meta(one)) for one in tasks[2:])


@pytest.mark.parametrize("seed", range(8))
def test_whatever_people_do_twins_are_as_the_labels_are(here: Installation, it: Subject, seed: int) -> None:
    random, label_studio = Random(seed), it.label_studio
    for _ in range(25):
        known = sorted(label_studio.raw_annotations)
        happening = random.choice(["next", "next", "any", "skip", "relabel", "delete", "copy", "edit"])
        task = random.choice(it.tasks)
        if happening == "next":
            it.label_next()
        elif happening in ("any", "skip"):
            it.label(task, random.choice(CHOICES), by=random.choice([1, 2]), skip=happening == "skip")
        elif happening == "relabel" and known:
            relabel(it, random.choice(known), random.choice(CHOICES))
        elif happening == "delete" and known:
            unlabel(it, random.choice(known))
        elif happening == "copy":
            label_studio.import_tasks([dict(label_studio.data[task])])
            here.compare()
        elif happening == "edit":
            label_studio.edit_task(task, {"text": random.choice(["edited", "edited too"])})
            here.compare()
        if random.random() < 0.7:
            here.work()
            record = it.project.round
            assert record is not None
            if not any(raw["was_cancelled"] for raw in label_studio.raw_annotations.values()):
                check(it)


def test_a_text_is_as_likely_to_be_drawn_however_many_tasks_have_it(
    redis: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    here = Installation(redis, redis_url, tmp_path, {1: 12}, audit_fraction=1.0)
    it = here.subjects[1]
    drawn = it.project.round.head_audit  # type: ignore[union-attr]
    assert len(drawn) == 4
    for task in it.tasks:
        it.label_studio.import_tasks([it.label_studio.data[task]] * (2 + task % 20))
        here.compare()
        assert it.project.round.head_audit == drawn  # type: ignore[union-attr]


def test_a_text_is_judged_once_whichever_of_its_tasks_was_drawn(here: Installation, it: Subject) -> None:
    it.project.add_audits([it.tasks[0]])
    other = twins_of(it, it.tasks[0])[0]
    it.label(other, "A")
    here.work()
    # Who reads the export sees at the label itself that it may judge.
    assert other in it.project.audits()
