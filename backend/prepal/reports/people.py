"""What is told of the people who annotate: how well they agree, how long they take, what they make of predictions."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from prepal.labels.events import Annotation
from prepal.labels.settle import vote
from prepal.learning.quality.people import LEAST_SHARED, agreement, pairs, usual_seconds
from prepal.reports.view import View


def people_of(view: View) -> dict[str, Any]:
    """Each annotator, who annotated most first, and how well every two of them agree, who agree least first."""
    names, annotations = view.project.people(), view.annotations
    votes = _votes(view)
    truths = {annotations[number].task: label for number, label in votes.items() if annotations[number].ground_truth}
    by_person: dict[int, dict[int, Annotation]] = defaultdict(dict)
    for number, annotation in sorted(annotations.items()):
        by_person[annotation.annotator][number] = annotation
    seen = _seen(view)
    annotators: list[dict[str, Any]] = [
        {
            "annotator": person,
            "name": names.get(person, ""),
            "annotations": sum(number in votes for number in theirs),
            "passed": sum(number not in votes for number in theirs),
            "seconds": usual_seconds([a.lead_time for a in theirs.values() if a.lead_time]),
            "truth": _against(
                truths, {a.task: votes[n] for n, a in theirs.items() if n in votes and not a.ground_truth}
            ),
            "shown": _accepted(seen[person, False]),
            "hidden": _accepted(seen[person, True]),
        }
        for person, theirs in by_person.items()
    ]
    annotators.sort(key=lambda one: (-one["annotations"], one["annotator"]))
    given = [(annotations[n].task, annotations[n].annotator, label) for n, label in sorted(votes.items())]
    tasks, people, labels = np.array(given, np.int64).reshape(-1, 3).T
    agreed = [{"people": list(both), **asdict(how)} for both, how in pairs(tasks, people, labels).items()]
    agreed.sort(key=lambda pair: (1.0 if pair["kappa"] is None else pair["kappa"], pair["people"]))
    return {"annotators": annotators, "agreement": agreed}


def _votes(view: View) -> dict[int, int]:
    """A number for the label that each annotation gives, the same for equal labels, by the annotation's id."""
    config, numbers = view.config, {}  # type: ignore[var-annotated]
    rows = {} if config is None else {n: vote(a, config) for n, a in view.annotations.items()}
    return {n: numbers.setdefault(row.tobytes(), len(numbers)) for n, row in rows.items() if row is not None}


def _against(truths: Mapping[int, int], given: Mapping[int, int]) -> dict[str, Any] | None:
    """How well somebody's labels agree with ground truth, both by task."""
    both = sorted(truths.keys() & given.keys())
    if len(both) < LEAST_SHARED:
        return None
    return asdict(agreement(*(np.array([labels[task] for task in both], np.int64) for labels in (truths, given))))


def _seen(view: View) -> dict[tuple[int, bool], list[tuple[bool, float]]]:
    """By annotator and whether predictions were hidden: whether they agreed, and how sure the classifier was.

    What was predicted is known as it was when a task got its first annotation.
    """
    config, shown = view.config, view.project.shown()
    found: dict[tuple[int, bool], list[tuple[bool, float]]] = defaultdict(list)
    first: dict[int, Annotation] = {}
    for _, annotation in sorted(view.annotations.items()):
        first.setdefault(annotation.task, annotation)
    for task, (chosen, confidence, hidden) in shown.items():
        row = None if config is None or task not in first else vote(first[task], config)
        if config is not None and row is not None:
            found[first[task].annotator, hidden].append((set(config.names(row)) == set(chosen), confidence))
    return found


def _accepted(seen: Sequence[tuple[bool, float]]) -> dict[str, Any] | None:
    """How often somebody agreed with predictions, and how often that was to be expected."""
    if len(seen) < LEAST_SHARED:
        return None
    agreed, expected = np.array(seen, float).mean(axis=0)
    return {"tasks": len(seen), "agreed": float(agreed), "expected": float(expected)}
