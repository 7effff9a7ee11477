"""Label Studio's exports, JSON, JSON_MIN, CSV and TSV, as tasks with their annotations."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from xml.etree.ElementTree import tostring

from defusedxml.ElementTree import fromstring

from prepal.errors import PrepalError
from prepal.files import FileKind, Row
from prepal.labels import label_config
from prepal.labels.choices import CHOICE_TAGS
from prepal.labels.events import AUDIT_MARK, LABEL_CONFIG, Annotation, as_list, is_of_part, number, read_annotation
from prepal.labels.label_config import LabelConfig
from prepal.labels.paths import CHOICE_KINDS
from prepal_workers.labelled.flat import flat_tasks, is_flat

Kind = Literal["JSON", "JSON_MIN", "CSV", "TSV"]


@dataclass
class ExportedTask:
    """A task with all its annotations, skipped ones too where the export has them."""

    id: int
    data: dict[str, Any]
    annotations: list[Annotation] = field(default_factory=list)
    has_draft: bool = False
    is_audit: bool = False
    rejected: int = 0
    """How many more annotations it had, which a review rejected."""


@dataclass(frozen=True)
class Export:
    """What an export says."""

    kind: Kind
    tasks: list[ExportedTask]
    choice_tags: tuple[str, ...]
    """Names of the `Choices` and `Taxonomy` tags that somebody chose from."""
    part_tags: tuple[str, ...] = ()
    """Names of the tags that are about regions or items, and not about whole texts."""


def is_export(rows: Sequence[Row]) -> bool:
    """Whether rows are a Label Studio export, and not a data file."""
    return any("annotations" in row or "completions" in row for row in rows) or is_flat(rows)


def as_tasks(rows: Sequence[Row], name: str) -> Sequence[Row]:
    """Rows of target storage, one for each annotation with its task, as tasks; any others as they are.

    Raises:
        PrepalError: the annotations do not tell of their tasks.
    """
    # Events, as whoever keeps them does, have both side by side.
    rows = [{**row["annotation"], "task": row["task"]} if _is_event(row) else row for row in rows]
    if not any("result" in row and "task" in row for row in rows):
        return rows
    tasks: dict[object, Row] = {}
    for place, row in enumerate(rows, start=1):
        if "annotations" in row:
            tasks[row.get("id")] = row
            continue
        task = row.get("task")
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise PrepalError(
                f"{name} has as its item {place} an annotation without its task's data: export the project as JSON."
            )
        found = tasks.setdefault(number(task.get("id")) or f"row {place}", {**task, "annotations": []})
        found["annotations"] = [*as_list(found["annotations"]), {key: row[key] for key in row if key != "task"}]
    return list(tasks.values())


def _is_event(row: Row) -> bool:
    return isinstance(row.get("annotation"), dict) and isinstance(row.get("task"), dict)


def config_of(xml: str, choice: str | None) -> LabelConfig | None:
    """The label config as far as it is about the choices of one tag, or of the first; None where there is no such tag.

    Raises:
        PrepalError: it cannot be served.
    """
    config = label_config.parse(xml)
    for question in config.questions:
        if choice in (None, question.from_name):
            return question
    # Whatever else there is cannot be learnt; without the others it is said why.
    root = fromstring(xml.strip())
    controls = [(parent, child) for parent in root.iter() for child in parent if child.tag in CHOICE_TAGS]
    if not any(child.get("name") == choice for _, child in controls):
        return None
    for parent, child in controls:
        if child.get("name") != choice:
            parent.remove(child)
    return label_config.parse(tostring(root, encoding="unicode"))


def config_within(rows: Sequence[Row], choice: str | None) -> LabelConfig | None:
    """The label config that `prepal export` wrote into the file, if one is there that can be served."""
    for row in rows:
        meta = row.get("meta")
        if isinstance(meta, Mapping) and isinstance(xml := meta.get(LABEL_CONFIG), str):
            with suppress(PrepalError):
                return config_of(xml, choice)
    return None


def read_export(
    kind: FileKind, rows: Sequence[Row], name: str, choice: str | None, data_fields: Collection[str] = ()
) -> Export:
    """Tasks of an export; its file's `name` is for messages.

    `choice` is the `Choices` tag that is wanted, and `data_fields` are surely data, as a flat export alone does not
    always tell which column is what.

    Raises:
        PrepalError: nothing tells which column holds the choices.
    """
    if any("annotations" in row or "completions" in row for row in rows):
        tasks = _distinct([_task(row) for row in rows])
        parts = _regional(rows)
        tags = {tag for task in tasks for a in task.annotations for tag in a.choices} - parts
        return Export("JSON", tasks, tuple(sorted(tags)), tuple(sorted(parts)))
    flat, columns, part_columns = flat_tasks(rows, name, choice, data_fields, is_json=kind not in ("CSV", "TSV"))
    tasks = [ExportedTask(task, data, annotations) for task, data, annotations in flat]
    flat_kind: Kind = "CSV" if kind == "CSV" else "TSV" if kind == "TSV" else "JSON_MIN"
    return Export(flat_kind, tasks, tuple(sorted(columns)), tuple(sorted(part_columns)))


def _regional(rows: Sequence[Row]) -> set[str]:
    """The tags with which parts of a text were given choices."""
    annotations = [a for row in rows for a in as_list(row.get("annotations", row.get("completions")))]
    results = [item for a in annotations if isinstance(a, dict) for item in as_list(a.get("result"))]
    return {
        str(item.get("from_name"))
        for item in results
        if isinstance(item, dict)
        and is_of_part(item)
        and isinstance(value := item.get("value"), dict)
        and any(isinstance(value.get(kind), list) for kind in CHOICE_KINDS)
    }


def _distinct(tasks: Sequence[ExportedTask]) -> list[ExportedTask]:
    """The same with an id each: one that stands twice has all annotations, and another one of the same id its own."""
    found: dict[int, ExportedTask] = {}
    free = max((task.id for task in tasks), default=0) + 1
    for task in tasks:
        same = found.get(task.id)
        if same is not None and same.data == task.data:
            same.annotations += [one for one in task.annotations if one not in same.annotations]
            same.rejected += task.rejected
            continue
        if same is not None or not task.id:
            task.id, free = free, free + 1
            task.annotations = [replace(annotation, task=task.id) for annotation in task.annotations]
        found[task.id] = task
    return list(found.values())


def _task(row: Row) -> ExportedTask:
    task = number(row.get("id")) or 0
    raw = as_list(row.get("annotations", row.get("completions")))
    meta = row.get("meta")
    data = row.get("data")
    given = _newest([annotation for annotation in raw if isinstance(annotation, dict)])
    accepted = [annotation for annotation in given if not _rejected(annotation)]
    return ExportedTask(
        id=task,
        data=data if isinstance(data, dict) else {},
        annotations=[
            read_annotation({**a, "was_cancelled": a.get("was_cancelled") or a.get("skipped")}, task)
            for a in sorted(accepted, key=lambda a: number(a.get("id")) or 0)
        ],
        has_draft=bool(row.get("drafts")),
        is_audit=isinstance(meta, Mapping) and bool(meta.get(AUDIT_MARK)),
        rejected=len(given) - len(accepted),
    )


def _newest(annotations: Sequence[Row]) -> list[Row]:
    """Each annotation once, as it was last: kept events and joined exports have older states of it."""
    found: dict[object, Row] = {}
    for place, one in enumerate(annotations):
        key = number(one.get("id")) or f"place {place}"
        if str(one.get("updated_at") or "") >= str(found.get(key, {}).get("updated_at") or ""):
            found[key] = one
    return list(found.values())


def _rejected(annotation: Mapping[str, Any]) -> bool:
    """Whether a review, as Label Studio Enterprise exports it, rejected an annotation last."""
    last = annotation.get("last_action")
    if isinstance(last, str) and last:
        return last == "rejected"
    reviews = [review for review in as_list(annotation.get("reviews")) if isinstance(review, Mapping)]
    reviews.sort(key=lambda review: (str(review.get("created_at") or ""), number(review.get("id")) or 0))
    return bool(reviews) and reviews[-1].get("accepted") is False and not reviews[-1].get("fixed_annotation_history")
