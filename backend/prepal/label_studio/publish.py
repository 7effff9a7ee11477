"""Puts a ranking into Label Studio as the scores of predictions (low = next), so that no half of it is ever seen.

Scores of the tail lie in [0.9, 1]. Every publication takes a band of its own below all scores given before, and
fills it from the first place on: whenever it stops, what Label Studio serves is the beginning of the new ranking, then
the old one.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from prepal.label_studio.api import NotFoundError
from prepal.label_studio.client import LabelStudio
from prepal.labels.label_config import LabelConfig, Said
from prepal.labels.settle import weak_labels
from prepal.project import MODEL_VERSION, Project

log = logging.getLogger(__name__)

TAIL_LOW, TAIL_HIGH = 0.9, 1.0
# A band holds a million places; doubles near 0.9 are 1e-16 apart.
_BAND, _PLACE = 1e-8, 1e-14
# Bands get there after forty million publications. What lies below was written by somebody else, or is so old that its
# place is the last one.
_LEAST_SCORE = 0.5
# More connections than this do not make Label Studio faster on two cores.
_CONNECTIONS = 4
# A shown confidence that moved less than this is not worth a request.
_CONFIDENCE_STEP = 0.05
# So many places at the front are remembered: the head, and what is published beyond it in quiet moments.
_FRONT = 1024


@dataclass(frozen=True)
class Entry:
    """One place of the ranking: a task, its predicted choices (indices), and the classifier's confidence in them.

    The same of the project's other questions, in their order, is in `others`. What is predicted of an audit task is not
    shown, so that its label does not depend on it.
    """

    task: int
    chosen: tuple[int, ...]
    confidence: float | None
    shown: bool = True
    others: tuple[Said, ...] = ()

    @property
    def said(self) -> tuple[Said, ...]:
        """What is predicted for all questions; what they say of none is nothing."""
        return ((self.chosen, self.confidence), *self.others)

    def looks_like(self, other: "Entry") -> bool:
        """Whether an annotator would see the same prediction."""
        if not (self.shown and other.shown):
            return self.shown == other.shown
        return len(self.said) == len(other.said) and all(map(_looks_like, self.said, other.said))


@dataclass
class Published:
    """What this process knows of the order in Label Studio, as long as nobody else has published since."""

    front: list[Entry] = field(default_factory=list)
    """The tasks at its front, as they are shown; those that were labelled meanwhile keep their places."""
    publication: int | None = None
    """The publication that made this order; None when it is not known, because one has failed half-way."""
    config: LabelConfig | None = None
    """By which the front is shown."""

    def is_newest(self, project: Project) -> bool:
        """Whether the front is known, and nobody else has published since."""
        return self.publication is not None and self.publication == project.publications


class Publisher:
    """Writes the predictions of one project."""

    def __init__(self, project: Project, label_studio: LabelStudio, config: LabelConfig) -> None:
        self._project = project
        self._label_studio = label_studio
        self.config = config

    def publish(
        self,
        entries: Sequence[Entry],
        published: Published,
        pool: Callable[[int], bool],
        stop: Callable[[], bool] = lambda: False,
    ) -> int:
        """Put `entries` first in Label Studio's order; returns how many places had to be written.

        A part at the end that already stands in this order right after the front is left alone. `pool` tells whether a
        task still waits for its label; `stop` is asked before each batch of places.
        """
        if not published.is_newest(self._project) or published.config != self.config:
            published.front, published.config = [], self.config
        keep = _kept_from(entries, [entry for entry in published.front if pool(entry.task)])
        moved = entries[:keep]
        if not moved or stop():
            return 0
        # Until all has gone well nobody knows the order, this process neither.
        published.publication = None
        publication = self._project.begin_publication()
        base = self._floor() - _BAND
        self._project.score_floor = base
        ids = self._project.predictions.get([entry.task for entry in moved])
        written = 0
        done: list[Entry] = []
        with ThreadPoolExecutor(_CONNECTIONS) as threads:
            # The first place goes alone: it is what the next annotator gets.
            for begin, end in pairwise([0, *range(1, len(moved), _CONNECTIONS), len(moved)]):
                if written and stop():
                    break
                batch, scores = moved[begin:end], [base + place * _PLACE for place in range(begin, end)]
                answers = threads.map(lambda e, s: self._write(e, s, ids.get(e.task)), batch, scores)
                done += [entry for entry, there in zip(batch, answers, strict=True) if there]
                written += len(batch)
        placed = {entry.task for entry in done}
        published.front = [*done, *(e for e in published.front if e.task not in placed)][:_FRONT]
        published.publication = publication
        return written

    def put_last(self, tasks: Iterable[int], published: Published) -> int:
        """Put tasks that somebody passed at the end of the order; returns how many had another place."""
        chosen = set(tasks)
        if not published.is_newest(self._project):
            return 0
        ids = self._project.predictions.get([e.task for e in published.front if e.task in chosen])
        publication, published.publication = published.publication, None
        for task, prediction in ids.items():
            try:
                self._label_studio.update_prediction(prediction, {"score": TAIL_HIGH})
            except NotFoundError:
                self._project.predictions.delete([task])
        published.front = [entry for entry in published.front if entry.task not in ids]
        published.publication = publication
        return len(ids)

    def create_tail(self, entries: Sequence[Entry], last: Iterable[int]) -> int:
        """Make, in one call, the predictions of tasks that have none yet; returns how many.

        The `last` ones go last of all: they have no vector, or need no label of their own; both can still be served.
        """
        existing = self.reread()
        step = (TAIL_HIGH - TAIL_LOW) / (len(entries) + 1)
        rows = [
            self._prediction(entry, TAIL_LOW + place * step)
            for place, entry in enumerate(entries)
            if entry.task not in existing
        ]
        rows += [self._prediction(Entry(task, (), None), TAIL_HIGH) for task in last if task not in existing]
        if rows:
            self._label_studio.create_predictions(self._project.id, rows)
            self.reread()
        return len(rows)

    def reread(self) -> Mapping[int, float]:
        """Learn from Label Studio which predictions there are, and return the scores of ours, by task.

        Of several for one task only one is kept. One without a score that we could have given, such as none at all, is
        put last.
        """
        before = dict(zip(*(array.tolist() for array in self._project.predictions.all()), strict=True))
        kept: dict[int, int] = {}
        scores: dict[int, float] = {}
        rows = self._label_studio.predictions(project=self._project.id)
        ours = [row for row in rows if row.get("model_version") == MODEL_VERSION]
        # What our models predict rests on labels, which nothing would be learnt from then.
        imported = [row for row in rows if not str(row.get("model_version") or "").startswith(MODEL_VERSION)]
        for question in self.config.questions:
            self._project.of(question).set_weak_labels(weak_labels(imported, question))
        # Those that we know come first, so that they are the ones that stay.
        for row in sorted(ours, key=lambda row: before.get(int(row["task"])) != int(row["id"])):
            task, pk = int(row["task"]), int(row["id"])
            if task in kept:
                self._label_studio.delete_prediction(pk)
                continue
            kept[task] = pk
            scores[task] = score = usable_score(row)
            if score != row.get("score"):
                self._label_studio.update_prediction(pk, {"score": score})
        self._project.replace_predictions(kept)
        self._project.score_floor = min(scores.values(), default=TAIL_LOW)
        return scores

    def _floor(self) -> float:
        """The lowest score that any of our predictions has."""
        floor = self._project.score_floor
        if floor is None or floor < _LEAST_SCORE:
            self.reread()
            floor = self._project.score_floor
        return min(TAIL_LOW, TAIL_LOW if floor is None else floor)

    def _write(self, entry: Entry, score: float, prediction: int | None) -> bool:
        """Write one place; tells whether the task is still there."""
        body = self._prediction(entry, score)
        if prediction is None:
            prediction = self._find(entry.task)
        if prediction is not None:
            try:
                self._label_studio.update_prediction(prediction, {"score": score, "result": body["result"]})
                return True
            except NotFoundError:
                self._project.predictions.delete([entry.task])
        try:
            created = self._label_studio.create_prediction(body)
        except NotFoundError:
            log.info("project %d: task %d is gone", self._project.id, entry.task)
            self._project.delete_tasks([entry.task])
            return False
        self._project.predictions.put({entry.task: created})
        if prediction is not None:
            # It was lost, as when a database is restored; then what Label Studio serves by may be lost, too.
            self._project.is_serving = False
        return True

    def _find(self, task: int) -> int | None:
        for prediction in self._label_studio.predictions(task=task):
            if prediction.get("model_version") == MODEL_VERSION:
                self._project.predictions.put({task: int(prediction["id"])})
                return int(prediction["id"])
        return None

    def _prediction(self, entry: Entry, score: float) -> dict[str, object]:
        return {
            "task": entry.task,
            "project": self._project.id,
            "result": self.config.results(entry.said) if entry.shown else [],
            "score": score,
            "model_version": MODEL_VERSION,
        }


def _looks_like(now: Said, before: Said) -> bool:
    (chosen, confidence), (was_chosen, was_sure) = now, before
    if chosen != was_chosen or confidence is None or was_sure is None:
        return (chosen, confidence) == (was_chosen, was_sure)
    return abs(confidence - was_sure) < _CONFIDENCE_STEP


def stands_first(expected: Sequence[int], scores: Mapping[int, float], pool: Iterable[int]) -> bool:
    """Whether the expected tasks come first by score, in their order, of all tasks of a pool that have one."""
    first = [scores[task] for task in expected if task in scores]
    if any(later <= sooner for sooner, later in pairwise(first)):
        return False
    chosen = set(expected)
    others = min((scores[task] for task in pool if task in scores and task not in chosen), default=float("inf"))
    return not first or first[-1] < others


def usable_score(row: Mapping[str, Any]) -> float:
    """The score of a prediction; the last place's, if it is none that was ever given."""
    score = row.get("score")
    given = isinstance(score, int | float) and not isinstance(score, bool) and _LEAST_SCORE <= score <= TAIL_HIGH
    return float(score) if given and score is not None else TAIL_HIGH


def _kept_from(entries: Sequence[Entry], front: Sequence[Entry]) -> int:
    """The smallest k such that entries[k:] already stand, in order and looking the same, at the front."""
    for k in range(max(0, len(entries) - len(front)), len(entries)):
        if all(new.task == old.task and new.looks_like(old) for new, old in zip(entries[k:], front, strict=False)):
            return k
    return len(entries)
