"""Label Studio's exports, JSON, JSON_MIN, CSV and TSV, as tasks with their annotations."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from prepal import records
from prepal.errors import PrepalError
from prepal.files import FileKind, Row
from prepal.labels import label_config
from prepal.labels.events import AUDIT_MARK, LABEL_CONFIG, Annotation, as_list, number, read_annotation
from prepal.labels.label_config import LabelConfig
from prepal.labels.paths import CHOICE_KINDS
from prepal_workers.labelled.wording import named

Kind = Literal["JSON", "JSON_MIN", "CSV", "TSV"]

# What JSON_MIN, CSV and TSV say of an annotation, beside the task's data and the control tags.
_MARKS = {"annotator", "annotation_id", "created_at", "updated_at", "lead_time"}
_META = _MARKS | {"id", "agreement", "history"}
# CSV calls a field of the data so that has the name of a control tag.
_DATA_PREFIX = "_data_"
# Longer digits are no id, and very long ones are not turned into a number at all.
_LONGEST_ID = 20
# So a table writes several choices, and paths of a Taxonomy.
_WRITTEN_CHOICES = ('{"choices"', '[{"choices"', '[{"taxonomy"')
# With fewer tasks, a column of choices hardly repeats itself.
_FEW_TASKS = 10


@dataclass
class ExportedTask:
    """A task with all its annotations, skipped ones too where the export has them."""

    id: int
    data: dict[str, Any]
    annotations: list[Annotation] = field(default_factory=list)
    has_draft: bool = False
    is_audit: bool = False


@dataclass(frozen=True)
class Export:
    """What an export says."""

    kind: Kind
    tasks: list[ExportedTask]
    choice_tags: tuple[str, ...]
    """Names of the `Choices` and `Taxonomy` tags that somebody chose from."""


def is_export(rows: Sequence[Row]) -> bool:
    """Whether rows are a Label Studio export, and not a data file."""
    return any(
        "annotations" in row or "completions" in row or {"annotator", "annotation_id"} <= row.keys() for row in rows
    )


def config_within(rows: Sequence[Row]) -> LabelConfig | None:
    """The label config that `prepal export --all` wrote into the file, if one is there that can be served."""
    for row in rows:
        meta = row.get("meta")
        if isinstance(meta, Mapping) and isinstance(xml := meta.get(LABEL_CONFIG), str):
            return label_config.parse_or_none(xml)
    return None


def read_export(kind: FileKind, rows: Sequence[Row], name: str, choice: str | None) -> Export:
    """Tasks of an export; its file's `name` is for messages.

    `choice` is the `Choices` tag that is wanted, as CSV alone does not always tell which column it is.

    Raises:
        PrepalError: nothing tells which column holds the choices.
    """
    if any("annotations" in row or "completions" in row for row in rows):
        tasks = [_task(row, place) for place, row in enumerate(rows, start=1)]
        tags = {tag for task in tasks for a in task.annotations for tag in a.choices}
        return Export("JSON", tasks, tuple(sorted(tags)))
    return _from_flat("CSV" if kind == "CSV" else "TSV" if kind == "TSV" else "JSON_MIN", rows, name, choice)


def _task(row: Row, place: int) -> ExportedTask:
    task = number(row.get("id")) or place
    raw = as_list(row.get("annotations", row.get("completions")))
    meta = row.get("meta")
    data = row.get("data")
    return ExportedTask(
        id=task,
        data=data if isinstance(data, dict) else {},
        annotations=[
            read_annotation({**a, "was_cancelled": a.get("was_cancelled") or a.get("skipped")}, task)
            for a in sorted((a for a in raw if isinstance(a, dict)), key=lambda a: number(a.get("id")) or 0)
        ],
        has_draft=bool(row.get("drafts")),
        is_audit=isinstance(meta, Mapping) and bool(meta.get(AUDIT_MARK)),
    )


def _from_flat(kind: Literal["JSON_MIN", "CSV", "TSV"], rows: Sequence[Row], name: str, choice: str | None) -> Export:
    by_task: dict[int, list[Row]] = {}
    for place, row in enumerate(rows, start=1):
        by_task.setdefault(_number(row.get("id")) or place, []).append(row)
    columns = _tag_columns(rows) if kind == "JSON_MIN" else [c for c in _columns(rows) if c not in _META]
    varying = [c for c in columns if any(len({_frozen(row.get(c)) for row in of}) > 1 for of in by_task.values())]
    tags = [choice] if choice in columns else _choice_columns(columns, varying, by_task, name)
    not_data = _META | set(tags) | set(varying if kind != "JSON_MIN" else columns)
    names = {_frozen(row.get("annotator")) for row in rows if row.get("annotator") not in (None, "")}
    in_order = sorted(names, key=lambda name: (_number(name) or 0, name))
    annotators = {name: place for place, name in enumerate(in_order, start=1)}
    tasks = []
    for task, of in by_task.items():
        of = sorted(of, key=lambda row: _number(row.get("annotation_id")) or 0)
        data = {c.removeprefix(_DATA_PREFIX): value for c, value in of[0].items() if c not in not_data}
        annotations = [_flat_annotation(row, task, tags, annotators) for row in of if _marked(row)]
        tasks.append(ExportedTask(task, data, annotations))
    return Export(kind, tasks, tuple(sorted(tags)))


def _tag_columns(rows: Sequence[Row]) -> list[str]:
    """The control tags of JSON_MIN, which stand between a task's id and its annotator."""
    found: dict[str, None] = {}
    for row in rows:
        names = list(row)
        if "id" in names and "annotator" in names:
            found |= dict.fromkeys(n for n in names[names.index("id") + 1 : names.index("annotator")] if n not in _META)
    return list(found) or [c for c in _columns(rows) if c not in _META]


def _choice_columns(
    columns: Sequence[str], varying: Sequence[str], by_task: Mapping[int, Sequence[Row]], name: str
) -> list[str]:
    """The columns that hold choices: by their form, or because they repeat few values; several only if that is sure."""
    values = {c: [row.get(c) for of in by_task.values() for row in (of if c in varying else of[:1])] for c in columns}
    values = {c: [v for v in found if v not in (None, "")] for c, found in values.items()}
    sure = [c for c in columns if any(_is_choices(value) for value in values[c])]
    if sure or len(columns) == 1:
        return sure or list(columns)
    repeating = []
    for column, found in values.items():
        distinct = len({_frozen(value) for value in found})
        if 1 < distinct <= (len(found) / 2 if len(found) >= _FEW_TASKS else len(found) - 1):
            repeating.append(column)
    if len(repeating) > 1:
        repeating = [c for c in repeating if c in varying] or repeating
    if len(repeating) == 1:
        return repeating
    if not any(_marked(row) for of in by_task.values() for row in of):
        return []
    among = named(sorted(repeating or columns)) or "nothing"
    raise PrepalError(f"{name} does not tell which column holds the choices ({among}): name it with --choice.")


def _flat_annotation(row: Row, task: int, tags: Iterable[str], annotators: Mapping[str, int]) -> Annotation:
    result = [{"from_name": tag, "value": value} for tag in tags if (value := _value(row.get(tag)))]
    by = annotators.get(_frozen(row.get("annotator")))
    return read_annotation({**row, "completed_by": by, "result": result}, task)


def _value(value: object) -> dict[str, list[Any]]:
    """What was chosen, by the kind of the tag, as a JSON export has it; a nested choice is its path, a list."""
    if value in (None, "", []):
        return {}
    if isinstance(value, str) and value[0] in "[{":
        try:
            value = records.loads(value)
        except ValueError:
            return {"choices": [value]}
    found: dict[str, list[Any]] = {}
    is_path = isinstance(value, list) and not any(isinstance(part, Mapping) for part in value)
    for part in value if isinstance(value, list) and not is_path else [value]:
        if isinstance(part, Mapping):
            for kind in CHOICE_KINDS:
                found.setdefault(kind, []).extend(as_list(part.get(kind)))
        else:
            found.setdefault("choices", []).append(part)
    return {kind: chosen for kind, chosen in found.items() if chosen}


def _is_choices(value: object) -> bool:
    if isinstance(value, str):
        return value.startswith(_WRITTEN_CHOICES)
    parts = [part for part in as_list(value) if isinstance(part, Mapping)]
    return any(isinstance(part.get(kind), list) for part in parts for kind in CHOICE_KINDS)


def _marked(row: Row) -> bool:
    return row.get("annotation_id") not in (None, "")


def _columns(rows: Iterable[Row]) -> list[str]:
    return sorted({column for row in rows for column in row})


def _number(value: object) -> int | None:
    written = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _LONGEST_ID
    return number(int(value) if written else value)  # type: ignore[call-overload]


def _frozen(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
