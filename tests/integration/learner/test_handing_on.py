"""What is handed on of a project: all tasks with beliefs, and nothing that its rounds would notice."""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
import redis
from tests.helpers.installation import CHOICES, CONFIG, Installation, Subject

from prepal import records
from prepal.errors import PrepalError
from prepal.files import json_array
from prepal.labels.events import read_annotation
from prepal.labels.label_config import parse
from prepal.labels.settle import settle
from prepal.learner.handing_on import Believer, Counts, all_tasks
from prepal.project import Project
from prepal_workers.labelled.read import read_labelled


def exported(it: Subject) -> list[dict[str, Any]]:
    """Label Studio's own export: the tasks that somebody has annotated."""
    tasks = [task for page in it.label_studio.whole_tasks(it.number, it.tasks) for task in page]
    return [{**task, "meta": it.label_studio.meta.get(task["id"])} for task in tasks if task["annotations"]]


def handed_on(here: Installation, it: Subject) -> tuple[list[dict[str, Any]], Counts]:
    counts, label_studio = Counts(), it.label_studio
    believer = Believer(it.project, here.table, here.learner.choosing)
    found = all_tasks(it.number, exported(it), label_studio, believer, it.project.audits(), counts)  # type: ignore[arg-type]
    return list(found), counts


def everything(connection: redis.Redis) -> dict[bytes, bytes | None]:
    return {key: connection.dump(key) for key in connection.scan_iter()}  # type: ignore[misc]


def meta(task: dict[str, Any]) -> dict[str, Any]:
    found = task.get("meta")
    return found if isinstance(found, dict) else {}


def beliefs(task: dict[str, Any]) -> dict[str, float] | None:
    return meta(task).get("prepal_beliefs")


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happened_all_tasks_are_told_with_beliefs_of_those_that_have_vectors_and_no_label(
    install: Callable[..., Installation], seed: int
) -> None:
    random = Random(seed)
    here = install(random.choice([1, 12, 30]))
    it = here.subjects[1]
    for _ in range(random.randint(0, 12)):
        task = random.choice(it.tasks)
        it.label(task, *random.choice([*CHOICES, "gone"]), skip=random.random() < 0.2)
    if random.random() < 0.5:
        here.work()
    for _ in range(random.randint(0, 3)):
        it.label_studio.import_tasks([{"text": random.choice(["", "new", "another one"])}])
    if random.random() < 0.5:
        here.compare()
        it.label(random.choice(it.tasks), random.choice(CHOICES))
    it.label_studio.meta[it.tasks[-1]] = random.choice([{"source": "mail"}, ["odd"], None])
    calls: list[str] = []
    it.label_studio.before_call = calls.append
    before = everything(here.connection)
    tasks, counts = handed_on(here, it)
    assert everything(here.connection) == before
    assert set(calls) <= {"tasks", "whole_tasks"}
    assert [task["id"] for task in tasks] == it.tasks
    assert (tasks, counts) == handed_on(here, it)

    assert counts.annotated == sum(bool(task["annotations"]) for task in tasks)
    assert counts.annotated + counts.others == len(it.tasks)
    raw = it.label_studio.raw_annotations
    labelled = settle({pk: read_annotation(one, one["task"]) for pk, one in raw.items()}, parse(CONFIG)).keys()
    texts = it.project.texts_of(it.tasks)
    lacking = set(here.table.missing(list(texts.values())))
    told = {task["id"]: found for task in tasks if (found := beliefs(task)) is not None}
    known = {task for task, text in texts.items() if text not in lacking} - labelled
    # The names of the choices are embedded, so that something is believed before there is a label.
    assert set(told) == known
    assert counts.without_beliefs == sum(not task["annotations"] and task["id"] not in told for task in tasks)
    for probabilities in told.values():
        assert list(probabilities) == list(CHOICES)
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert tasks[0]["meta"]["prepal_label_config"] == CONFIG
    assert not any("prepal_label_config" in meta(task) for task in tasks[1:])
    if it.label_studio.meta[it.tasks[-1]] == {"source": "mail"}:
        assert tasks[-1]["meta"]["source"] == "mail"
    audits = it.project.audits()
    assert {task["id"] for task in tasks if meta(task).get("prepal_audit")} == audits & set(it.tasks)


def test_beliefs_are_those_that_the_newest_round_ranks_by(install: Callable[..., Installation]) -> None:
    here = install(60)
    it = here.subjects[1]
    for _ in range(20):
        it.label_next()
        here.work()
    ranking = it.project.ranking()
    assert ranking is not None
    assert ranking.predicts
    told = {task["id"]: found for task in handed_on(here, it)[0] if (found := beliefs(task))}
    assert set(told) == set(ranking.task_ids.tolist())
    order = [list(told[task].values()) for task in ranking.task_ids.tolist()]
    np.testing.assert_array_equal(np.argmax(order, axis=1), ranking.chosen.argmax(axis=1))
    np.testing.assert_allclose(np.max(order, axis=1), ranking.confidence, atol=1e-3)


def test_who_never_had_a_round_is_told_what_the_labels_say_and_has_no_round_by_it(
    install: Callable[..., Installation],
) -> None:
    here = install(12)
    it = here.subjects[1]
    for place, task in enumerate(it.tasks[:4]):
        it.label(task, CHOICES[place % 2])
    keys = [it.project.key(name) for name in ("labels-before", "ranking", "round")]
    here.connection.delete(*keys)
    assert sum(beliefs(task) is not None for task in handed_on(here, it)[0]) == 8
    assert not here.connection.exists(*keys)


def test_a_task_that_everybody_skipped_has_no_label_and_so_has_beliefs(install: Callable[..., Installation]) -> None:
    here = install(12)
    it = here.subjects[1]
    for place, task in enumerate(it.tasks[:4]):
        it.label(task, CHOICES[place % 2])
    it.label(it.tasks[4], skip=True)
    here.work()
    tasks, counts = handed_on(here, it)
    assert (counts.annotated, counts.others, counts.without_beliefs) == (5, 7, 0)
    assert [beliefs(task) is not None for task in tasks] == [False] * 4 + [True] * 8


def test_what_is_written_is_read_as_an_export_with_its_own_label_config(install: Callable[..., Installation]) -> None:
    here = install(12)
    it = here.subjects[1]
    for place, task in enumerate(it.tasks[:6]):
        it.label(task, CHOICES[place % 2])
    it.label(it.tasks[6], "gone")
    here.work()
    content = b"".join(json_array(handed_on(here, it)[0]))
    data = read_labelled(content, "all.json")
    given = read_labelled(records.dumps(exported(it)), "export.json", config=parse(CONFIG))
    assert (data.texts, data.labels.tolist(), data.label_names) == (given.texts, given.labels.tolist(), tuple(CHOICES))
    assert data.tasks == 12
    texts = [it.label_studio.data[task]["text"] for task in it.tasks]
    assert data.texts == texts[:6]
    assert sorted(data.unlabelled) == sorted(texts[6:])


def test_a_project_that_is_not_connected_is_told_so(here: Installation) -> None:
    with pytest.raises(PrepalError, match=r"^Project 4 is not connected: run `prepal connect 4`\.$"):
        Believer(Project(here.connection, 4), here.table, here.learner.choosing)
