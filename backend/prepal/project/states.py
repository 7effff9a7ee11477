"""What is remembered, as plain data; fields that a later release needs get keys of their own in Redis.

An older release reads its own fields of a record alone, and a newer one finds defaults for what it lacks.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The version of our predictions. It is never a backend's title: for a version that is one, Label Studio asks the
# backend before it serves any task, and answers 500 while the backend is down.
MODEL_VERSION = "PRepAL"


@dataclass(frozen=True)
class Info:
    """What the project is, and how it stands with us."""

    title: str = ""
    label_config: str = ""
    model_version: str = ""
    """The version whose predictions Label Studio serves by."""
    problem: str = ""
    """One sentence when the project cannot be served."""
    connected: bool = False
    text_version: str = ""
    """Of the label config by which the texts of the tasks were read."""
    meaning: str = ""
    """Of its choices; see `LabelConfig.meaning`."""
    task_count: int = 0
    """How many tasks Label Studio has."""
    several: bool = False
    """Whether several questions are learnt; they share the encoder, which is adapted to none of them then."""
    drift: list[str] = field(default_factory=list)
    """Settings in Label Studio that keep the ranking from being served."""


@dataclass(frozen=True)
class Trouble:
    """What went wrong with one of a project's jobs, again and again, since it last went well."""

    job: str
    what: str
    """One sentence."""
    count: int
    since: float
    """Unix time of the first failure."""
    until: float
    """Unix time before which the job is not tried again."""


@dataclass(frozen=True)
class Adaptation:
    """What came of training the project's encoder on its labels, the last time that it was tried."""

    base: str = ""
    """The encoder that training started from, by its identity."""
    labels: int = 0
    """How many labels the project had."""
    finished_at: float = 0.0
    seconds: float = 0.0
    encoder: str = ""
    """The adapted encoder, by its identity; "" where it was not better."""
    judged: int = 0
    """By how many labels it was judged that it had not learnt from."""
    accuracy: dict[str, float] = field(default_factory=dict)
    """Of these, by the classifier on `base` vectors and on `adapted` ones."""
    temperature: float = 1.0
    """What the logits of the classifier on its vectors are to be divided by."""
    note: str = ""
    """Why there is none, in a sentence; "" where there is one."""


@dataclass(frozen=True)
class RoundRecord:
    """What `status` tells of the newest finished round."""

    number: int
    facts: int
    """The count of facts that the round had read when it began; equal to the project's count when nothing is new."""
    labels: int
    ranked: int
    finished_at: float
    seconds: dict[str, float]
    head: list[int]
    """Task ids, next first."""
    head_audit: list[int]
    accuracy: dict[str, float] | None
    strategy: str
    classifier: bool
    changed: float | None = None
    """Share of the pool whose predicted label differs from the round before."""
    name_weight: float | None = None
    """How much the names of the choices count, as a multiple of what they say by themselves; None: not at all."""
    weak_labels: int = 0
    """How many predictions that somebody imported the classifier began from."""
    weak_weight: float | None = None
    """How much these count, as a multiple of what they say by themselves; None: there are none."""
    stability: dict[str, Any] = field(default_factory=dict)
    """How well successive classifiers agreed: `Stability` of `learning.stopping`, as JSON."""
    suspected: list[int] = field(default_factory=list)
    """Tasks whose label is probably wrong, most suspicious first."""
    forecast: dict[str, Any] | None = None
    """How many labels the next accuracy takes: `Forecast` of `learning.quality.forecast`, as JSON."""
    twins: int = 0
    """How many tasks without a label of their own take that of a task with the same text."""
    contradicted: list[list[int]] = field(default_factory=list)
    """Tasks with the same text and different labels, one with each label, a list for each text; of many texts some."""
    notes: list[str] = field(default_factory=list)
    slots: list[str] = field(default_factory=list)
    """What put each task of the head there: `audit`, `focus: …` in words, or what `strategies.reasons` has."""
    likely: list[dict[str, float]] = field(default_factory=list)
    """Of each task of the head, how likely its two most likely choices are, by name, or, where a text may have several,
    those of which it is least sure; empty without a classifier."""


@dataclass(frozen=True)
class Compared:
    """A classifier that the ones after it are compared with: what it learnt from, and what it predicts."""

    choices: str
    """What its choices' numbers mean; see `LabelConfig.meaning`."""
    labelled: NDArray[np.int64]
    """(m,): the tasks that it learnt from."""
    labels: NDArray[np.bool_]
    """(m, k): their labels."""
    task_ids: NDArray[np.int64]
    """(n,): other tasks."""
    chosen: NDArray[np.bool_]
    """(n, k): the choices that it predicts for these."""

    def apart(self, labelled: NDArray[np.int64], labels: NDArray[np.bool_]) -> int:
        """How many labels of another classifier, of tasks (m,), are new, are gone or are other ones than this one's."""
        both, then, now = np.intersect1d(self.labelled, labelled, assume_unique=True, return_indices=True)
        same = int((self.labels[then] == labels[now]).all(axis=1).sum())
        return len(self.labelled) + len(labelled) - len(both) - same


@dataclass(frozen=True)
class Ranking:
    """The pool in the order in which it should be labelled, with what the classifier says of each task."""

    task_ids: NDArray[np.int64]
    """(n,): next first."""
    chosen: NDArray[np.bool_]
    """(n, k): the predicted choices; all false when nothing is predicted."""
    confidence: NDArray[np.float32]
    """(n,): NaN while there is no classifier."""
    hidden: NDArray[np.bool_] | None = None
    """(n,): the tasks whose prediction annotators do not see, because their labels are to judge it; None: of none."""
    meaning: str = ""
    """What the choices' numbers mean; see `LabelConfig.meaning`."""
    twins: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """(t,): tasks that are in no pool, because they take the label of a task with the same text."""

    def said(self, place: int) -> tuple[tuple[int, ...], float | None]:
        """The choices that are predicted at a place, and how surely; None: nothing is predicted."""
        sure = float(self.confidence[place])
        return tuple(np.flatnonzero(self.chosen[place]).tolist()), None if np.isnan(sure) else sure

    @property
    def predicts(self) -> bool:
        """Whether a classifier made it."""
        return not np.isnan(self.confidence).all()
