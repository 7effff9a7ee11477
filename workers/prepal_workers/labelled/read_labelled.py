"""Reads labelled texts: Label Studio's exports, and JSONL or CSV files with texts and labels."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prepal import records
from prepal.errors import PrepalError
from prepal.files import FileKind, Row, parse_rows
from prepal.labels.annotation import Annotation
from prepal.labels.label_config import LabelConfig, UnembeddableError
from prepal.labels.settle import settle, vote
from prepal.records import readable
from prepal_workers.labelled.exports import ExportedTask, is_export, read_export
from prepal_workers.labelled.labelled_data import LabelledData, assemble
from prepal_workers.labelled.text_fields import Text, find_fields, pair_of, text_of
from prepal_workers.labelled.wording import named, same_labels

_Votes = dict[int, tuple[ExportedTask, list[Annotation]]]


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
    """Read labelled texts from a file's content, which tells by itself what it is; all else is as in `read_rows`.

    Raises:
        PrepalError: the file is broken, has no labels, or leaves open which ones are meant.
    """
    kind, rows = parse_rows(content, name)
    return read_rows(kind, rows, name, choice=choice, fields=fields, pair=pair, config=config, audits=audits)


def read_rows(
    kind: FileKind,
    rows: Sequence[Row],
    name: str,
    *,
    choice: str | None = None,
    fields: Sequence[str] = (),
    pair: bool | None = None,
    config: LabelConfig | None = None,
    audits: Collection[int] = (),
) -> LabelledData:
    """Read labelled texts from the rows of an export, or of a data file.

    Args:
        kind: of the file.
        rows: of it.
        name: of the file, for messages.
        choice: name of the `Choices` tag, where an export has several.
        fields: of the task's data that are the text; found by themselves when empty.
        pair: whether the two fields are a pair rather than one text; found by itself when None.
        config: of the project, if it is known: then it says which fields are text and which choices there are.
        audits: ids of tasks that were drawn at random, beside those that the export marks itself.

    Raises:
        PrepalError: there are no labels, or it is left open which ones are meant.
    """
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
    found = named(tags)
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
    given: _Votes = {}
    for task in tasks:
        cast_votes = [a for a in task.annotations if not a.skipped and a.choices.get(tag)]
        if cast_votes:
            given[task.id] = (task, cast_votes)
        else:
            left_out[_why_none(task)] += 1
    given = given if config else _one_spelling(given, tag)
    settling = config or _config_of(tag, (a for _, votes in given.values() for a in votes))
    settled = settle(dict(enumerate(a for _, votes in given.values() for a in votes)), settling)
    left_out["with choices that the label config no longer has"] += len(given.keys() - settled.keys())
    labels = {task: label for task, label in settled.items() if label.any()}
    left_out["without a choice that most annotators share"] += len(settled) - len(labels)

    found = tuple(fields) or (() if config else find_fields([task.data for task, _ in given.values()], name))
    two = pair_of(found, pair)
    kept: list[int] = []
    texts: list[Text] = []

    def read(task: ExportedTask) -> Text | None:
        return _config_text(config, task.data) if config and not found else text_of(task.data, found, two)

    for task_id in labels:
        text = read(given[task_id][0])
        if text is None:
            left_out["without a text"] += 1
        else:
            kept.append(task_id)
            texts.append(text)
    said = ({row.tobytes() for a in given[task][1] if (row := vote(a, settling)) is not None} for task in kept)
    return assemble(
        kind=kind,
        name=name,
        texts=texts,
        chosen=np.array([labels[task] for task in kept], bool).reshape(len(kept), len(settling.choices)),
        label_names=settling.choices,
        multilabel=settling.multiple,
        is_audit=np.array([given[task][0].is_audit or task in audits for task in kept], bool),
        task_ids=np.array(kept, np.int64),
        tasks=len(tasks),
        fields=found or tuple(field.template for field in config.fields if config),  # type: ignore[union-attr]
        choice=tag,
        disagreements=sum(len(votes) > 1 for votes in said),
        left_out=left_out,
        unlabelled=[text for task in tasks if task.id not in labels and (text := read(task))],
        votes=None if settling.multiple else _votes([given[task][1] for task in kept], settling),
    )


def _one_spelling(given: _Votes, tag: str) -> _Votes:
    """The same votes, each label by one name; see `same_labels`."""
    same = same_labels(c for _, votes in given.values() for a in votes for c in a.choices[tag])
    if all(name == label for name, label in same.items()):
        return given
    return {
        id: (task, [replace(a, choices={**a.choices, tag: [same[c] for c in a.choices[tag]]}) for a in votes])
        for id, (task, votes) in given.items()
    }


def _votes(annotations: Sequence[Sequence[Annotation]], config: LabelConfig) -> NDArray[np.int64]:
    """What each annotator chose of each task, `(n, a)`: the newest, if more than once."""
    annotators = sorted({a.annotator for of in annotations for a in of})
    column = {annotator: place for place, annotator in enumerate(annotators)}
    votes = np.full((len(annotations), len(annotators)), -1, np.int64)
    for row, of in zip(votes, annotations, strict=True):
        if any(a.ground_truth for a in of):
            continue
        for a in sorted(of, key=lambda a: a.updated_at):
            known = [place for choice in a.choices[config.from_name] if (place := config.place(choice)) is not None]
            if known:
                row[column[a.annotator]] = known[0]
    return votes


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
        return readable(config.text(data))
    except UnembeddableError:
        return None


def _from_rows(kind: str, rows: Sequence[Row], name: str, fields: Sequence[str], pair: bool | None) -> LabelledData:
    if not any("label" in row for row in rows):
        columns = named(sorted({str(column) for row in rows for column in row}))
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
    unlabelled: list[Text] = []
    multilabel = any(isinstance(_label(row.get("label")), list) for row in rows)
    for place, row in enumerate(rows):
        text, label = text_of(row, found, two), _label(row.get("label"))
        if label in (None, ""):
            left_out["without a label"] += 1
            unlabelled += [text] if text else []
        elif text is None:
            left_out["without a text"] += 1
        else:
            texts.append(text)
            chosen.append([str(one).strip() for one in (label if isinstance(label, list) else [label])])
            places.append(place)
    same = same_labels(one for given in chosen for one in given)
    names = tuple(sorted(set(same.values())))
    index = {label: column for column, label in enumerate(names)}
    marks = np.zeros((len(texts), len(names)), bool)
    for number, given in enumerate(chosen):
        marks[number, [index[same[one]] for one in given]] = True
    return assemble(
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
        unlabelled=unlabelled,
    )


def _label(value: object) -> object:
    """A label, or a list of labels, also where a table holds the list as JSON."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return list(records.loads(value))
        except ValueError:
            return value
    return value.strip() if isinstance(value, str) else value
