"""Which fields of a task are text, and what they say together."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from typing import Any
from xml.etree.ElementTree import Element

from prepal.errors import shortened
from prepal.labels.html_text import visible_text

DIALOGUE_TAGS = ("Paragraphs", "Chat")
TEXT_TAGS = ("Text", "HyperText", *DIALOGUE_TAGS)
# What stands above texts, and tells annotators of which thing they speak.
HEADING_TAGS = ("Header", "Markdown")
# Stands between the fields of a text that an encoder reads: what else has it is not prose.
FIELD_MARK = "\x1e"
# Of a task: an encoder reads 8,192 tokens at most, or 32 windows of mostly 512, and prose has four characters a token.
MOST_CHARS = 100_000
# Going through more HTML, or more of what is said by turns, could hold the learner up for more than 50 ms.
_MOST_MARKUP, _MOST_TURNS = 200_000, 20_000
# Deeper than any data that people import, and less deep than Python can write.
_DEEPEST = 50
# A message names so many fields of a task, of so many that are looked at.
_MOST_NAMED, _MOST_LOOKED_AT = 3, 1000
# As Label Studio's interface reads a variable: in `$Review Text` it is `Review`.
_VARIABLE = re.compile(r"\$([A-Za-z0-9_\[\].{}]+)")
_STEP, _IS_PLACE = re.compile(r"[^.\[\]]+"), re.compile(r"\d{1,9}")
_IS_PATH = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[[^.\[\]]+\])*")
# Where a text is kept: in a bucket, on the web, or in Label Studio, which hands it out itself.
_STORES = ("[a-z][a-z0-9+._-]*://", r"/tasks/\d+/(?:presign|resolve)/", "/data/(?:upload|local-files)/")
_ADDRESS = re.compile(rf"(?:{'|'.join(_STORES)})\S*", re.IGNORECASE)


IS_ADDRESS = "the text is an address"
"""Why such a text is not read."""


class UnembeddableError(Exception):
    """A task without a text that could be embedded; the message is the reason, without any of the data."""


@dataclass(frozen=True)
class TextField:
    """One tag: its kind, the template of its value (`$title`), and where Paragraphs and Chat keep their words."""

    tag: str
    template: str
    text_key: str = "text"
    author_key: str = "author"

    @classmethod
    def of(cls, element: Element) -> "TextField":
        """The field of an element, whose attributes are in lower case."""
        value = element.get("value") or ""
        if element.tag == "Chat":
            return cls(element.tag, value, "content", "role")
        if element.tag in HEADING_TAGS:
            return cls(element.tag, (element.text or "").strip() or value)
        return cls(element.tag, value, element.get("textkey") or "text", element.get("namekey") or "author")

    @property
    def variables(self) -> list[str]:
        """What it reads of a task, without the dollar signs."""
        return _VARIABLE.findall(self.template)

    @property
    def is_heading(self) -> bool:
        """Whether it is no text by itself."""
        return self.tag in HEADING_TAGS


def has_variable(value: str) -> bool:
    """Whether Label Studio puts something of each task into a value."""
    return bool(_VARIABLE.search(value))


def why_unread(element: Element) -> str:
    """Why a text's element, whose attributes are in lower case, cannot be read; empty where it can."""
    value = element.get("value") or ""
    for name, harmless in (("valueType", ("", "text", "json")), ("resolver", ("",)), ("encoding", ("", "none"))):
        said = element.get(name.lower()) or ""
        if said not in harmless:
            return f"has the {name} {shortened(repr(said))}, so that tasks do not hold the text itself"
    if len(element) or (element.text or "").strip():
        return "has content of its own, which Label Studio shows in place of a value"
    if re.search(r"\$\S", value) and not has_variable(value):
        return (
            f"reads {shortened(repr(value))}, and Label Studio reads no column until it is renamed to letters from a "
            "to z, digits and _"
        )
    return ""


def parts_of(fields: Sequence[TextField], data: object) -> list[str]:
    """What each field of a task's data says, as far as it says something.

    Raises:
        UnembeddableError: none says anything; the message is the reason.
    """
    if not isinstance(data, Mapping):
        raise UnembeddableError("the task's data is not an object")
    parts, reason, texts = [], "empty text", []
    most_markup = _MOST_MARKUP // max(1, sum(len(field.variables) for field in fields))
    for field in fields:
        try:
            if said := _said(field, data, most_markup).replace(FIELD_MARK, " "):
                parts.append(said)
                texts += [] if field.is_heading else [said]
        except UnembeddableError as error:
            reason = reason if field.is_heading else str(error)
    if not texts:
        raise UnembeddableError(reason)
    if all(map(_ADDRESS.fullmatch, texts)):
        raise UnembeddableError(IS_ADDRESS)
    share = MOST_CHARS if sum(map(len, parts)) <= MOST_CHARS else MOST_CHARS // len(parts)
    return [part[:share] for part in parts]


def misfits(fields: Sequence[TextField], tasks: Sequence[object]) -> list[str]:
    """Sentences on how a project's first tasks do not fit the fields: most have no text, or all lack a variable."""
    reasons: Counter[str] = Counter()
    for data in tasks:
        try:
            parts_of(fields, data)
        except UnembeddableError as reason:
            reasons[str(reason)] += 1
    if (without := reasons.total()) > len(tasks) / 2:
        often = reasons.most_common(1)[0][0]
        return [f"{without} of the first {len(tasks)} tasks have no text to read, most of them because {often}."]
    unknown = [[_why_unknown(name, data) for data in tasks] for field in fields for name in field.variables]
    return [f"This is so in all of the first {len(tasks)} tasks: {why[0]}." for why in unknown if why and all(why)]


def _why_unknown(name: str, data: object) -> str:
    """Why a variable is none of a task's fields; empty where it is one."""
    try:
        value_of(name, data if isinstance(data, Mapping) else {})
    except UnembeddableError as reason:
        return str(reason)
    return ""


def _said(field: TextField, data: Mapping[str, Any], most_markup: int) -> str:
    parts = []
    for name in field.variables:
        value = value_of(name, data)
        if value is None:
            raise UnembeddableError(f"the field {shortened(repr(name))} is null")
        parts.append(_words(field, value, most_markup))
    return " ".join(part for part in parts if part)[:MOST_CHARS].strip()


def value_of(name: str, data: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """The value of a variable: a field of this very name, or one inside of others, as in `turns[0].text`.

    Raises:
        UnembeddableError: there is no such field; the message is the reason.
    """
    value: Any = data
    for key in _STEP.findall(name) if name not in data and _IS_PATH.fullmatch(name) else [name]:
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and _IS_PLACE.fullmatch(key) and int(key) < len(value):
            value = value[int(key)]
        else:
            raise UnembeddableError(
                f"the config reads ${shortened(name)}, the task has {_fields_named(name, data)}: rename one of them"
            )
    return value


def _fields_named(name: str, data: Mapping[str, Any]) -> str:
    """The fields of a task for a message, those first that are called nearly so."""
    word = (_STEP.findall(name) or [name])[0].lower()
    looked_at = map(str, islice(data, _MOST_LOOKED_AT))
    found = nsmallest(_MOST_NAMED, looked_at, key=lambda field: (word not in field.lower(), field))
    more = f" and {len(data) - _MOST_NAMED} more" if len(data) > _MOST_NAMED else ""
    return ", ".join(shortened(repr(field)) for field in found) + more or "no fields"


def _words(field: TextField, value: object, most_markup: int) -> str:
    if field.tag in DIALOGUE_TAGS and isinstance(value, list):
        return _turns(field, value)
    written = _written(value)
    return visible_text(written, most_markup, MOST_CHARS) if field.tag == "HyperText" else written.strip()[:MOST_CHARS]


def _turns(field: TextField, turns: Sequence[object]) -> str:
    lines, room = [], MOST_CHARS
    for turn in turns[:_MOST_TURNS]:
        if isinstance(turn, Mapping) and room > 0:
            author, words = turn.get(field.author_key), turn.get(field.text_key)
            said = "" if words is None else _written(_without_parts(words))
            lines.append((f"{_written(author)}: {said}".rstrip() if author else said)[:room])
            room -= len(lines[-1])
    return "\n".join(line for line in lines if line).strip()


def _without_parts(words: object) -> object:
    """What a turn says, also where it has parts, as turns of language models have: `[{"type": "text", "text": …}]`."""
    if not isinstance(words, list) or not words or not all(isinstance(part, Mapping) for part in words):
        return words
    return " ".join(part["text"] for part in words if isinstance(part.get("text"), str)) or words


def _written(value: object) -> str:
    """A text as it is, and anything else as Python writes it, unless that is more than anybody would read."""
    if isinstance(value, str):
        return value
    size, level = 0, [value]
    for _ in range(_DEEPEST):
        size += sum(len(one) if isinstance(one, str | list | dict) else 1 for one in level)
        if size > MOST_CHARS:
            break
        level = [part for one in level for part in _parts_of(one)]
        if not level:
            # Python writes no number of thousands of digits.
            with suppress(ValueError):
                return str(value)
            break
    raise UnembeddableError("a field holds more than a text")


def _parts_of(value: object) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []
