"""The figures of a ranking whose encoder learnt from the labels: what it has learnt does not speak for it."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import redis
from tests.helpers.adapted import restart
from tests.helpers.installation import CHOICES, Installation, Subject

from prepal.labels.events import Annotation
from prepal.learner import jobs, judging
from prepal.learner.memory.memory import Memory
from prepal.vectors import VectorTable, text_id, text_ids


@pytest.fixture
def here(redis: redis.Redis, redis_url: str, tmp_path: Path) -> Installation:
    return Installation(redis, redis_url, tmp_path, {1: 60})


@pytest.fixture
def it(here: Installation) -> Subject:
    return here.subjects[1]


def truth(here: Installation, it: Subject, task: int) -> str:
    """What the vectors of the base encoder tell."""
    _, vectors = here.table.find([it.project.texts_of([task])[task]])
    return CHOICES[int(vectors[0, 0] > 0)]


def clearest(here: Installation, it: Subject, unlearnt: int = 20) -> list[int]:
    """The tasks that an encoder will have learnt from, first those that the base encoder tells best."""
    texts, seen = it.project.texts_of(it.tasks), it.tasks[: len(it.tasks) - unlearnt]
    return sorted(seen, key=lambda task: -abs(here.table.find([texts[task]])[1][0, 0]))


def adapted_by_heart(here: Installation, it: Subject, labels: dict[int, str]) -> str:
    """Let an encoder be wanted that tells these labels, right or wrong, and others as the base encoder does."""
    here.stuck = {name := here.adapt(it)}
    here.work()
    texts = it.project.texts_of(it.tasks)
    vectors = np.zeros((len(texts), 8))
    vectors[:, 1:] = 0.1 * np.random.default_rng(0).normal(size=(len(texts), 7))
    vectors[:, 0] = [CHOICES.index(labels.get(task, truth(here, it, task))) - 0.5 for task in texts]
    VectorTable(here.settings.prepal_vectors, name).append(list(texts.values()), vectors.astype(np.float16))
    here.stuck = set()
    return name


def label(here: Installation, it: Subject, labels: dict[int, str]) -> None:
    for task, choice in labels.items():
        it.label(task, choice)
    here.work()


def evidence(here: Installation, it: Subject) -> judging.Evidence:
    assert it.project.encoder is not None
    it.project.judged = ""
    found = judging.evidence(
        it.project, Memory(), here.learner.table_of(it.project.encoder), here.learner.choosing, more_come=False
    )
    assert found is not None
    return found


def switched(here: Installation, it: Subject, wrong: int = 0, unlearnt: int = 20) -> tuple[dict[int, str], str]:
    """All tasks are labelled, a few wrongly, all are audit tasks, and the last ones the encoder never saw."""
    labels = {task: truth(here, it, task) for task in it.tasks}
    labels |= {task: CHOICES[1 - CHOICES.index(labels[task])] for task in clearest(here, it, unlearnt)[:wrong]}
    seen = dict(list(labels.items())[: len(labels) - unlearnt])
    it.project.add_audits(it.tasks)
    label(here, it, seen)
    name = adapted_by_heart(here, it, labels)
    label(here, it, {task: labels[task] for task in labels.keys() - seen.keys()})
    here.compare()
    assert it.project.encoder == name
    return labels, name


def test_an_encoder_is_judged_by_audit_tasks_that_it_has_not_learnt_from(here: Installation, it: Subject) -> None:
    switched(here, it)
    record = it.project.round
    assert record is not None
    assert record.accuracy is not None
    assert record.accuracy["audit_tasks"] == 20
    found = judging.judge(evidence(here, it), here.table).accuracy
    assert found is not None
    assert asdict(found) == record.accuracy


def test_an_encoder_of_which_nobody_knows_what_it_learnt_from_is_not_judged(here: Installation, it: Subject) -> None:
    _, name = switched(here, it)
    here.connection.hdel(it.project.key("learnt-by"), name)
    assert judging.judge(evidence(here, it), here.table).accuracy is None


def test_a_task_with_a_text_like_one_that_the_encoder_learnt_from_does_not_judge_it(
    here: Installation, it: Subject
) -> None:
    switched(here, it)
    texts, first = it.project.texts_of(it.tasks), max(it.tasks) + 1
    # One text in other capitals for each of the first tasks, which the encoder knows, and for each of the last ones.
    twins = {task: text_id(f"{texts[task]} again") for task in [*it.tasks[:5], *it.tasks[-5:]]}
    noise = 1e-3 * np.random.default_rng(0).normal(size=(len(twins), 8))
    for encoder in (here.table.encoder, it.project.encoder or ""):
        table = VectorTable(here.settings.prepal_vectors, encoder)
        vectors = np.concatenate([table.find([texts[task]])[1] for task in twins])
        table.append(list(twins.values()), (vectors + noise).astype(np.float16))
    it.project.put_tasks({first + task: twin for task, twin in twins.items()}, {})
    it.project.add_vectors(list(twins.values()))
    it.project.add_audits([first + task for task in twins])
    time = "2026-01-01T00:00:00+00:00"
    it.project.put_annotations(
        {-task: Annotation(first + task, 1, time, False, False, {"topic": [truth(here, it, task)]}) for task in twins}
    )
    found = judging.judge(evidence(here, it), here.table).accuracy
    assert found is not None
    assert found.audit_tasks == 20 + 5


def test_an_encoder_that_takes_all_texts_of_a_choice_for_equal_is_judged_by_each_text(
    here: Installation, it: Subject
) -> None:
    switched(here, it)
    found = evidence(here, it)
    collapsed = np.zeros_like(found.vectors)
    collapsed[:, 0] = found.labels - 0.5
    found = judging.replace(found, vectors=collapsed, groups=found.labels)
    told = judging.judge(found, here.table).accuracy
    assert told is not None
    assert (told.audit_tasks, told.audit_right) == (20, 1.0)
    assert told.estimate > 0.95


def test_labels_that_an_encoder_has_learnt_by_heart_are_suspected_by_the_one_before(
    here: Installation, it: Subject
) -> None:
    wrong = set(clearest(here, it)[:3])
    switched(here, it, wrong=3)
    record = it.project.round
    assert record is not None
    by_heart = judging.judge(evidence(here, it))
    assert not wrong & set(by_heart.suspected)
    assert wrong <= set(record.suspected)


@pytest.mark.parametrize("left", [0, 10, 50])
def test_labels_whose_vectors_of_the_encoder_before_are_gone_are_not_suspected(
    here: Installation, it: Subject, left: int
) -> None:
    switched(here, it, wrong=3)
    texts = it.project.texts_of(it.tasks)
    kept = (clearest(here, it) + it.tasks[-20:])[:left]
    here.table.delete([texts[task] for task in it.tasks if task not in kept])
    figures = judging.judge(evidence(here, it), here.table)
    assert figures.accuracy is not None
    assert figures.accuracy.audit_tasks == 20
    assert set(figures.suspected) <= set(kept)
    # Ten labels are too few to suspect any of them.
    assert bool(figures.suspected) is (left == 50)


def test_labels_are_suspected_as_if_no_encoder_had_been_adapted(here: Installation, it: Subject) -> None:
    switched(here, it, wrong=3)
    adapted = judging.judge(evidence(here, it), here.table)
    restart(here, prepal_adapt="off")
    here.work()
    assert it.project.encoder == here.table.encoder
    found = evidence(here, it)
    # What names say depends a little on who asks first; without audit tasks nobody asks before.
    found = judging.replace(found, is_audit=np.zeros(len(found.tasks), bool))
    assert judging.judge(found).suspected == adapted.suspected
    assert adapted.suspected


def test_a_round_that_failed_after_another_encoder_was_begun_is_not_judged_as_if_it_had_not(
    here: Installation, it: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(here, it, {task: truth(here, it, task) for task in it.tasks[:10]})
    name = here.adapt(it)
    for job in ("reconcile", "read", "read"):
        getattr(jobs, job)(1)
    here.embed()

    def fail(*_: object) -> Callable[[], None]:
        raise OSError("The disk is full.")

    with monkeypatch.context() as failing:
        failing.setattr(Memory, "refresh", fail)
        jobs.round(1)
    assert it.project.encoder == name
    it.project.judged = ""
    memory = here.learner.memories.of(1)
    assert judging.evidence(it.project, memory, here.learner.table_of(name), here.learner.choosing) is None
    it.rest()
    here.maintain()
    here.work()
    assert it.project.troubles() == []
    assert memory.learnt[2] == name
    assert len(it.project.learnt_by(name)) == len(text_ids(list(it.project.texts_of(it.tasks[:10]).values())))
