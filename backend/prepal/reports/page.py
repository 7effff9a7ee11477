"""The figures of the project page as one JSON document, and the list of projects; its words are in `server/web/`."""

from collections import defaultdict
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import redis

from prepal.errors import PrepalError
from prepal.labels.events import Annotation
from prepal.labels.settle import vote
from prepal.project import Project, all_projects, readable
from prepal.queues.waiting import WaitingTexts
from prepal.reports.status import report_of, told
from prepal.reports.view import View

# Tasks that annotators disagree on; nobody works through more of them on one page.
_DISPUTED = 20
# A chart shows no more points, and the page asks for them every few seconds.
_POINTS = 100


def document(project: Project, waiting: WaitingTexts, label_studio_url: str) -> dict[str, Any]:
    """Everything that the page shows, as one JSON document: what `status` reports, and what it rests on.

    `waiting` is for the encoder that the ranking is to rest on.

    Raises:
        PrepalError: what Redis has of the project cannot be read.
    """
    tasks_url = f"{without_credentials(label_studio_url)}/projects/{project.id}/data"

    def entry(task: int, **more: object) -> dict[str, Any]:
        return {"task": task, "url": f"{tasks_url}?task={task}", **more}

    with readable(project):
        view = View(project)
        state = report_of(view, waiting)
        questions = [
            {
                **told_of_it,
                "choices": _balance(one),
                "suspected": [
                    entry(task, choices=one.config.names(one.labels[task]))
                    for task in told_of_it["suspected"]
                    if one.config is not None and task in one.labels
                ],
                "disputed": [entry(task, votes=votes) for task, votes in _disputed(one)],
            }
            for one, told_of_it in zip(view.questions, state["questions"], strict=True)
        ]
        return {
            **state,
            "label_studio_url": tasks_url,
            "tabs": {kind: f"{tasks_url}?tab={tab}" for kind, tab in state["tabs"].items()},
            "facts_behind": view.facts_behind,
            "accuracies": _newest(view.accuracies),
            "expected": project.expected,
            "next": [entry(**what) for what in _next(view, state["next_why"])],
            "contradicted": [[entry(task) for task in tasks] for tasks in state["twins"]["contradicted"]],
            "questions": questions,
            **{name: questions[0][name] for name in ("choices", "suspected", "disputed")},
        }


def overview(connection: redis.Redis) -> list[dict[str, Any]]:
    """A line for each project, from what costs little at any size."""
    return [_line(project) for project in all_projects(connection)]


def estimates(project: Project) -> list[tuple[int, float, float, float]]:
    """Number of labels, accuracy, and both ends of its interval, by number of labels."""
    return [(int(one["labels"]), one["estimate"], one["low"], one["high"]) for one in _newest(project.accuracies())]


def without_credentials(url: str) -> str:
    """The address without a user and a password, and without what browsers would not open."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _line(project: Project) -> dict[str, Any]:
    try:
        with readable(project):
            view = View(project)
            record = view.record
            return {
                "project": project.id,
                "title": view.info.title,
                "problem": view.problem,
                "troubles": [told(trouble) for trouble in view.troubles],
                "tasks": view.info.task_count,
                "labels": record.labels if record else 0,
                "accuracy": record.accuracy["estimate"] if record and record.accuracy else None,
            }
    except PrepalError as error:
        nothing = {"title": "", "troubles": [], "tasks": 0, "labels": 0, "accuracy": None}
        return {"project": project.id, "problem": str(error), **nothing}


def _newest(estimates: list[dict[str, float]]) -> list[dict[str, float]]:
    """The newest estimate for each number of labels; evenly spaced ones, and the last, where there are many."""
    newest = {estimate["labels"]: estimate for estimate in estimates}
    counts = sorted(newest)
    step = -(-len(counts) // _POINTS) or 1
    return [newest[count] for count in counts[::-1][::step][::-1]]


def _balance(view: View) -> list[dict[str, Any]]:
    """How often each choice is the label, and how often it is predicted for tasks without one."""
    config, predictions = view.config, view.predictions
    if config is None:
        return []
    count = len(config.choices)
    labelled = np.sum([*view.labels.values(), np.zeros(count, bool)], axis=0, dtype=int)
    predicted: list[int | None] = [None] * count if predictions is None else predictions.chosen.sum(axis=0).tolist()
    return [
        {"choice": choice, "labelled": int(there), "predicted": elsewhere}
        for choice, there, elsewhere in zip(config.choices, labelled, predicted, strict=True)
    ]


def _next(view: View, reasons: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first tasks of the ranking with what is predicted for them, and why they come next."""
    of_each, found = [(one.config, one.predictions) for one in view.questions], []
    for place, reason in enumerate(reasons):
        said = []
        for config, predictions in of_each:
            chosen, confidence = ((), None) if predictions is None else predictions.said(place)
            choices = [config.choices[at] for at in chosen] if config else []
            said.append({"question": config and config.from_name, "choices": choices, "confidence": confidence})
        first = {name: said[0][name] for name in ("choices", "confidence")}
        found.append({**reason, **first, "said": said})
    return found


def _disputed(view: View) -> list[tuple[int, list[list[str]]]]:
    """Tasks for which annotators chose differently and nobody said what is true; the newest first."""
    config = view.config
    if config is None:
        return []
    votes: dict[int, list[tuple[Annotation, list[str]]]] = defaultdict(list)
    for annotation in view.annotations.values():
        if (row := vote(annotation, config)) is not None:
            votes[annotation.task].append((annotation, sorted(config.names(row))))
    disputed = []
    for task, cast_votes in votes.items():
        chosen = sorted(map(list, {tuple(names) for _, names in cast_votes}))
        if len(chosen) > 1 and not any(annotation.ground_truth for annotation, _ in cast_votes):
            disputed.append((max(annotation.updated_at for annotation, _ in cast_votes), task, chosen))
    disputed.sort(reverse=True)
    return [(task, chosen) for _, task, chosen in disputed[:_DISPUTED]]
