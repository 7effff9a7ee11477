"""The figures by which people decide: they follow every label, and are the same whoever computes them."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from tests.helpers.installation import CHOICES, Installation, Subject

from prepal.labels.events import Annotation
from prepal.learner import jobs, judging
from prepal.learner.learner import Learner
from prepal.learner.memory.memory import Memory
from prepal.learning.quality.acceptance import LEAST_HIDDEN, LEAST_SHOWN
from prepal.learning.quality.stopping import WINDOW
from prepal.queues.requests import LEARN, QUEUES, SYNC, mark, queue, request_round, request_sync
from prepal.reports.status import report
from prepal.server.model import PrepalModel
from prepal.vectors import text_id


@pytest.fixture
def install(redis: redis.Redis, redis_url: str, tmp_path: Path) -> Callable[..., Installation]:
    def make(tasks: int, audit_fraction: float = 0.1) -> Installation:
        return Installation(redis, redis_url, tmp_path, {1: tasks}, audit_fraction)

    return make


def label_all(here: Installation, it: Subject) -> None:
    """Labels that the vectors tell well, all of them of audit tasks."""
    it.project.add_audits(it.tasks)
    for task in it.tasks:
        it.label(task, truth(here, it, task))
    here.work()


def truth(here: Installation, it: Subject, task: int) -> str:
    _, vectors = here.table.find([it.project.texts_of([task])[task]])
    return CHOICES[int(vectors[0, 0] > 0)]


def figures(it: Subject) -> tuple[dict[str, float] | None, list[int]]:
    record = it.project.round
    assert record is not None
    return record.accuracy, record.suspected


def from_nothing(here: Installation, it: Subject) -> tuple[dict[str, float] | None, list[int]]:
    """What somebody finds who knows nothing but what is stored."""
    before = it.project.judged
    it.project.judged = ""
    found = judging.evidence(it.project, Memory(), here.table, here.learner.choosing)
    it.project.judged = before
    assert found is not None
    told = judging.judge(found)
    return None if told.accuracy is None else asdict(told.accuracy), told.suspected


def test_texts_that_the_encoder_takes_for_equal_are_held_out_together(install: Callable[..., Installation]) -> None:
    here = install(40)
    it = here.subjects[1]
    rng = np.random.default_rng(0)
    texts = it.project.texts_of(it.tasks)
    _, vectors = here.table.find([texts[task] for task in it.tasks])
    # The same words with other capitals: one more task for each, with another text and hardly another vector.
    twins = {task: text_id(f"{texts[task]} again") for task in it.tasks}
    noisy = vectors + 1e-3 * rng.normal(size=vectors.shape)
    here.table.append(list(twins.values()), noisy.astype(np.float16))
    first = max(it.tasks) + 1
    it.project.put_tasks({first + task: twin for task, twin in twins.items()}, {})
    it.project.add_vectors(list(twins.values()))
    by_lot = {task: CHOICES[rng.integers(2)] for task in it.tasks}
    it.project.put_annotations(
        {
            1 + n: Annotation(task, 1, f"2026-01-01T00:00:{n:09d}+00:00", False, False, {"topic": [by_lot[of]]})
            for n, (task, of) in enumerate([(copy, of) for of in it.tasks for copy in (of, first + of)])
        }
    )
    found = judging.evidence(it.project, Memory(), here.table, here.learner.choosing)
    assert found is not None
    assert len(np.unique(found.groups)) == len(found.tasks) / 2 == 40


def test_a_corrected_label_changes_the_figures_at_once(install: Callable[..., Installation]) -> None:
    here = install(40)
    it = here.subjects[1]
    label_all(here, it)
    before, suspected = figures(it)
    assert before is not None
    assert before["audit_tasks"] == 40
    wrong = it.tasks[7]
    (pk,) = (pk for pk, raw in it.label_studio.raw_annotations.items() if raw["task"] == wrong)
    other = CHOICES[1 - CHOICES.index(truth(here, it, wrong))]
    PrepalModel(it.project).fit("ANNOTATION_UPDATED", {"annotation": it.label_studio.relabel(pk, other)})
    here.work()
    after, suspects = figures(it)
    assert after is not None
    assert after["estimate"] < before["estimate"]
    assert wrong in suspects
    assert wrong not in suspected
    assert figures(it) == from_nothing(here, it)
    it.label_studio.delete_annotation(pk)
    PrepalModel(it.project).fit("ANNOTATIONS_DELETED", {"annotations": [{"id": pk}]})
    here.work()
    found, suspects = figures(it)
    assert found is not None
    assert found["audit_tasks"] == 39
    assert wrong not in suspects


def test_a_text_that_was_edited_is_judged_as_it_is_now(install: Callable[..., Installation]) -> None:
    here = install(30)
    it = here.subjects[1]
    label_all(here, it)
    judged = it.project.judged
    it.label_studio.edit_task(it.tasks[3], {"text": "something else altogether"})
    here.compare()
    assert it.project.judged != judged
    assert figures(it) == from_nothing(here, it)


def test_figures_are_not_computed_again_when_nothing_that_they_rest_on_has_changed(
    install: Callable[..., Installation],
) -> None:
    here = install(30)
    it = here.subjects[1]
    label_all(here, it)
    memory, table = here.learner.memories.of(1), here.table
    assert judging.evidence(it.project, memory, table, here.learner.choosing) is None
    # While texts come in, figures of the same labels stay; then they are those of all texts.
    it.label_studio.import_tasks([{"text": "one more"}])
    request_sync(here.connection, 1)
    jobs.read(1)
    here.embed()
    jobs.round(1)
    assert judging.evidence(it.project, memory, table, here.learner.choosing, more_come=True) is None
    assert judging.evidence(it.project, memory, table, here.learner.choosing) is not None
    here.work()
    assert judging.evidence(it.project, memory, table, here.learner.choosing) is None
    assert figures(it) == from_nothing(here, it)


def test_a_later_round_keeps_the_figures_until_there_are_newer_ones(install: Callable[..., Installation]) -> None:
    here = install(30)
    it = here.subjects[1]
    label_all(here, it)
    before = figures(it)
    it.project.add_fact()
    jobs.round(1)
    assert figures(it) == before


def test_fewer_audit_tasks_than_tell_anything_have_no_accuracy_any_more(install: Callable[..., Installation]) -> None:
    here = install(30)
    it = here.subjects[1]
    label_all(here, it)
    assert figures(it)[0] is not None
    for pk in list(it.label_studio.raw_annotations)[3:]:
        it.label_studio.delete_annotation(pk)
        PrepalModel(it.project).fit("ANNOTATIONS_DELETED", {"annotations": [{"id": pk}]})
    here.work()
    assert figures(it) == (None, [])


@pytest.mark.parametrize("knows", ["nothing", "an older round", "the newest round"])
def test_whichever_process_judges_a_round_finds_the_same(install: Callable[..., Installation], knows: str) -> None:
    here = install(40)
    it, one = here.subjects[1], here.learner
    other = here.another_learner()
    it.project.add_audits(it.tasks)
    for place, task in enumerate(it.tasks):
        it.label(task, truth(here, it, task))
        Learner.of_this_process = other if knows == "an older round" and place == 20 else one
        jobs.round(1)
    Learner.of_this_process = one if knows == "the newest round" else other
    jobs.judge(1)
    assert figures(it)[0] is not None
    assert figures(it)[0]["audit_tasks"] == 40
    assert figures(it) == from_nothing(here, it)


def test_a_label_that_comes_while_figures_are_computed_is_in_the_next_ones(
    install: Callable[..., Installation],
) -> None:
    here = install(30)
    it = here.subjects[1]
    label_all(here, it)
    task = it.label_studio.import_tasks([{"text": "one more"}])[0]
    here.compare()
    it.project.add_audits([task])
    it.label(task, "A")
    jobs.round(1)
    evidence = judging.evidence(it.project, here.learner.memories.of(1), here.table, here.learner.choosing)
    assert evidence is not None
    it.label_studio.annotate(task, "B")
    judging.note(it.project, evidence, judging.judge(evidence))
    here.compare()
    assert figures(it) == from_nothing(here, it)


# -- what annotators are shown -------------------------------------------------------------------------------


def label_in_order(here: Installation, it: Subject, count: int, choose: Callable[[int, list[str]], str]) -> list[bool]:
    """Label what is served, by what is shown; returns for each whether something was."""
    shown = []
    for _ in range(count):
        task = it.label_studio.next(1)
        assert task is not None
        seen = it.label_studio.shown(task)
        shown.append(bool(seen))
        it.label(task, choose(task, seen))
        # Figures have nothing to do with it, and take time.
        while here.connection.exists(mark("round", 1)):
            jobs.round(1)
    for job in QUEUES:
        here.connection.delete(mark(job, 1))
    for name in (LEARN, SYNC):
        queue(here.connection, name).empty()
    return shown


def test_an_audit_task_never_shows_a_prediction(install: Callable[..., Installation]) -> None:
    here = install(60, 0.3)
    it = here.subjects[1]

    def choose(task: int, seen: list[str]) -> str:
        record, ranking = it.project.round, it.project.ranking()
        assert record is not None
        assert ranking is not None
        assert ranking.hidden is not None
        place = ranking.task_ids.tolist().index(task)
        assert not seen or not ranking.hidden[place]
        assert not seen or task not in it.project.audits()
        return truth(here, it, task)

    shown = label_in_order(here, it, 40, choose)
    assert any(shown)
    audits = it.project.audits() & {raw["task"] for raw in it.label_studio.raw_annotations.values()}
    assert 0.2 <= len(audits) / 40 <= 0.4
    client = PrepalModel(it.project).predict([{"id": task} for task in it.tasks])
    ranking = it.project.ranking()
    assert ranking is not None
    assert ranking.hidden is not None
    for answer, task in zip(client, it.tasks, strict=True):
        if task in it.project.audits():
            assert answer["result"] == []


@pytest.mark.parametrize("accepts", [True, False])
def test_people_who_accept_what_they_are_shown_are_told_from_those_who_decide(
    install: Callable[..., Installation], accepts: bool
) -> None:
    here = install(120, 0.3)
    it = here.subjects[1]
    rng = np.random.default_rng(1)

    def choose(_: int, seen: list[str]) -> str:
        # What the texts are is chance, so no classifier can be right more often than it should.
        own = CHOICES[int(rng.integers(2))]
        return seen[0] if accepts and seen else own

    shown = label_in_order(here, it, 90, choose)
    assert sum(shown) >= LEAST_SHOWN
    assert len(shown) - sum(shown) >= LEAST_HIDDEN
    found = report(it.project, here.waiting)
    acceptance = found["acceptance"]
    assert acceptance is not None
    assert acceptance["accepts"] is accepts
    assert any("they accept what they are shown" in note for note in found["notes"]) is accepts
    if accepts:
        assert acceptance["shown"]["agreed"] > 0.9
        assert acceptance["hidden"]["agreed"] < 0.8


def test_nothing_is_said_of_acceptance_while_there_is_little_to_go_by(install: Callable[..., Installation]) -> None:
    here = install(40, 0.3)
    it = here.subjects[1]
    label_in_order(here, it, 15, lambda _, seen: seen[0] if seen else "A")
    assert report(it.project, here.waiting)["acceptance"] is None


def test_what_another_process_published_is_not_said_to_have_been_shown(install: Callable[..., Installation]) -> None:
    here = install(40)
    it, one = here.subjects[1], here.learner
    label_in_order(here, it, 10, lambda task, _: truth(here, it, task))
    here.another_learner()
    it.project.add_fact()
    jobs.round(1)
    before = it.project.shown()
    Learner.of_this_process = one
    it.label(it.label_studio.next(1) or 0, "A")
    request_round(here.connection, 1)
    jobs.round(1)
    assert it.project.shown() == before


def test_the_figures_are_told_on_the_page_as_they_are_stored(install: Callable[..., Installation]) -> None:
    here = install(30)
    it = here.subjects[1]
    label_all(here, it)
    told: dict[str, Any] = report(it.project, here.waiting)
    assert (told["accuracy"], told["suspected"]) == figures(it)


def test_how_well_models_agree_is_not_said_of_labels_that_are_no_more(install: Callable[..., Installation]) -> None:
    here = install(200)
    it = here.subjects[1]
    by_lot = np.random.default_rng(0)
    for number, task in enumerate(it.tasks[:80], start=1):
        it.label(task, truth(here, it, task))
        if not number % 10:
            here.work()
    assert it.project.round is not None
    kappas = it.project.round.stability["kappas"]
    assert len(kappas) >= WINDOW
    # As many labels as before, all of them other ones.
    for pk in list(it.label_studio.raw_annotations):
        changed = it.label_studio.relabel(pk, CHOICES[by_lot.integers(2)])
        PrepalModel(it.project).fit("ANNOTATION_UPDATED", {"annotation": changed})
    here.work()
    assert it.project.round is not None
    after = it.project.round.stability["kappas"]
    assert after[:-1] == kappas
    assert after[-1] < 0.9
    # Other choices.
    it.label_studio.settings["label_config"] = it.label_studio.settings["label_config"].replace(CHOICES[0], "another")
    here.compare()
    for task in it.tasks[80:90]:
        it.label(task, ("another", CHOICES[1])[by_lot.integers(2)])
    here.work()
    assert it.project.round is not None
    assert len(it.project.round.stability["kappas"]) <= 1
