"""All that is known of a project's tasks, for whoever learns next; nothing is published, nor written into Redis."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prepal.errors import PrepalError
from prepal.label_studio.client import LabelStudio
from prepal.labels import label_config
from prepal.labels.events import BELIEFS, LABEL_CONFIG, TWIN_LABEL, marked
from prepal.learner.fitting import Choosing, Round, learn
from prepal.learner.memory.memory import Memory
from prepal.project import Project
from prepal.vectors import VectorTable

# Probabilities are told to a millionth.
_DIGITS = 6


class Believer:
    """A classifier that has learnt from all labels so far, as in a round.

    Args:
        project: whose labels and vectors Redis knows.
        table: the vectors that its ranking rests on.
        choosing: how its tasks are chosen.

    Raises:
        PrepalError: the project is not connected, or its label config cannot be served.
    """

    def __init__(self, project: Project, table: VectorTable, choosing: Choosing) -> None:
        self.label_config = project.info.label_config
        if not self.label_config:
            raise PrepalError(f"Project {project.id} is not connected: run `prepal connect {project.id}`.")
        config, memory = label_config.parse(self.label_config), Memory()
        self._questions = learn(project, memory, table, config, choosing).questions

    @property
    def can_predict(self) -> bool:
        """Whether it tells any two texts apart, as any question has it."""
        return any(question.learner.can_predict for question in self._questions)

    def of_tasks(self, tasks: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return what is known of tasks that have no label of their own, by task, as `meta` of an export has it.

        That is the probability of each choice, or the choices that it takes from a task with the same text. Of several
        questions each has its own under its name.
        """
        found: dict[int, dict[str, Any]] = {}
        for question in self._questions:
            name = question.config.from_name
            for key, known in ((BELIEFS, _beliefs(question, tasks)), (TWIN_LABEL, _twin_labels(question, tasks))):
                for task, what in known.items():
                    of_task = found.setdefault(task, {})
                    if len(self._questions) == 1:
                        of_task[key] = what
                    else:
                        of_task.setdefault(key, {})[name] = what
        return found


def _beliefs(this: Round, tasks: Sequence[int]) -> dict[int, dict[str, float]]:
    """The probability of each choice, by task: of those that have no label, and a vector."""
    places = this.memory.places(tasks)
    known = places >= 0
    known[known] = ~(this.labelled.mask | this.answered)[places[known]]
    if not known.any():
        return {}
    probabilities = this.probabilities(this.memory.vectors_at(places[known]))
    if probabilities is None:
        return {}
    rounded = np.round(probabilities.astype(float), _DIGITS).tolist()
    return {
        task: dict(zip(this.config.choices, row, strict=True))
        for task, row in zip(np.asarray(tasks)[known].tolist(), rounded, strict=True)
    }


def _twin_labels(this: Round, tasks: Sequence[int]) -> dict[int, list[str]]:
    """The choices, by task, of those that take them from a task with the same text."""
    labelled = this.labelled
    takes, places = labelled.takes & ~this.answered, this.memory.places(tasks)
    return {
        task: this.config.names(labelled.rows[labelled.given[place]])
        for task, place in zip(tasks, places.tolist(), strict=True)
        if place >= 0 and takes[place]
    }


@dataclass
class Counts:
    """How many tasks were handed on.

    Attributes:
        annotated: those that Label Studio's export has.
        others: the others.
        without_beliefs: those of the others of which nothing is believed, and that take no label either.
        twins: tasks that take the label of one with the same text.
    """

    annotated: int = 0
    others: int = 0
    without_beliefs: int = 0
    twins: int = 0


def all_tasks(
    project: int,
    exported: Sequence[Mapping[str, Any]],
    label_studio: LabelStudio,
    believer: Believer,
    audits: Collection[int],
    counts: Counts,
) -> Iterator[dict[str, Any]]:
    """Yield a project's tasks by their ids, as Label Studio's JSON export has them, and count them.

    `meta` marks audit tasks, and has the beliefs of tasks without a label, or the label that a task takes from a twin;
    that of the first task has the label config.

    Args:
        project: its number.
        exported: the annotated tasks.
        label_studio: has the others, a page at a time.
        believer: of this project.
        audits: tasks that were drawn at random.
        counts: what was yielded so far.
    """
    annotated = {int(task["id"]): dict(task) for task in exported}
    more: dict[str, Any] = {LABEL_CONFIG: believer.label_config}
    for page in _pages(label_studio, project, annotated):
        numbers = [int(task["id"]) for task in page]
        known = believer.of_tasks(numbers)
        for task in page:
            number = int(task["id"])
            more |= known.get(number, {})
            counts.twins += TWIN_LABEL in more
            if "annotations" in task:
                counts.annotated += 1
            else:
                counts.others += 1
                counts.without_beliefs += number not in known
            yield marked({"annotations": [], **task}, audits, more)
            more = {}


def _pages(
    label_studio: LabelStudio, project: int, annotated: dict[int, dict[str, Any]]
) -> Iterator[list[dict[str, Any]]]:
    """All tasks by their ids, with the annotated ones, of which no list needs to have any, in their places."""
    waiting = sorted(annotated, reverse=True)
    for page in label_studio.tasks(project, with_meta=True):
        last = max(int(task["id"]) for task in page)
        before = []
        while waiting and waiting[-1] <= last:
            before.append(annotated.pop(waiting.pop()))
        there = {task["id"] for task in before}
        others = [task for task in page if task["id"] not in there]
        yield sorted([*before, *others], key=lambda task: int(task["id"]))
    if waiting:
        yield [annotated[task] for task in reversed(waiting)]
