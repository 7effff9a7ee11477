"""The one reader of a row's text: which fields hold it, and what they say together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prepal.errors import PrepalError
from prepal.labels.label_config import LabelConfig
from prepal.labels.text_fields import UnembeddableError
from prepal.records import readable
from prepal_workers.labelled.wording import named

Text = str | tuple[str, str]
"""A text, or a pair of texts."""

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


@dataclass(frozen=True)
class TextFields:
    """The fields of a row, or of a task's data, that are its text.

    Attributes:
        names: the fields' names.
        pair: whether the two of them are a pair of texts.
        config: the project's label config; where there is one, the text is what it shows of a task.
    """

    names: tuple[str, ...]
    pair: bool = False
    config: LabelConfig | None = None

    @classmethod
    def find(
        cls,
        rows: Sequence[Mapping[str, Any]],
        name: str,
        wanted: Sequence[str] = (),
        pair: bool | None = None,
        config: LabelConfig | None = None,
    ) -> "TextFields":
        """The fields that are wanted, else those that the config shows, else those that people would read.

        Args:
            rows: the tasks' data, or a file's rows.
            name: the file's name, for messages.
            wanted: names of fields.
            pair: whether two fields are a pair of texts; None: if they have the names of one.
            config: the project's label config.

        Raises:
            PrepalError: no field holds a string, or a pair is wanted of other than two fields.
        """
        names = tuple(wanted) or (() if config else _guessed(rows, name))
        if pair and len(names) != 2:
            raise PrepalError(
                f"A pair has two fields, but there are {len(names)} ({named(names)}): name two with --text."
            )
        if config and not wanted:
            return cls(tuple(f"${name}" for field in config.fields for name in field.variables), config=config)
        return cls(names, names in _PAIRS if pair is None else pair)

    def text(self, data: Mapping[str, Any]) -> Text | None:
        """The text of a row: its fields joined by a line feed, or a pair; None where there is none."""
        if self.config:
            try:
                return readable(self.config.text(data))
            except UnembeddableError:
                return None
        if self.pair:
            first, second = (joined(data, [name]) for name in self.names)
            return (first, second) if first and second else None
        return joined(data, self.names) or None


def joined(data: Mapping[str, Any], names: Sequence[str]) -> str:
    """What fields of a row say, joined by a line feed; empty where they say nothing."""
    parts = (readable(str(data[name])).strip() for name in names if data.get(name) is not None)
    return "\n".join(filter(None, parts))


def _guessed(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[str, ...]:
    """The fields that people would read: a known pair, else all prose in the order of names, else `text`."""
    values = {
        field: found
        for field in sorted({field for data in rows for field in data})
        if (found := [v for data in rows if isinstance(v := data.get(field), str) and v.strip()])
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


def _is_prose(values: Sequence[str]) -> bool:
    readable = sum(" " in v.strip() or any(ord(c) > 0x2E80 for c in v) for v in values)
    return sum(map(len, values)) >= _LEAST_CHARS * len(values) and 2 * readable > len(values)
