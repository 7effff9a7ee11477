"""Which tasks a focus by a field is about: Label Studio alone has their fields, so each is looked at as it is read."""

from collections.abc import Mapping, Sequence
from typing import Any

from prepal import records
from prepal.label_studio.client import LabelStudio
from prepal.labels.text_fields import UnembeddableError, value_of
from prepal.project import Project


def look_at(project: Project, tasks: Sequence[Mapping[str, Any]]) -> None:
    """Note which of these tasks, read with their data, match the focus of a project, if that goes by a field."""
    focus = project.focus
    if not focus.is_on or focus.kind != "filter":
        return
    found = {int(task["id"]): matches(focus.value, task.get("data")) for task in tasks}
    project.matching.put({task: 1 for task, does in found.items() if does})
    project.matching.delete([task for task, does in found.items() if not does])


def look_on(project: Project, label_studio: LabelStudio) -> bool:
    """Look at one page of tasks that were read before the focus was there; returns whether there may be more."""
    focus = project.focus
    if not focus.is_on or focus.kind != "filter":
        return False
    after, last = project.matched_until(focus), project.last_task
    if after >= last:
        return False
    page = next(label_studio.tasks(project.id, after=after), [])
    look_at(project, page)
    project.note_matched(focus, int(page[-1]["id"]) if page else last)
    return True


def matches(wanted: str, data: object) -> bool:
    """Whether a task's data has the value of `field=value`: as it is written, or as JSON; of a list one will do.

    A field of this very name counts, or one inside of others, as in `mail.folder`.
    """
    field, _, value = (part.strip() for part in wanted.partition("="))
    try:
        has = value_of(field, data if isinstance(data, Mapping) else {})
    except UnembeddableError:
        return False
    return any(_written(one) == value for one in (has if isinstance(has, list) else [has]))


def _written(value: object) -> str:
    return value.strip() if isinstance(value, str) else records.dumps(value).decode()
