"""Reads labelled texts: Label Studio's exports, and JSONL or CSV files with texts and labels."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.label_config import LabelConfig, UnembeddableError
from prepal.labels import settle
from prepal.project import Annotation
from prepal_workers.exports import ExportedTask, Row, is_export, parse_rows, read_export
from prepal_workers.text_fields import find_fields, pair_of

Text = str | tuple[str, str]

_LEAST_EXAMPLES = 2
_MOST_NAMED = 5


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
        notes: sentences on what the reader should know.
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
    notes: tuple[str, ...] = ()

    @property
    def multilabel(self) -> bool:
        """Whether a text may have several labels."""
        return self.labels.ndim == 2

    @property
    def pairs(self) -> bool:
        """Whether texts are pairs."""
        return bool(self.texts) and isinstance(self.texts[0], tuple)

    @property
    def counts(self) -> dict[str, int]:
        """Examples of each label."""
        k = len(self.label_names)
        found = self.labels.sum(axis=0) if self.multilabel else np.bincount(self.labels, minlength=k)
        return dict(zip(self.label_names, map(int, found), strict=True))

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
            *self.notes,
        ]


def read_labelled(
    content: bytes,
    name: str,
    *,
    choice: str | None = None,
    fields: Sequence[str] = (),
    pair: bool | None = None,
    config: LabelConfig | None = None,
    audits: Collection[int] = (),
) -> LabelledData:
    """Read labelled texts from a file's content, which tells by itself what it is.

    Args:
        content: of the file.
        name: of the file, for messages.
        choice: name of the `Choices` tag, where an export has several.
        fields: of the task's data that are the text; found by themselves when empty.
        pair: whether the two fields are a pair rather than one text; found by itself when None.
        config: of the project, if it is known: then it says which fields are text and which choices there are.
        audits: ids of tasks that were drawn at random, beside those that the export marks itself.

    Raises:
        PrepalError: the file is broken, has no labels, or leaves open which ones are meant.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PrepalError(f"{name} is not UTF-8 (byte {error.start}): save it as UTF-8.") from error
    kind, rows = parse_rows(text, name)
    if not is_export(rows):
        return _from_rows(kind, rows, name, fields, pair)
    config = replace(config, from_name=choice) if config and choice else config
    wanted = config.from_name if config else choice
    export = read_export(kind, rows, name, wanted)
    tag = _tag(export.choice_tags, wanted, name)
    return _from_tasks(export.kind, export.tasks, name, tag, fields, pair, config, frozenset(audits))


def _tag(tags: Sequence[str], wanted: str | None, name: str) -> str:
    if wanted is not None and wanted in tags:
        return wanted
    found = ", ".join(tags)
    if not tags:
        raise PrepalError(f"{name} has no labels: annotate tasks with Choices, and export again.")
    if wanted is not None:
        raise PrepalError(f"{name} has no choices of the tag {wanted!r} (found: {found}): name one of these.")
    if len(tags) > 1:
        raise PrepalError(f"{name} has several Choices tags ({found}): name one with --choice.")
    return tags[0]


def _from_tasks(
    kind: str,
    tasks: Sequence[ExportedTask],
    name: str,
    tag: str,
    fields: Sequence[str],
    pair: bool | None,
    config: LabelConfig | None,
    audits: frozenset[int],
) -> LabelledData:
    left_out: Counter[str] = Counter()
    given: dict[int, tuple[ExportedTask, list[Annotation]]] = {}
    for task in tasks:
        cast_votes = [a for a in task.annotations if not a.skipped and a.choices.get(tag)]
        if cast_votes:
            given[task.id] = (task, cast_votes)
        else:
            left_out[_why_none(task)] += 1
    settling = config or _config_of(tag, (a for _, votes in given.values() for a in votes))
    labels = settle((a for _, votes in given.values() for a in votes), settling)
    left_out["with choices that the label config no longer has"] += len(given.keys() - labels.keys())

    found = tuple(fields) or (() if config else find_fields([task.data for task, _ in given.values()], name))
    two = pair_of(found, pair)
    kept: list[int] = []
    texts: list[Text] = []
    for task_id in labels:
        data = given[task_id][0].data
        text = _config_text(config, data) if config and not found else text_of(data, found, two)
        if text is None:
            left_out["without a text"] += 1
        else:
            kept.append(task_id)
            texts.append(text)
    differing = sum(len({frozenset(a.choices[tag]) for a in given[task][1]}) > 1 for task in kept)
    return _labelled(
        kind=kind,
        name=name,
        texts=texts,
        chosen=np.array([labels[task] for task in kept], bool).reshape(len(kept), -1),
        label_names=settling.choices,
        multilabel=settling.multiple,
        is_audit=np.array([given[task][0].is_audit or task in audits for task in kept], bool),
        task_ids=np.array(kept, np.int64),
        tasks=len(tasks),
        fields=found or tuple(field.template for field in config.fields if config),  # type: ignore[union-attr]
        choice=tag,
        disagreements=differing,
        left_out=left_out,
    )


def _why_none(task: ExportedTask) -> str:
    if not task.annotations:
        return "with a draft only" if task.has_draft else "without an annotation"
    return "skipped" if all(a.skipped for a in task.annotations) else "with nothing chosen"


def _config_of(tag: str, annotations: Iterable[Annotation]) -> LabelConfig:
    """The config that the annotations suggest: several may be chosen where somebody chose several."""
    chosen = [a.choices[tag] for a in annotations]
    choices = tuple(sorted({choice for found in chosen for choice in found}))
    multiple = any(len(set(found)) > 1 for found in chosen)
    return LabelConfig(
        from_name=tag, to_name="", choices=choices, words=choices, multiple=multiple, fields=(), ignored=()
    )


def _config_text(config: LabelConfig, data: Mapping[str, Any]) -> str | None:
    try:
        return config.text(data)
    except UnembeddableError:
        return None


def text_of(data: Mapping[str, Any], fields: Sequence[str], pair: bool) -> Text | None:
    """The text of a task's data: its fields joined by a line feed, or a pair; None where there is none."""
    parts = [str(data[field]).strip() if data.get(field) is not None else "" for field in fields]
    if pair:
        return (parts[0], parts[1]) if parts[0] and parts[1] else None
    return "\n".join(part for part in parts if part) or None


def _from_rows(kind: str, rows: Sequence[Row], name: str, fields: Sequence[str], pair: bool | None) -> LabelledData:
    if not any("label" in row for row in rows):
        columns = ", ".join(sorted({str(column) for row in rows for column in row}))
        raise PrepalError(
            f"{name} has no labels (found: {columns}): give a Label Studio export, or name the field of the labels "
            "'label'."
        )
    left_out: Counter[str] = Counter()
    found = tuple(fields) or find_fields([{k: v for k, v in row.items() if k != "label"} for row in rows], name)
    two = pair_of(found, pair)
    texts: list[Text] = []
    chosen: list[list[str]] = []
    places: list[int] = []
    multilabel = any(isinstance(_label(row.get("label")), list) for row in rows)
    for place, row in enumerate(rows):
        text, label = text_of(row, found, two), _label(row.get("label"))
        if label in (None, ""):
            left_out["without a label"] += 1
        elif text is None:
            left_out["without a text"] += 1
        else:
            texts.append(text)
            chosen.append([str(one) for one in (label if isinstance(label, list) else [label])])
            places.append(place)
    names = tuple(sorted({one for given in chosen for one in given}))
    index = {label: column for column, label in enumerate(names)}
    marks = np.zeros((len(texts), len(names)), bool)
    for number, given in enumerate(chosen):
        marks[number, [index[one] for one in given]] = True
    return _labelled(
        kind=kind,
        name=name,
        texts=texts,
        chosen=marks,
        label_names=names,
        multilabel=multilabel,
        is_audit=np.array([rows[place].get("audit") in (True, "true", "True", "1") for place in places], bool),
        task_ids=np.array(places, np.int64) + 1,
        tasks=len(rows),
        fields=found,
        choice="",
        disagreements=0,
        left_out=left_out,
    )


def _label(value: object) -> object:
    """A label, or a list of labels, also where a table holds the list as JSON."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return list(json.loads(value))
        except ValueError:
            return value
    return value.strip() if isinstance(value, str) else value


def _labelled(
    *,
    kind: str,
    name: str,
    texts: list[Text],
    chosen: NDArray[np.bool_],
    label_names: tuple[str, ...],
    multilabel: bool,
    is_audit: NDArray[np.bool_],
    task_ids: NDArray[np.int64],
    tasks: int,
    fields: tuple[str, ...],
    choice: str,
    disagreements: int,
    left_out: Counter[str],
) -> LabelledData:
    if not texts:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
        raise PrepalError(f"None of the {tasks} tasks of {name} has a label ({reasons}): label some, and export again.")
    order = np.argsort(task_ids, kind="stable")
    counts = chosen.sum(axis=0)
    used = np.flatnonzero(counts > 0)
    if len(used) < (1 if multilabel else 2):
        raise PrepalError(
            f"All {len(texts)} labels of {name} are {label_names[used[0]] if len(used) else 'empty'!r}: a model needs "
            "examples of two."
        )
    marks = chosen[order][:, used]
    names = [label_names[column] for column in used]
    return LabelledData(
        kind=kind,
        texts=[texts[place] for place in order],
        labels=marks if multilabel else marks.argmax(axis=1).astype(np.int64),
        label_names=tuple(names),
        is_audit=is_audit[order],
        task_ids=task_ids[order],
        tasks=tasks,
        fields=fields,
        choice=choice,
        disagreements=disagreements,
        left_out={reason: count for reason, count in left_out.items() if count},
        notes=tuple(_notes(label_names, counts)),
    )


def _notes(label_names: Sequence[str], counts: NDArray[np.int64]) -> list[str]:
    few = [name for name, count in zip(label_names, counts, strict=True) if 0 < count < _LEAST_EXAMPLES]
    none = [name for name, count in zip(label_names, counts, strict=True) if count == 0]
    notes = []
    if few:
        notes.append(
            f"{_named(few)}: fewer than {_LEAST_EXAMPLES} examples, so nothing can tell how well the model knows "
            "that; label more."
        )
    if none:
        notes.append(f"{_named(none)}: no examples, so the model will not know that; label some.")
    return notes


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
