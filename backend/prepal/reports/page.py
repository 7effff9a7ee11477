"""What the project page tells, read from Redis alone, and the list of projects."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import redis
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.labels import label_config
from prepal.labels.annotation import Annotation
from prepal.labels.label_config import LabelConfig
from prepal.labels.settle import settle, vote
from prepal.project import Project, Ranking, RoundRecord, all_projects, readable
from prepal.queues.waiting import WaitingTexts
from prepal.reports.status import report, told

# Tasks that annotators disagree on; nobody works through more of them on one page.
_DISPUTED = 20
# A chart shows no more points, and the page asks for them every few seconds.
_POINTS = 100


def document(project: Project, waiting: WaitingTexts, encoder: str, label_studio_url: str) -> dict[str, Any]:
    """Everything that the page shows, as one JSON document: what `status` reports, and what it rests on.

    Raises:
        PrepalError: what Redis has of the project cannot be read.
    """
    with readable(project):
        return _document(project, waiting, encoder, label_studio_url)


def _document(project: Project, waiting: WaitingTexts, encoder: str, label_studio_url: str) -> dict[str, Any]:
    base = without_credentials(label_studio_url)
    state = report(project, waiting, encoder)
    record, ranking, annotations = project.round, project.ranking(), project.annotations()
    try:
        config = label_config.parse(project.info.label_config)
    except PrepalError:
        config = None
    settled = {} if config is None else settle(annotations, config)

    def entry(task: int, **more: object) -> dict[str, Any]:
        return {"task": task, "url": f"{base}/projects/{project.id}/data?task={task}", **more}

    return {
        **state,
        "label_studio_url": f"{base}/projects/{project.id}/data",
        "facts_behind": project.facts - (record.facts if record else 0),
        "accuracies": _accuracies(project),
        "expected": project.expected,
        "choices": [] if config is None else _balance(config, settled, ranking),
        "next": [entry(task, **what) for task, what in _next(state["next"], config, ranking, record)],
        "suspected": [
            entry(task, choices=config.names(settled[task]))
            for task in state["suspected"]
            if config is not None and task in settled
        ],
        "disputed": [entry(task, votes=votes) for task, votes in _disputed(annotations, config)],
    }


def overview(connection: redis.Redis) -> list[dict[str, Any]]:
    """A line for each project, from what costs little at any size."""
    return [_line(project) for project in all_projects(connection)]


def estimates(project: Project) -> list[tuple[int, float, float, float]]:
    """Number of labels, accuracy, and both ends of its interval, by number of labels."""
    return [(int(known["labels"]), known["estimate"], known["low"], known["high"]) for known in _accuracies(project)]


def without_credentials(url: str) -> str:
    """The address without a user and a password, and without what browsers would not open."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _line(project: Project) -> dict[str, Any]:
    try:
        with readable(project):
            info, record = project.info, project.round
            return {
                "project": project.id,
                "title": info.title,
                "problem": project.left or info.problem,
                "troubles": [told(trouble) for trouble in project.troubles()],
                "tasks": info.task_count,
                "labels": record.labels if record else 0,
                "accuracy": record.accuracy["estimate"] if record and record.accuracy else None,
            }
    except PrepalError as error:
        nothing = {"title": "", "troubles": [], "tasks": 0, "labels": 0, "accuracy": None}
        return {"project": project.id, "problem": str(error), **nothing}


def _accuracies(project: Project) -> list[dict[str, float]]:
    """The newest estimate for each number of labels; evenly spaced ones, and the last, where there are many."""
    newest = {known["labels"]: known for known in project.accuracies()}
    counts = sorted(newest)
    step = -(-len(counts) // _POINTS) or 1
    return [newest[count] for count in counts[::-1][::step][::-1]]


def _balance(
    config: LabelConfig, settled: Mapping[int, NDArray[np.bool_]], ranking: Ranking | None
) -> list[dict[str, Any]]:
    """How often each choice is the label, and how often it is predicted for tasks without one."""
    count = len(config.choices)
    labelled = np.sum([*settled.values(), np.zeros(count, bool)], axis=0, dtype=int)
    predicted: list[int | None] = [None] * count
    if ranking is not None and _predicts(ranking, config):
        predicted = ranking.chosen.sum(axis=0).tolist()
    return [
        {"choice": choice, "labelled": int(there), "predicted": elsewhere}
        for choice, there, elsewhere in zip(config.choices, labelled, predicted, strict=True)
    ]


def _predicts(ranking: Ranking, config: LabelConfig) -> bool:
    """Whether a classifier made the ranking, of the choices that there are now."""
    return config.understands(ranking.meaning, ranking.chosen.shape[1]) and ranking.predicts


def _next(
    tasks: list[int], config: LabelConfig | None, ranking: Ranking | None, record: RoundRecord | None
) -> list[tuple[int, dict[str, Any]]]:
    """The next tasks with what is predicted for them, and why they come next."""
    if ranking is None:
        return []
    predicts = config is not None and _predicts(ranking, config)
    audits = set(record.head_audit if record else [])
    head = set(record.head if record else [])
    found = []
    for place, task in enumerate(tasks):
        confidence = float(ranking.confidence[place]) if predicts else None
        if task in audits:
            reason = "audit"
        elif task in head:
            reason = "strategy"
        else:
            reason = "unsure" if predicts else "random"
        choices = config.names(ranking.chosen[place]) if config is not None and predicts else []
        found.append((task, {"choices": choices, "confidence": confidence, "reason": reason}))
    return found


def _disputed(annotations: Mapping[int, Annotation], config: LabelConfig | None) -> list[tuple[int, list[list[str]]]]:
    """Tasks for which annotators chose differently and nobody said what is true; the newest first."""
    if config is None:
        return []
    votes: dict[int, list[tuple[Annotation, NDArray[np.bool_]]]] = defaultdict(list)
    for annotation in annotations.values():
        row = vote(annotation, config)
        if row is not None:
            votes[annotation.task].append((annotation, row))
    disputed = []
    for task, cast_votes in votes.items():
        chosen = sorted({tuple(sorted(config.names(row))) for _, row in cast_votes})
        if len(chosen) > 1 and not any(annotation.ground_truth for annotation, _ in cast_votes):
            newest = max(annotation.updated_at for annotation, _ in cast_votes)
            disputed.append((newest, task, [list(names) for names in chosen]))
    disputed.sort(reverse=True)
    return [(task, chosen) for _, task, chosen in disputed[:_DISPUTED]]
