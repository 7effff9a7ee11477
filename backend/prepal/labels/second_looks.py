"""Which tasks are worth a second look, and why: labels that are probably wrong, disagreement, twins, passed tasks."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from prepal.labels.events import Annotation
from prepal.labels.label_config import LabelConfig
from prepal.labels.serving import Rules
from prepal.labels.settle import vote

Kind = Literal["suspected", "disputed", "twins", "passed"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# Nobody works through more tasks of a kind before others come first.
MOST = 50
# How likely a label is of which a classifier says nothing.
_UNKNOWN = 0.5


@dataclass(frozen=True)
class Opinions:
    """What a classifier of the other labels thinks of the labels of n tasks.

    Attributes:
        meaning: what the choices' numbers mean; see `LabelConfig.meaning`.
        tasks: `(n,)` int64, ascending.
        labels: `(n, k)` bool, the labels that were judged.
        thinks: `(n, k)` bool, what the classifier would have given instead, or as well.
        sure: `(n,)` float32, how likely that is.
        likely: `(n,)` float32, how likely the label is.
    """

    meaning: str
    tasks: NDArray[np.int64]
    labels: NDArray[np.bool_]
    thinks: NDArray[np.bool_]
    sure: NDArray[np.float32]
    likely: NDArray[np.float32]

    def on(self, task: int, label: NDArray[np.bool_]) -> int | None:
        """The place of the opinion on a task with this label `(k,)`; None where no such label was judged."""
        at = int(np.searchsorted(self.tasks, task))
        known = at < len(self.tasks) and self.tasks[at] == task and np.array_equal(self.labels[at], label)
        return at if known else None


@dataclass(frozen=True)
class Look:
    """A task that is worth a second look.

    Attributes:
        task: its id.
        annotation: the newest of its annotations; 0 where there is none, as of a task that was postponed.
        reason: what people said, in a few words.
        thinks: the choices that the classifier of the other labels would have given; None where it is not to be told.
        sure: how likely that is.
        likely: how likely the label is, by the same classifier; the least likely one is looked at first.
        label: the task's label.
    """

    task: int
    annotation: int
    reason: str = ""
    thinks: tuple[int, ...] | None = None
    sure: float = 0.0
    likely: float = _UNKNOWN
    label: tuple[int, ...] = ()

    def why(self, config: LabelConfig) -> str:
        """The reason, and what the classifier thinks, in two short sentences."""
        if self.thinks is None:
            return self.reason
        thinks, label = (" + ".join(config.choices[at] for at in of) or "none" for of in (self.thinks, self.label))
        if self.thinks == self.label:
            return f"{self.reason} Most likely {label} ({self.likely:.0%}).".strip()
        return f"{self.reason} Rather {thinks} ({self.sure:.0%}) than {label} ({self.likely:.0%}).".strip()


class SecondLooks:
    """Finds the tasks of a project that are worth a second look.

    Args:
        annotations: all of the project, by id.
        labels: the label `(k,)` bool of each task that has one.
        config: its label config.
        rules: while Label Studio still asks others of a task, what is thought of it is not told.
        opinions: of the labels; None where none were judged.
    """

    def __init__(
        self,
        annotations: Mapping[int, Annotation],
        labels: Mapping[int, NDArray[np.bool_]],
        config: LabelConfig,
        rules: Rules,
        opinions: Opinions | None,
    ) -> None:
        self._by_task: dict[int, dict[int, Annotation]] = defaultdict(dict)
        for number, annotation in annotations.items():
            self._by_task[annotation.task][number] = annotation
        self._labels = labels
        self._config = config
        self._rules = rules
        self._opinions = opinions if opinions is not None and opinions.meaning == config.meaning else None

    def updated_at(self, task: int) -> str:
        """When the annotations of a task were changed last."""
        return max(annotation.updated_at for annotation in self._by_task[task].values())

    def suspected(self, tasks: Sequence[int], confirmed: Mapping[int, Sequence[str]]) -> list[Look]:
        """Those of the suspected tasks that still have the label that is suspected, and which nobody confirmed.

        Who makes an annotation ground truth confirms it; `confirmed` has the labels that were submitted once more.
        """
        found = []
        for task in tasks:
            label = self._labels.get(task)
            if label is None or self._opinion(task) is None or self._is_true(task):
                continue
            if list(confirmed.get(task, ())) != self._config.names(label):
                found.append(self._look(task, ""))
        return _first(found)

    def disputed(self) -> list[Look]:
        """Tasks for which annotators chose differently, where nobody said what is true."""
        found = []
        for task, seen in self._by_task.items():
            if len(seen) < 2 or task not in self._labels or self._is_true(task):
                continue
            votes = Counter(
                self._named(row) for a in seen.values() if (row := vote(a, self._config)) is not None
            ).most_common()
            if len(votes) > 1:
                found.append(self._look(task, f"{', '.join(f'{name} ({count})' for name, count in votes)}."))
        return _first(found)

    def twins(self, contradicted: Sequence[Sequence[int]]) -> list[Look]:
        """Tasks with the same text, in lists, that have different labels."""
        found = []
        for tasks in contradicted:
            named = {task: self._named(self._labels[task]) for task in tasks if task in self._labels}
            for task, name in named.items():
                others = [f"{other} ({its})" for other, its in named.items() if its != name]
                if others:
                    found.append(self._look(task, f"Same text as task {', '.join(others)}."))
        return _first(found)

    def passed(self, postponed: Mapping[int, Collection[int]], answered: Collection[int]) -> list[Look]:
        """Tasks not `answered` that people skipped, postponed or submitted empty; those of most people first."""
        people = {task: {a.annotator for a in seen.values()} for task, seen in self._by_task.items()}
        for task, who in postponed.items():
            people[task] = people.get(task, set()) | set(who)
        without_label = sorted(people.keys() - set(answered), key=lambda task: (-len(people[task]), task))
        return [Look(task, max(self._by_task.get(task, [0]))) for task in without_label[:MOST]]

    def _look(self, task: int, reason: str) -> Look:
        annotation, at, opinions = max(self._by_task[task]), self._opinion(task), self._opinions
        if at is None or opinions is None:
            return Look(task, annotation, reason)
        likely, label = float(opinions.likely[at]), tuple(np.flatnonzero(self._labels[task]).tolist())
        if len({a.annotator for a in self._by_task[task].values()}) < self._rules.overlap:
            return Look(task, annotation, reason, likely=likely, label=label)
        thinks = tuple(np.flatnonzero(opinions.thinks[at]).tolist())
        return Look(task, annotation, reason, thinks, float(opinions.sure[at]), likely, label)

    def _opinion(self, task: int) -> int | None:
        return None if self._opinions is None else self._opinions.on(task, self._labels[task])

    def _is_true(self, task: int) -> bool:
        return any(annotation.ground_truth for annotation in self._by_task[task].values())

    def _named(self, row: NDArray[np.bool_]) -> str:
        return " + ".join(self._config.names(row)) or "none"


def _first(looks: Sequence[Look]) -> list[Look]:
    return sorted(looks, key=lambda look: look.likely)[:MOST]
