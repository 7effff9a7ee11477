"""Predictions that somebody imported are read, believed as far as labels prove them right, and told."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers.installation import CHOICES, Installation, Subject, look

from prepal.labels.label_config import parse
from prepal.learner import judging
from prepal.learner.memory.memory import Memory
from prepal.learning.weakly_taught import WeaklyTaught


@pytest.fixture
def here(install: Callable[..., Installation]) -> Installation:
    return install(40)


@pytest.fixture
def it(here: Installation) -> Subject:
    return here.subjects[1]


def predict(it: Subject, task: int, choice: str, version: str = "a language model") -> int:
    """Somebody imports a prediction."""
    result = parse(it.label_studio.settings["label_config"]).result([CHOICES.index(choice)], 0.9) if choice else []
    fields: dict[str, Any] = {"task": task, "result": result, "score": 0.7, "model_version": version}
    return int(it.label_studio.create_prediction(fields))


def said(it: Subject) -> dict[int, str]:
    tasks, numbers, names = it.project.weak_labels()
    return {task: names[number] for task, number in zip(tasks.tolist(), numbers.tolist(), strict=True)}


def told(here: Installation) -> dict[str, Any]:
    here.compare()
    here.maintain()
    here.work()
    found: dict[str, Any] = look(here, 1)[1]
    return found


def test_imported_predictions_are_what_the_classifier_begins_from(here: Installation, it: Subject) -> None:
    for task in it.tasks[:30]:
        predict(it, task, CHOICES[task % 2])
    found = told(here)
    assert said(it) == {task: CHOICES[task % 2] for task in it.tasks[:30]}
    assert found["round"]["weak_labels"]["tasks"] == 30
    assert found["round"]["weak_labels"]["weight"] == pytest.approx(1)
    assert any("30 predictions that somebody imported" in note for note in found["notes"])
    assert isinstance(here.learner.memories.of(1).learner, WeaklyTaught)
    # Whoever looks for the first time finds the same evidence.
    it.project.judged = ""
    evidence = judging.evidence(it.project, Memory(), here.table, here.learner.choosing)
    assert evidence is not None
    assert evidence.weak is not None
    assert len(evidence.weak.labels) == 30


def test_the_newest_prediction_counts_and_nothing_of_our_own_models_does(here: Installation, it: Subject) -> None:
    first, second, third = it.tasks[:3]
    predict(it, first, "A", "rules")
    predict(it, first, "B", "a language model")
    predict(it, second, "A", "PRepAL fine-tuned 12345678")
    predict(it, third, "", "rules")
    told(here)
    assert said(it) == {first: "B"}


def test_predictions_that_are_deleted_count_no_more(here: Installation, it: Subject) -> None:
    ours = told(here)
    assert ours["round"]["weak_labels"] == {"tasks": 0, "weight": None}
    made = [predict(it, task, CHOICES[task % 2]) for task in it.tasks]
    assert told(here)["round"]["weak_labels"]["tasks"] == 40
    for prediction in made:
        it.label_studio.delete_prediction(prediction)
    found = told(here)
    assert found["round"]["weak_labels"] == {"tasks": 0, "weight": None}
    assert not any("imported" in note for note in found["notes"])
    assert not isinstance(here.learner.memories.of(1).learner, WeaklyTaught)


def test_labels_are_learnt_and_judged_beside_imported_predictions(here: Installation, it: Subject) -> None:
    it.project.add_audits(it.tasks)
    for task in it.tasks:
        predict(it, task, CHOICES[(task + 1) % 2])
    told(here)
    for _ in range(20):
        it.label_next()
        here.work()
        it.check()
    found = told(here)
    assert found["accuracy"]["audit_tasks"] == 20
    assert found["round"]["weak_labels"]["tasks"] == 40
