"""What the annotators of a task agree on."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prepal.labels.events import Annotation, read_annotation
from prepal.labels.label_config import LabelConfig


def settle(annotations: Mapping[int, Annotation], config: LabelConfig) -> dict[int, NDArray[np.bool_]]:
    """The label of every task that has one.

    Skipped annotations, and ones without a choice that the config knows, are none. Ground truth wins over everything
    else; otherwise the majority does, and a tie goes to the newest annotation. With several choices each choice is
    voted on by itself.

    Args:
        annotations: by id. Ids grow with time and, unlike times, depend on nobody's clock.
        config: of the project.

    Returns:
        Task id to a (k,) bool row over `config.choices`, in the order in which the tasks got their first label.
    """
    votes: dict[int, list[tuple[Annotation, NDArray[np.bool_]]]] = {}
    for _, annotation in sorted(annotations.items()):
        row = vote(annotation, config)
        if row is not None:
            votes.setdefault(annotation.task, []).append((annotation, row))
    return {task: _agree(cast_votes, config.multiple) for task, cast_votes in votes.items()}


def weak_labels(predictions: Iterable[Mapping[str, Any]], config: LabelConfig) -> dict[int, str]:
    """The choice that a task has by a prediction, as Label Studio sends them: the newest, where there are several.

    Where a text may have several choices nothing is made of predictions.
    """
    said: dict[int, str] = {}
    for row in sorted(predictions, key=lambda row: int(row["id"])):
        label = None if config.multiple else vote(read_annotation(row, int(row["task"])), config)
        if label is not None:
            said[int(row["task"])] = config.names(label)[0]
    return said


def vote(annotation: Annotation, config: LabelConfig) -> NDArray[np.bool_] | None:
    """What one annotation says the label is, (k,) bool over `config.choices`; None when it says nothing.

    Who was not asked says nothing; neither does who ticked a choice with several below it where one is the label.
    """
    if annotation.skipped:
        return None
    places = map(config.place, annotation.choices.get(config.from_name, []))
    chosen = [place for place in places if place is not None]
    if not chosen and (not config.multiple or config.conditional or config.from_name in annotation.choices):
        return None
    if config.paths and not config.multiple and len(chosen) > 1:
        return None
    row = np.zeros(len(config.choices), bool)
    row[chosen if config.multiple else chosen[:1]] = True
    return row


def _agree(votes: list[tuple[Annotation, NDArray[np.bool_]]], multiple: bool) -> NDArray[np.bool_]:
    truths = [pair for pair in votes if pair[0].ground_truth]
    counted = sorted(truths or votes, key=lambda pair: pair[0].updated_at)
    rows = np.array([row for _, row in counted])
    counts, newest = rows.sum(axis=0), rows[-1]
    if multiple:
        twice = 2 * counts
        return np.asarray((twice > len(rows)) | ((twice == len(rows)) & newest))
    most = counts == counts.max()
    for row in rows[::-1]:
        if (row & most).any():
            return np.asarray(row)
    return np.asarray(newest)
