"""Labelled texts, and what was met while reading them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.learning.classifiers.decisions import HowMany, how_many, marks
from prepal.learning.quality.folds import equal
from prepal_workers.labelled.fields import Text, TextFields
from prepal_workers.labelled.wording import named, words_of

_LEAST_EXAMPLES = 2


@dataclass(frozen=True)
class LabelledData:
    """Labelled texts, and what was met while reading them.

    Attributes:
        kind: what the file was, such as `JSON_MIN`.
        texts: the texts, or pairs of texts; all of one kind.
        labels: `(n,)` int64 places in `label_names`, or `(n, k)` bool where a text may have several.
        label_names: the choices that somebody chose, in the config's order if there is one, else sorted.
        is_audit: `(n,)` bool, which tasks were drawn at random.
        task_ids: `(n,)` int64; the row's number where there are no tasks.
        tasks: how many tasks, or rows, there were.
        fields: where the texts come from.
        choice: name of the `Choices` tag; empty for a data file.
        disagreements: how many tasks got different choices from different annotators.
        left_out: how many tasks gave no label, by reason.
        unlabelled: texts of tasks that gave no label.
        votes: `(n, a)` int64, what each annotator chose, as places in `label_names`; -1 where nobody asked, and in all
            of a row whose label is ground truth. None where a text may have several labels.
        settled_by: how labels came out of votes.
        notes: sentences on what the reader should know.
        reader: reads the text of a row as those were read.
    """

    kind: str
    texts: list[Text]
    labels: NDArray[np.int64] | NDArray[np.bool_]
    label_names: tuple[str, ...]
    is_audit: NDArray[np.bool_]
    task_ids: NDArray[np.int64]
    tasks: int
    fields: tuple[str, ...]
    choice: str
    disagreements: int
    left_out: dict[str, int]
    unlabelled: list[Text] = field(default_factory=list)
    votes: NDArray[np.int64] | None = None
    settled_by: Literal["majority", "CROWDLAB"] = "majority"
    notes: tuple[str, ...] = ()
    reader: TextFields = field(default_factory=lambda: TextFields(("text",)))

    @property
    def multilabel(self) -> bool:
        """Whether a text may have several labels."""
        return self.labels.ndim == 2

    @property
    def how_many(self) -> HowMany:
        """How many labels a text has."""
        return how_many(self.labels)

    @property
    def pairs(self) -> bool:
        """Whether texts are pairs."""
        return bool(self.texts) and isinstance(self.texts[0], tuple)

    @property
    def marks(self) -> NDArray[np.bool_]:
        """Which labels each text has, `(n, k)`."""
        return marks(self.labels, len(self.label_names))

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """A number for each text `(n,)`, the same for ones that say the same."""
        return equal([tuple(map(words_of, (text,) if isinstance(text, str) else text)) for text in self.texts])

    @property
    def contradictory(self) -> list[int]:
        """Tasks whose text has other labels in another task."""
        rows = np.column_stack([self.groups, self.marks])
        different = np.unique(rows, axis=0)
        texts, counts = np.unique(different[:, 0], return_counts=True)
        return [int(task) for task in self.task_ids[np.isin(self.groups, texts[counts > 1])]]

    @property
    def counts(self) -> dict[str, int]:
        """Examples of each label."""
        k = len(self.label_names)
        found = self.labels.sum(axis=0) if self.multilabel else np.bincount(self.labels, minlength=k)
        return dict(zip(self.label_names, map(int, found), strict=True))

    def texts_at(self, places: NDArray[np.int64]) -> list[Text]:
        """The texts at some places."""
        return [self.texts[place] for place in places]

    def summary(self) -> list[str]:
        """What was read, a line per fact."""
        what = "pairs" if self.pairs else "texts"
        kind = "several labels each" if self.multilabel else "one label each"
        audits = f", {int(self.is_audit.sum())} of them audit tasks" if self.is_audit.any() else ""
        source = f" from {' + '.join(self.fields)}" + (f", labels from {self.choice}" if self.choice else "")
        left_out = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        return [
            f"{self.kind}: {self.tasks} tasks, {len(self.texts)} labelled {what} with {kind}{audits}{source}.",
            "Labels: " + ", ".join(f"{label} {count}" for label, count in self.counts.items()) + ".",
            f"Disagreements: annotators of {self.disagreements} tasks chose differently; the majority counts.",
            f"Left out: {left_out or 'nothing'}.",
            *self.equal_texts(),
            *self.notes,
        ]

    def equal_texts(self) -> list[str]:
        """A sentence on texts that occur more than once, if there are any."""
        different = len(np.unique(self.groups))
        if different == len(self.texts):
            return []
        said = f"Equal texts: there are {different} different ones, and none is both learnt from and judged by"
        if not self.contradictory:
            return [f"{said}."]
        tasks = named([str(task) for task in self.contradictory])
        return [f"{said}; equal ones with different labels are in the tasks {tasks}: correct these."]


def tidied(data: LabelledData, multilabel: bool, name: str, *, learnable: bool = True) -> LabelledData:
    """The same sorted by task, without labels that no text has; `name` is the file's, for messages.

    As it was read, labels are `(n, k)` bool also where it is not `multilabel`, so that a text has one label.

    Raises:
        PrepalError: no text has a label; or, where they are to be `learnable`, nothing could be told apart.
    """
    left_out = {reason: count for reason, count in data.left_out.items() if count}
    if not data.texts:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise PrepalError(
            f"None of the {data.tasks} tasks of {name} has both a text and a label ({reasons}): label some, and export "
            "again."
        )
    order = np.argsort(data.task_ids, kind="stable")
    counts = data.labels.sum(axis=0)
    used = np.flatnonzero(counts)
    if learnable and len(used) < (1 if multilabel else 2):
        only = data.label_names[used[0]] if len(used) else "empty"
        raise PrepalError(f"All {len(data.texts)} labels of {name} are {only!r}: a model needs examples of two.")
    kept = data.labels[order][:, used]
    # Votes for labels that nothing has in the end are none, like the -1 of who was not asked, which is the last place.
    renumbered = np.append(np.where(counts > 0, np.cumsum(counts > 0) - 1, -1), -1)
    return replace(
        data,
        texts=data.texts_at(order),
        labels=kept if multilabel else kept.argmax(axis=1).astype(np.int64),
        label_names=tuple(data.label_names[column] for column in used),
        is_audit=data.is_audit[order],
        task_ids=data.task_ids[order],
        left_out=left_out,
        votes=None if data.votes is None else renumbered[data.votes[order]],
        notes=(*_notes(data.label_names, counts), *data.notes, *filter(None, [data.reader.note])),
    )


def _notes(label_names: Sequence[str], counts: NDArray[np.int64]) -> list[str]:
    few = [name for name, count in zip(label_names, counts, strict=True) if 0 < count < _LEAST_EXAMPLES]
    none = [name for name, count in zip(label_names, counts, strict=True) if count == 0]
    notes = []
    if few:
        notes.append(
            f"{named(few)}: fewer than {_LEAST_EXAMPLES} examples, so nothing can tell how well the model knows "
            "that; label more."
        )
    if none:
        notes.append(f"{named(none)}: no examples, so the model will not know that; label some.")
    return notes
