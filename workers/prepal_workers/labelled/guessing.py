"""Which fields people would read where nobody says it, and what is in them: plain text, HTML or a dialogue."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from prepal import records
from prepal.errors import PrepalError
from prepal.labels.text_fields import TextField
from prepal_workers.labelled.wording import named

# Fields that are two texts to be read together, in this order.
PAIRS = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question", "context"),
    ("question", "answer"),
    ("query", "document"),
)
# Shorter values are codes and names, and ones that hardly differ from task to task say where it comes from.
_LEAST_CHARS, _LEAST_WORDS, _LEAST_DISTINCT = 12, 3, 0.5
# From here on are scripts that part no words.
_NO_SPACES = 0x2E80
_WORDS, _WITHIN_WORD = re.compile(r"[a-z]+"), re.compile(r"(?<=[a-z])(?=[A-Z])")
# What texts are called, and what stands above them.
_TEXTS = frozenset(
    _WORDS.findall(
        "text body content contents message html document article sentence review description abstract post tweet "
        "email transcript dialogue dialog conversation chat messages turns paragraphs utterances"
    )
)
_HEADS = frozenset(_WORDS.findall("title subject headline heading summary question"))
# What stands beside texts and is none, even where it is prose.
_BESIDE = frozenset(
    _WORDS.findall(
        "note notes remark remarks comment comments author authors name names user username agent customer owner "
        "sender from to cc bcc address date time datetime timestamp at on by created updated modified source url link "
        "file filename path id uuid meta metadata options spans tokens entities config annotator reviewer language "
        "lang prediction predictions vectors suggestion suggestions status"
    )
)
_MARKUP = re.compile(r"</[a-z][\w:-]*\s*>|<(?:!doctype|!--|br|hr|img|p|div|span|body|html)\b[^>]*>", re.IGNORECASE)
_WHO = ("author", "role", "speaker", "from", "name", "user", "sender")
_SAID = ("text", "content", "phrase", "utterance", "message", "value", "body")
# Of the values that tell what a field is.
_LOOKED_AT = 2000
# Longer ones are not parsed, in vain mostly.
_LONGEST_JSON = 1_000_000
# Deeper than any data; Python follows no further than some hundred levels.
_DEEPEST = 100
# The parts of a name that lead into other fields.
_STEP, _LONGEST_PLACE = re.compile(r"[^.\[\]]+"), 9


def value_at(data: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401
    """What a row has under a name, or within others, as in `mail.body` and `turns[0].text`; None: it has nothing."""
    value: Any = data
    for key in [name] if name in data else _STEP.findall(name):
        value = _unpacked(value, "{")
        if isinstance(value, list):
            value = value[int(key)] if key.isdecimal() and len(key) < _LONGEST_PLACE and int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, Mapping) else None
    return value


def leaves(data: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """What a row has, by names with dots where one field lies in another, also as JSON in a cell."""
    found: dict[str, Any] = {}
    for key, cell in data.items():
        value = _unpacked(cell, "{")
        if isinstance(value, Mapping) and before.count(".") < _DEEPEST:
            found |= leaves(value, f"{before}{key}.")
        else:
            found[before + key] = cell
    return found


def turns(value: object) -> object:
    """The same, but the list that it is where a table holds a dialogue."""
    return _unpacked(value, "[{")


def _unpacked(value: object, start: str) -> object:
    """What is in a cell of a table as JSON that begins so; else the value as it is."""
    if not isinstance(value, str) or not value.startswith(start) or len(value) > _LONGEST_JSON:
        return value
    try:
        return records.loads(value)
    except ValueError:
        return value


def kind_of(rows: Sequence[Mapping[str, Any]], field: str, name: str) -> TextField:
    """What a field holds that somebody wants to be read; `name` is the file's, for messages.

    Raises:
        PrepalError: it is nowhere, or holds no texts.
    """
    values = [value for row in rows if (value := value_at(row, field)) is not None]
    if rows and not values:
        found = named(sorted({path for row in rows for path in leaves(row)})) or "none"
        raise PrepalError(f"No task of {name} has the field {field!r}: there are {found}; name one of these.")
    kind = _kind(values[:_LOOKED_AT], wanted=True)
    if kind is None:
        inner = sorted({path for row in rows for path in leaves(row) if path.startswith(f"{field}.")})
        remedy = f"name one within it, such as {named(inner)}" if inner else "name another one with --text"
        raise PrepalError(f"The field {field!r} of {name} holds lists or objects that are no texts: {remedy}.")
    return kind


def has_markup(rows: Sequence[Mapping[str, Any]], field: str) -> bool:
    """Whether some of what lies in a field is HTML."""
    values = (value_at(row, field) for row in rows)
    return any(isinstance(value, str) and _MARKUP.search(value) for value in values)


def guessed(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[str, ...]:
    """The fields that people would read: a known pair, else prose, best of all where its name says that it is a text.

    Raises:
        PrepalError: no field holds a text.
    """
    values = _readable_fields([leaves(row) for row in rows])
    for pair in PAIRS:
        if set(pair) <= values.keys():
            return pair
    prose = [field for field, found in values.items() if is_prose(found)]
    texts = [field for field in prose if _called(field, _TEXTS)]
    if texts:
        return tuple(field for field in prose if _called(field, _TEXTS | _HEADS))
    most = max((_different(found) for found in values.values()), default=0)
    varied = [field for field in prose if _different(values[field]) >= _LEAST_DISTINCT * most]
    others = [field for field in varied if not _called(field, _BESIDE)]
    if others:
        return tuple(others)
    if not values:
        raise PrepalError(f"{name} has no field with a text: name it with --text.")
    if "text" in values:
        return ("text",)
    likely = varied or [field for field in values if not _called(field, _BESIDE)] or list(values)
    return (max(likely, key=lambda field: sum(map(len, values[field])) / len(values[field])),)


def _readable_fields(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Strings and dialogues by field, in the order of names; of fields with the same strings, the first."""
    found: dict[str, list[Any]] = {}
    for field in sorted({field for row in rows for field in row}):
        if any(part.startswith("_") for part in field.split(".")):
            continue
        values = [value for row in rows if (value := turns(row.get(field)))]
        strings = [value for value in values if isinstance(value, str) and value.strip()]
        kind = _kind(values[:_LOOKED_AT], wanted=_called(field, _TEXTS))
        if kind is not None and kind.tag == "Paragraphs":
            found[field] = values
        elif strings and strings not in found.values():
            found[field] = strings
    return found


def _different(values: Sequence[Any]) -> int:
    strings = [value for value in values if isinstance(value, str)]
    return len(values) - len(strings) + len(set(strings))


def _kind(values: Sequence[object], *, wanted: bool) -> TextField | None:
    """How a field is read; None where it holds neither texts nor dialogues, or not surely and is not `wanted`."""
    lists = [value for one in values if isinstance(value := turns(one), list) and value]
    if lists:
        return _dialogue([turn for value in lists for turn in value][:_LOOKED_AT], wanted=wanted)
    if any(isinstance(_unpacked(value, "{"), Mapping) for value in values):
        return None
    written = [value for value in values if isinstance(value, str) and value.strip()]
    marked = sum(bool(_MARKUP.search(value)) for value in written)
    return TextField("HyperText" if 2 * marked > len(written) else "Text", "")


def _dialogue(said: Sequence[object], *, wanted: bool) -> TextField | None:
    """Turns with who said it and what; None where nothing tells which is which."""
    if not all(isinstance(turn, Mapping) for turn in said):
        return None

    def key(names: Sequence[str]) -> str | None:
        """The one of these that most turns have."""
        has = {n: sum(isinstance(t, Mapping) and isinstance(t.get(n), str) for t in said) for n in names}
        return next((n for n in names if 2 * has[n] > len(said)), None)

    who = key(_WHO)
    words = key([name for name in _SAID if name != who])
    return TextField("Paragraphs", "", words, who or "author") if words and (who or wanted) else None


def _called(field: str, names: frozenset[str]) -> bool:
    """Whether its name ends so: created_at, ticketBody, mail.text."""
    words = _WORDS.findall(_WITHIN_WORD.sub("_", field).lower())
    return bool(words) and words[-1] in names


def is_called_a_text(field: str) -> bool:
    """Whether its name says that it is one."""
    return _called(field, _TEXTS)


def is_prose(values: Sequence[Any]) -> bool:
    """Whether people write so: most have several words, and are of letters rather than digits."""
    if not values:
        return False
    if any(isinstance(value, list) for value in values):
        return True
    spoken = sum(any(ord(c) > _NO_SPACES for c in v) or len(v.split()) >= _LEAST_WORDS for v in values)
    letters = sum(sum(map(str.isalpha, value)) for value in values)
    chars = sum(map(len, values))
    return chars >= _LEAST_CHARS * len(values) and 2 * spoken > len(values) and 2 * letters > chars
