"""Puts a ranking into Label Studio as the scores of predictions (low = next), so that no half of it is ever seen.

Scores of the tail lie in [0.9, 1]. Every publication takes a band of its own below all scores given before, and
fills it from the first place on: whenever it stops, what Label Studio serves is the beginning of the new ranking, then
the old one.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from prepal.label_config import LabelConfig
from prepal.label_studio import LabelStudio, NotFoundError
from prepal.project import MODEL_VERSION, Project

log = logging.getLogger(__name__)

TAIL_LOW, TAIL_HIGH = 0.9, 1.0
# A band holds a million places; doubles near 0.9 are 1e-16 apart, and ten million rounds use up 0.1.
_BAND, _PLACE = 1e-8, 1e-14
# More connections than this do not make Label Studio faster on two cores.
_CONNECTIONS = 4
# A shown confidence that moved less than this is not worth a request.
_CONFIDENCE_STEP = 0.05


@dataclass(frozen=True)
class Entry:
    """One place of the ranking: a task, its predicted choices (indices), and the classifier's confidence in them."""

    task: int
    chosen: tuple[int, ...]
    confidence: float | None

    def looks_like(self, other: "Entry | None") -> bool:
        """Whether an annotator would see the same prediction."""
        if other is None or self.chosen != other.chosen:
            return False
        if self.confidence is None or other.confidence is None:
            return self.confidence == other.confidence
        return abs(self.confidence - other.confidence) < _CONFIDENCE_STEP


@dataclass
class Published:
    """What this process knows of the order in Label Studio: the tasks at its front, as they are shown."""

    front: list[Entry] = field(default_factory=list)


class Publisher:
    """Writes the predictions of one project."""

    def __init__(self, project: Project, label_studio: LabelStudio, config: LabelConfig) -> None:
        self._project = project
        self._label_studio = label_studio
        self._config = config

    def publish(
        self,
        entries: Sequence[Entry],
        published: Published,
        pool: Callable[[int], bool],
        stop: Callable[[], bool] = lambda: False,
    ) -> int:
        """Put `entries` first in Label Studio's order; returns how many places had to be written.

        A part at the end that already stands in this order right after the front is left alone. `pool` tells whether a
        task still waits for its label; `stop` is asked after each place.
        """
        published.front = [entry for entry in published.front if pool(entry.task)]
        keep = _kept_from(entries, published.front)
        moved = entries[:keep]
        base = (self._project.score_floor or TAIL_LOW) - _BAND
        if moved:
            self._project.lower_score_floor(base)
        known = self._project.known_predictions([entry.task for entry in moved])
        written = 0
        done: list[Entry] = []
        with ThreadPoolExecutor(_CONNECTIONS) as threads:
            # The first place goes alone: it is what the next annotator gets.
            for places in _batches(len(moved), _CONNECTIONS):
                batch = [moved[place] for place in places]
                scores = [base + place * _PLACE for place in places]
                answers = threads.map(lambda e, s: self._write(e, s, known.get(e.task)), batch, scores)
                done += [entry for entry, there in zip(batch, answers, strict=True) if there]
                written += len(batch)
                placed = {entry.task for entry in done}
                published.front = [*done, *(e for e in published.front if e.task not in placed)]
                if stop():
                    break
        return written

    def create_tail(self, entries: Sequence[Entry], unembeddable: Iterable[int]) -> int:
        """Make, in one call, the predictions of tasks that have none yet; returns how many.

        Tasks without a text go last of all: they can still be served, but nothing is known of them.
        """
        last = list(unembeddable)
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

    def reread(self) -> Mapping[int, int]:
        """Learn from Label Studio which predictions there are; of several for one task only the first is kept."""
        found: dict[int, int] = {}
        floor = TAIL_LOW
        for prediction in self._label_studio.predictions(project=self._project.id):
            if prediction.get("model_version") != MODEL_VERSION:
                continue
            task, pk = int(prediction["task"]), int(prediction["id"])
            if task in found:
                self._label_studio.delete_prediction(pk)
                continue
            found[task] = pk
            floor = min(floor, float(prediction.get("score") or 0.0))
        self._project.put_predictions(found, replace=True)
        self._project.lower_score_floor(floor)
        return found

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
                self._project.drop_prediction(entry.task)
        try:
            created = self._label_studio.create_prediction(body)
        except NotFoundError:
            log.info("project %d: task %d is gone", self._project.id, entry.task)
            return False
        self._project.put_predictions({entry.task: created})
        return True

    def _find(self, task: int) -> int | None:
        for prediction in self._label_studio.predictions(task=task):
            if prediction.get("model_version") == MODEL_VERSION:
                self._project.put_predictions({task: int(prediction["id"])})
                return int(prediction["id"])
        return None

    def _prediction(self, entry: Entry, score: float) -> dict[str, object]:
        return {
            "task": entry.task,
            "project": self._project.id,
            "result": self._config.result(entry.chosen, entry.confidence),
            "score": score,
            "model_version": MODEL_VERSION,
        }


def _kept_from(entries: Sequence[Entry], front: Sequence[Entry]) -> int:
    """The smallest k such that entries[k:] already stand, in order and looking the same, at the front."""
    for k in range(len(entries) + 1):
        rest = entries[k:]
        if len(rest) <= len(front) and all(
            new.task == old.task and new.looks_like(old) for new, old in zip(rest, front, strict=False)
        ):
            return k
    return len(entries)


def _batches(count: int, size: int) -> Iterable[range]:
    """The first place by itself, then `size` at a time."""
    if count:
        yield range(1)
    for begin in range(1, count, size):
        yield range(begin, min(begin + size, count))
