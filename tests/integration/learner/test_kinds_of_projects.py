"""Whatever a project is, it goes the whole way, and another one beside it is well."""

from collections.abc import Callable

import pytest
from tests.helpers.installation import CHOICES, WELL, Installation, Subject, check_well, look

from prepal.learner import jobs
from prepal.queues.requests import request_sync


def all_labelled(_: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label(task, CHOICES[task % 2])


def all_skipped(_: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label(task, skip=True)


def all_empty(_: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label(task)


def all_without_text(_: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label_studio.edit_task(task, {"text": "", "other": task})


def all_gone(_: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label_studio.delete_task(task)


def one_choice_in_use(_: Installation, it: Subject) -> None:
    for task in it.tasks[:8]:
        it.label(task, "A")


def labels_of_no_choice(_: Installation, it: Subject) -> None:
    for task in it.tasks[:8]:
        it.label(task, "a choice of yesterday")


def all_refused(here: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label_studio.edit_task(task, {"text": f"refused {task}"})
    request_sync(here.connection, it.number, full=True)
    for job in ("reconcile", "read"):
        getattr(jobs, job)(it.number)
    for key in here.waiting.ids():
        here.waiting.set_aside(key, "the encoder says no")


def all_the_same(_: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label_studio.edit_task(task, {"text": "the same"})


def half_of_them_twice(_: Installation, it: Subject) -> None:
    for task in it.tasks[::2]:
        it.label(task, "A", by=1)
        it.label(task, "B", by=2)


KINDS = [
    all_labelled,
    all_skipped,
    all_empty,
    all_without_text,
    all_gone,
    one_choice_in_use,
    labels_of_no_choice,
    all_refused,
    all_the_same,
    half_of_them_twice,
]


@pytest.mark.parametrize("tasks", [0, 1, 2, 12])
def test_a_project_of_any_kind_goes_the_whole_way(install: Callable[..., Installation], tasks: int) -> None:
    kinds = KINDS if tasks else [all_gone]
    here = install(*[tasks] * len(kinds))
    several = [subject for number, subject in here.subjects.items() if number != WELL]
    for kind, subject in zip(kinds, several, strict=True):
        kind(here, subject)
    here.compare()
    here.maintain()
    here.work()
    for number, told in look(here, *(subject.number for subject in several)).items():
        assert told["troubles"] == [], kinds[number - 1].__name__
        assert told["up_to_date"], kinds[number - 1].__name__
        here.subjects[number].check()
    check_well(here)
    # And it goes on when there is something to label again.
    for subject in several:
        subject.label_studio.import_tasks({"text": f"another {n}"} for n in range(6))
    here.compare()
    for subject in several:
        task = subject.label_studio.next(2)
        assert task is not None, kinds[subject.number - 1].__name__
        subject.label(task, "B", by=2)
    here.work()
    for subject in several:
        subject.check()
