"""Which fields of a task are its text, where no label config says so."""

from collections.abc import Mapping, Sequence
from typing import Any

from prepal.errors import PrepalError
from prepal.records import readable
from prepal_workers.labelled.wording import named

Text = str | tuple[str, str]

# Fields that are two texts to be read together, in this order.
_PAIRS = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question", "context"),
    ("question", "answer"),
    ("query", "document"),
)
# Shorter values are codes and names, and ones that hardly differ from task to task say where it comes from.
_LEAST_CHARS, _LEAST_DISTINCT = 12, 0.5


def find_fields(tasks: Sequence[Mapping[str, Any]], name: str) -> tuple[str, ...]:
    """The fields that people would read: a known pair, else all prose in the order of names, else `text`.

    Args:
        tasks: data of the tasks.
        name: of the file, for messages.

    Raises:
        PrepalError: no field holds a string.
    """
    values = {
        field: found
        for field in sorted({field for data in tasks for field in data})
        if (found := [v for data in tasks if isinstance(v := data.get(field), str) and v.strip()])
    }
    for pair in _PAIRS:
        if set(pair) <= values.keys():
            return pair
    most = max((len(set(found)) for found in values.values()), default=0)
    prose = tuple(f for f, found in values.items() if _is_prose(found) and len(set(found)) >= _LEAST_DISTINCT * most)
    if prose:
        return prose
    if not values:
        raise PrepalError(f"{name} has no field with a text: name it with --text.")
    return ("text",) if "text" in values else (max(values, key=lambda f: sum(map(len, values[f])) / len(values[f])),)


def pair_of(fields: Sequence[str], wanted: bool | None) -> bool:
    """Whether the fields are a pair of texts.

    Raises:
        PrepalError: a pair is wanted of other than two fields.
    """
    if wanted and len(fields) != 2:
        raise PrepalError(
            f"A pair has two fields, but there are {len(fields)} ({named(fields)}): name two with --text."
        )
    return tuple(fields) in _PAIRS if wanted is None else wanted


def text_of(data: Mapping[str, Any], fields: Sequence[str], pair: bool) -> Text | None:
    """The text of a task's data: its fields joined by a line feed, or a pair; None where there is none."""
    parts = [readable(str(data[field])).strip() if data.get(field) is not None else "" for field in fields]
    if pair:
        return (parts[0], parts[1]) if parts[0] and parts[1] else None
    return "\n".join(part for part in parts if part) or None


def _is_prose(values: Sequence[str]) -> bool:
    readable = sum(" " in v.strip() or any(ord(c) > 0x2E80 for c in v) for v in values)
    return sum(map(len, values)) >= _LEAST_CHARS * len(values) and 2 * readable > len(values)
