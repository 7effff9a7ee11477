"""Reads what Label Studio sends in events and exports, however malformed it is; marks what `prepal export` writes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prepal.labels.paths import CHOICE_KINDS, as_name, names_of

# Up to here Redis' scripts and browsers count exactly; no id of Label Studio's is larger.
_LARGEST_ID = 2**53 - 1
# Keys in the `meta` of a task that `prepal export` wrote: that it was drawn at random; with `--all`, how likely it has
# each choice, or which ones it takes from a task with the same text; in the first task, the project's label config.
AUDIT_MARK, BELIEFS, LABEL_CONFIG = "prepal_audit", "prepal_beliefs", "prepal_label_config"
TWIN_LABEL = "prepal_twin_label"
# What the values of results have that are about a part of a text, or of a picture.
_OF_A_REGION = ("start", "x", "points", "rle")


@dataclass(frozen=True)
class Annotation:
    """What one annotator said of one task, as far as it bears on a label."""

    task: int
    annotator: int
    updated_at: str
    skipped: bool
    ground_truth: bool
    choices: dict[str, list[str]]
    """Chosen values by control tag; a path has one name, as `paths.written` has it."""
    lead_time: float | None = None
    """How many seconds it took, as Label Studio has it; None where that is not known, as before this was kept."""


def number(value: object) -> int | None:
    """An id, or None when it is not one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_ID else None


def as_list(value: object) -> list[Any]:
    """A list of what was sent alone or as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def unix_time(text: str) -> float | None:
    """Unix time of a time as it is written, also of the first and the last day that there are; None: it is no time."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def project_of(payload: Mapping[str, Any]) -> int | None:
    """The project that an event or a request is about: an object, an id, or `id.timestamp`."""
    project = payload.get("project")
    if isinstance(project, Mapping):
        return number(project.get("id"))
    if isinstance(project, str):
        head = project.split(".", 1)[0]
        return number(int(head)) if head.isascii() and head.isdigit() and len(head) < 20 else None
    return number(project)


def read_annotation(raw: Mapping[str, Any], task: int) -> Annotation:
    """One annotation as Label Studio sends it, in events and in exports."""
    by = raw.get("completed_by")
    if isinstance(by, Mapping):
        by = by.get("id")
    return Annotation(
        task=task,
        annotator=number(by) or 0,
        updated_at=_moment(raw.get("updated_at")) or _moment(raw.get("created_at")),
        skipped=bool(raw.get("was_cancelled")),
        ground_truth=bool(raw.get("ground_truth")),
        choices={tag: list(chosen) for tag, chosen in _choices(raw.get("result")).items()},
        lead_time=_seconds(raw.get("lead_time")),
    )


def _choices(result: object) -> dict[str, dict[str, None]]:
    """Different choices, in their order, by the tag that they were made with."""
    by_tag: dict[str, dict[str, None]] = {}
    for item in as_list(result):
        if not isinstance(item, Mapping) or is_of_part(item):
            continue
        tag, value = as_name(item.get("from_name")), item.get("value")
        for kind in CHOICE_KINDS:
            chosen = value.get(kind) if isinstance(value, Mapping) else None
            if tag is not None and isinstance(chosen, list):
                by_tag.setdefault(tag, {}).update(dict.fromkeys(names_of(chosen, kind)))
    return by_tag


def is_of_part(item: Mapping[str, Any]) -> bool:
    """Whether an item of a `result` says something of a region, or of one of a task's items: no label of the task."""
    value = item.get("value")
    is_of_region = isinstance(value, Mapping) and any(key in value for key in _OF_A_REGION)
    return is_of_region or item.get("item_index") is not None


def _seconds(value: object) -> float | None:
    """A length of time, or None when it is none."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_real and 0 <= value <= _LARGEST_ID else None  # type: ignore[arg-type, operator]


def _moment(value: object) -> str:
    """A time as it is written, or "" when it is none: then whatever has a time is newer."""
    return value if isinstance(value, str) and unix_time(value) is not None else ""


def marked(task: Mapping[str, Any], audits: Collection[int], more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a task of an export with more in its `meta`, and the mark of an audit task if it is one."""
    added = {**({AUDIT_MARK: True} if task["id"] in audits else {}), **(more or {})}
    meta = task.get("meta")
    return {**task, "meta": {**(meta if isinstance(meta, Mapping) else {}), **added}} if added else dict(task)
