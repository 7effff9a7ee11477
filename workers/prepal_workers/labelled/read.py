"""Reads labelled texts: Label Studio's exports, and JSONL or CSV files with texts and labels."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.files import FileKind, Row, parse_rows
from prepal.labels.events import Annotation
from prepal.labels.label_config import LabelConfig
from prepal.labels.settle import settle, vote
from prepal_workers.labelled.data import LabelledData, tidied
from prepal_workers.labelled.data_files import Labels, read_labels, voted
from prepal_workers.labelled.exports import Export, ExportedTask, as_tasks, config_within, is_export, read_export
from prepal_workers.labelled.fields import Text, TextFields, shown
from prepal_workers.labelled.wording import marked, named, same_labels

_Votes = dict[int, tuple[ExportedTask, list[Annotation]]]
"""The tasks that somebody chose something of, by id, with the annotations that say so."""


def read_labelled(
    source: bytes | Sequence[Row],
    name: str,
    *,
    choice: str | None = None,
    fields: Sequence[str] = (),
    pair: bool | None = None,
    config: LabelConfig | None = None,
    audits: Collection[int] = (),
    learnable: bool = True,
) -> LabelledData:
    """Read labelled texts from an export or a data file.

    Args:
        source: content of a file, which tells by itself what it is; or the tasks of a project, as in a JSON export.
        name: the file's or the project's name, for messages.
        choice: name of the `Choices` tag, where an export has several, or of a data file's field with the labels.
        fields: names of the fields that are the text; found by themselves when empty.
        pair: whether the two fields are a pair rather than one text; found by itself when None.
        config: the project's label config, if known: it says which fields are text and which choices there are. None:
            the one that the file itself has, as `prepal export` writes it.
        audits: ids of tasks that were drawn at random, beside those that the export marks itself.
        learnable: whether to refuse labels that tell no two texts apart, which can be judged by.

    Raises:
        PrepalError: the file is broken, has no labels, or leaves open which ones are meant.
    """
    parsed: tuple[FileKind, Sequence[Row]] = parse_rows(source, name) if isinstance(source, bytes) else ("JSON", source)
    if not parsed[1]:
        raise PrepalError(f"{name} has no rows: give a Label Studio export, or a JSONL or CSV file with labels.")
    kind, rows = parsed[0], voted(as_tasks(parsed[1], name), name, choice)
    find = partial(TextFields.find, name=name, wanted=fields, pair=pair)
    if not is_export(rows):
        said = _of_data_file(kind, rows, read_labels(rows, name, choice), partial(find, config=config))
        return tidied(*said, name, learnable=learnable)
    config = config or config_within(rows, choice)
    # Another question may be about other texts of a task.
    config = config if config and choice in (None, config.from_name) else None
    wanted = choice or (config.from_name if config else None)
    data_fields = [one.split(".")[0] for one in (*fields, *(shown(config) if config else ()))]
    export = read_export(kind, rows, name, wanted, data_fields)
    tag = _tag(export, wanted, name)
    said = _of_export(export, tag, partial(find, config=config), config, frozenset(audits))
    return tidied(*said, name, learnable=learnable)


def _of_export(
    export: Export, tag: str, find: Callable[..., TextFields], config: LabelConfig | None, audits: frozenset[int]
) -> tuple[LabelledData, bool]:
    """What an export says, not tidied, and whether a text may have several labels."""
    votes, left_out = _cast(export.tasks, tag)
    votes = votes if config else _one_spelling(votes, tag)
    annotations = [annotation for _, of_task in votes.values() for annotation in of_task]
    settling = config or _config_of(tag, annotations)
    settled = settle(dict(enumerate(annotations)), settling)
    left_out["with choices that the label config no longer has"] += len(votes.keys() - settled.keys())
    labels = {task: label for task, label in settled.items() if label.any()}
    left_out["without a choice that most annotators share"] += len(settled) - len(labels)
    fields = find([task.data for task, _ in votes.values()] or [task.data for task in export.tasks])
    texts = {task: text for task in labels if (text := fields.text(votes[task][0].data))}
    left_out["without a text"] += len(labels) - len(texts)
    of_texts = [votes[task][1] for task in texts]
    said = ({row.tobytes() for a in of_task if (row := vote(a, settling)) is not None} for of_task in of_texts)
    data = LabelledData(
        kind=export.kind,
        texts=list(texts.values()),
        labels=np.array([labels[task] for task in texts], bool).reshape(len(texts), len(settling.choices)),
        label_names=settling.choices,
        is_audit=np.array([votes[task][0].is_audit or task in audits for task in texts], bool),
        task_ids=np.array(list(texts), np.int64),
        tasks=len(export.tasks),
        fields=fields.names,
        reader=fields,
        choice=tag,
        disagreements=sum(len(different) > 1 for different in said),
        left_out=left_out,
        unlabelled=[
            text
            for task in export.tasks
            # Whoever answered another question was not asked this one.
            if task.id not in labels
            and not (settling.conditional and task.annotations)
            and (text := fields.text(task.data))
        ],
        votes=None if settling.multiple else _by_annotator(of_texts, settling),
        notes=(*_rejected(export.tasks), *_others(settling)),
    )
    return data, settling.multiple


def _rejected(tasks: Sequence[ExportedTask]) -> tuple[str, ...]:
    rejected = sum(task.rejected for task in tasks)
    return (f"{rejected} annotations do not count, as a review rejected them.",) if rejected else ()


def _others(learnt: LabelConfig) -> tuple[str, ...]:
    others = ", ".join(repr(question.from_name) for question in learnt.others)
    return (
        (f"Of several questions {learnt.from_name!r} is learnt; name another one with --choice: {others}.",)
        if others
        else ()
    )


def _tag(export: Export, wanted: str | None, name: str) -> str:
    tags, parts = export.choice_tags, export.part_tags
    if told := [tag for tag in parts if wanted in (None, tag)]:
        raise PrepalError(
            f"The choices of {told[0]!r} in {name} are of parts of texts, and whole texts are learnt: name another tag "
            "with --choice, or label texts as a whole."
        )
    if wanted is not None and wanted in tags:
        return wanted
    found = named(tags)
    if not tags:
        raise PrepalError(f"{name} has no labels: annotate tasks with Choices or a Taxonomy, and export again.")
    if wanted is not None:
        raise PrepalError(f"{name} has no choices of the tag {wanted!r} (found: {found}): name one of these.")
    if len(tags) > 1:
        raise PrepalError(f"{name} has several tags of choices ({found}): name one with --choice.")
    return tags[0]


def _cast(tasks: Sequence[ExportedTask], tag: str) -> tuple[_Votes, Counter[str]]:
    """The votes for choices of a tag, and how many tasks have none, by reason."""
    votes: _Votes = {}
    left_out: Counter[str] = Counter()
    for task in tasks:
        chosen = [a for a in task.annotations if not a.skipped and a.choices.get(tag)]
        if chosen:
            votes[task.id] = (task, chosen)
        elif task.rejected and not task.annotations:
            left_out["rejected in a review"] += 1
        elif task.annotations:
            left_out["skipped" if all(a.skipped for a in task.annotations) else "with nothing chosen"] += 1
        else:
            left_out["with a draft only" if task.has_draft else "without an annotation"] += 1
    return votes, left_out


def _one_spelling(votes: _Votes, tag: str) -> _Votes:
    """The same votes, each label by one name; see `same_labels`."""
    same = same_labels(c for _, of_task in votes.values() for a in of_task for c in a.choices[tag])
    if all(name == label for name, label in same.items()):
        return votes
    return {
        id: (task, [replace(a, choices={**a.choices, tag: [same[c] for c in a.choices[tag]]}) for a in of_task])
        for id, (task, of_task) in votes.items()
    }


def _by_annotator(annotations: Sequence[Sequence[Annotation]], config: LabelConfig) -> NDArray[np.int64]:
    """What each annotator chose of each task, `(n, a)`: the newest, if more than once."""
    annotators = sorted({a.annotator for of in annotations for a in of})
    column = {annotator: place for place, annotator in enumerate(annotators)}
    votes = np.full((len(annotations), len(annotators)), -1, np.int64)
    for row, of in zip(votes, annotations, strict=True):
        if any(a.ground_truth for a in of):
            continue
        for a in sorted(of, key=lambda a: a.updated_at):
            if (chosen := vote(a, config)) is not None:
                row[column[a.annotator]] = chosen.argmax()
    return votes


def _config_of(tag: str, annotations: Sequence[Annotation]) -> LabelConfig:
    """The config that the annotations suggest: several may be chosen where somebody chose several."""
    chosen = [a.choices[tag] for a in annotations]
    choices = tuple(sorted({choice for of_one in chosen for choice in of_one}))
    multiple = any(len(set(of_one)) > 1 for of_one in chosen)
    return LabelConfig(
        from_name=tag, to_name="", choices=choices, words=choices, multiple=multiple, fields=(), ignored=()
    )


def _of_data_file(
    kind: str, rows: Sequence[Row], labels: Labels, find: Callable[..., TextFields]
) -> tuple[LabelledData, bool]:
    """What a data file says, not tidied, and whether a text may have several labels."""
    fields = find([{c: value for c, value in row.items() if c not in labels.other_fields} for row in rows])
    left_out: Counter[str] = Counter()
    texts: list[Text] = []
    chosen: list[list[str]] = []
    places: list[int] = []
    unlabelled: list[Text] = []
    for place, (row, given, why_none) in enumerate(zip(rows, labels.given, labels.why_none, strict=True)):
        text = fields.text(row)
        if given is None:
            left_out[why_none] += 1
            unlabelled += [text] if text else []
        elif text is None:
            left_out["without a text"] += 1
        else:
            texts.append(text)
            chosen.append(given)
            places.append(place)
    same = same_labels(one for names in chosen for one in names)
    label_names = sorted(set(same.values()))
    data = LabelledData(
        kind=kind,
        texts=texts,
        labels=marked(chosen, same, label_names),
        label_names=tuple(label_names),
        is_audit=np.array([rows[place].get("audit") in (True, "true", "True", "1") for place in places], bool),
        task_ids=np.array(places, np.int64) + 1,
        tasks=len(rows),
        fields=fields.names,
        reader=fields,
        choice="" if labels.field == "label" else labels.field,
        disagreements=0,
        left_out=left_out,
        unlabelled=unlabelled,
        notes=(labels.note,) if labels.note else (),
    )
    return data, labels.multilabel
