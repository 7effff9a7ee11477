"""Reads what Label Studio sends in events and exports, however malformed it is."""

from collections.abc import Mapping
from typing import Any

from prepal.project import Annotation

# Label Studio's ids are 64-bit; anything else is nonsense, and would not fit into an array.
_LARGEST_ID = 2**63 - 1
# The key, in the `meta` of a task that `prepal export` wrote, that says that it was drawn at random.
AUDIT_MARK = "prepal_audit"


def number(value: object) -> int | None:
    """An id, or None when it is not one."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_ID:
        return value
    return None


def as_list(value: object) -> list[Any]:
    """A list of what was sent alone or as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


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
    choices: dict[str, list[str]] = {}
    for item in as_list(raw.get("result")):
        value = item.get("value") if isinstance(item, Mapping) else None
        chosen = value.get("choices") if isinstance(value, Mapping) else None
        if isinstance(chosen, list):
            # A nested choice comes as its path; the leaf is what was chosen.
            leaves = [c[-1] if isinstance(c, list) and c else c for c in chosen]
            choices.setdefault(str(item.get("from_name")), []).extend(str(leaf) for leaf in leaves)
    return Annotation(
        task=task,
        annotator=number(by) or 0,
        updated_at=str(raw.get("updated_at") or raw.get("created_at") or ""),
        skipped=bool(raw.get("was_cancelled")),
        ground_truth=bool(raw.get("ground_truth")),
        choices=choices,
    )
