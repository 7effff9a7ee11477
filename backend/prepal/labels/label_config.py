"""Which fields of a task are text, which choices there are, and whether one or several may be chosen."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from unicodedata import normalize
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.labels.html_text import visible_text

_TEXT_TAGS = ("Text", "HyperText", "Paragraphs")
_CONTROL_TAGS = (
    *("Labels", "HyperTextLabels", "ParagraphLabels", "Taxonomy", "TextArea", "Rating", "Number", "DateTime"),
    *("Pairwise", "Ranker", "Relations", "RectangleLabels", "PolygonLabels", "KeyPointLabels", "BrushLabels"),
    *("EllipseLabels", "TimeSeriesLabels", "VideoRectangle"),
)
_SERVED = "PRepAL serves one Choices tag, single or multiple, over Text, HyperText and Paragraphs"
# Stands between the fields of a text that an encoder reads: what else has it is not prose.
FIELD_MARK = "\x1e"
# Of a task: an encoder reads 8,192 tokens at most, or 32 windows of mostly 512, and prose has four characters a token.
MOST_CHARS = 100_000
# Going through more HTML, or more of what is said by turns, could hold the learner up for more than 50 ms.
_MOST_MARKUP, _MOST_TURNS = 200_000, 20_000
# Deeper than any data that people import, and less deep than Python can write.
_DEEPEST = 50
# Of a label config; this much takes a tenth of a second.
_MOST_CONFIG = 1_000_000
_MOST_QUOTED = 100
# Python takes the square of a name's length to tell its Unicode form.
_MOST_COMPARED = 200
_VARIABLE = re.compile(r"\$([A-Za-z_][\w.\-]*)")


class UnembeddableError(Exception):
    """A task without a text that could be embedded; the message is the reason, without any of the data."""


@dataclass(frozen=True)
class TextField:
    """One object tag: its kind, the template of its value (`$title`), and where Paragraphs keep their words."""

    tag: str
    template: str
    text_key: str = "text"
    author_key: str = "author"


@dataclass(frozen=True)
class LabelConfig:
    """What is learnt in a project: `choices` of the tag `from_name`, read from `fields`."""

    from_name: str
    to_name: str
    choices: tuple[str, ...]
    words: tuple[str, ...]
    """What the config says of each choice: its value, alias and hint."""
    multiple: bool
    fields: tuple[TextField, ...]
    ignored: tuple[str, ...]

    @property
    def text_version(self) -> str:
        """Changes exactly when the text of a task may change."""
        return hashlib.blake2b(repr(self.fields).encode(), digest_size=8).hexdigest()

    @cached_property
    def meaning(self) -> str:
        """Changes exactly when the number of a choice comes to mean another choice."""
        meant = repr((self.from_name, self.multiple, self.choices))
        return hashlib.blake2b(meant.encode("utf-8", "replace"), digest_size=8).hexdigest()

    def understands(self, meaning: str, choices: int) -> bool:
        """Whether choices' numbers mean these choices: by their `meaning`; if none was kept, by how many there are."""
        return meaning == self.meaning if meaning else choices == len(self.choices)

    def place(self, choice: str) -> int | None:
        """Index into `choices` of a choice that an annotation names, or None.

        As Label Studio does, names are compared as they are written, with their white space. Where no choice is written
        so, one alone that is the same in another Unicode form (é as one character or as two) is meant.
        """
        written, forms = self._places
        if choice in written or len(choice) > _MOST_COMPARED:
            return written.get(choice)
        return forms.get(normalize("NFC", choice))

    @cached_property
    def _places(self) -> tuple[dict[str, int], dict[str, int]]:
        """Indices into `choices` by name, and by its Unicode form where only one choice has it."""
        written = {choice: place for place, choice in enumerate(self.choices)}
        forms: dict[str, list[int]] = {}
        for choice, place in written.items():
            if len(choice) <= _MOST_COMPARED:
                forms.setdefault(normalize("NFC", choice), []).append(place)
        return written, {form: places[0] for form, places in forms.items() if len(places) == 1}

    def text(self, data: object) -> str:
        """The text of a task's data: its text fields, tags stripped, joined by a line feed.

        Raises:
            UnembeddableError: no field has any text; the message is the reason.
        """
        return "\n".join(self._parts(data))

    def text_for_encoder(self, data: object) -> str:
        """The text of a task's data with FIELD_MARK between fields, which an encoder replaces by its own separator.

        Raises:
            UnembeddableError: no field has any text; the message is the reason.
        """
        return FIELD_MARK.join(self._parts(data))

    def _parts(self, data: object) -> list[str]:
        if not isinstance(data, Mapping):
            raise UnembeddableError("the task's data is not an object")
        parts, reason = [], "empty text"
        most_markup = _MOST_MARKUP // max(1, sum(len(_VARIABLE.findall(field.template)) for field in self.fields))
        for field in self.fields:
            try:
                parts.append(_field_text(field, data, most_markup).replace(FIELD_MARK, " "))
            except UnembeddableError as error:
                reason = str(error)
        parts = [part for part in parts if part]
        if not parts:
            raise UnembeddableError(reason)
        share = MOST_CHARS if sum(map(len, parts)) <= MOST_CHARS else MOST_CHARS // len(parts)
        return [part[:share] for part in parts]

    def names(self, row: NDArray[np.bool_]) -> list[str]:
        """The choices of a row `(k,)`."""
        return [self.choices[place] for place in np.flatnonzero(row)]

    def result(self, chosen: Sequence[int], confidence: float | None) -> list[dict[str, Any]]:
        """Label Studio's `result` for the chosen indices into `choices`; empty when nothing is predicted."""
        if confidence is None or (not chosen and not self.multiple):
            return []
        return [
            {
                "from_name": self.from_name,
                "to_name": self.to_name,
                "type": "choices",
                "score": round(confidence, 4),
                "value": {"choices": [self.choices[index] for index in chosen]},
            }
        ]


def parse(xml: str) -> LabelConfig:
    """Read a label config.

    Raises:
        PrepalError: nothing in it can be served; one sentence that says which tags can.
    """
    if len(xml) > _MOST_CONFIG:
        raise PrepalError(f"The label config has {len(xml):,} characters: shorten it to {_MOST_CONFIG:,} at most.")
    try:
        root = fromstring(xml.strip())
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise PrepalError(f"The label config is not XML that can be read ({_shortened(error)}): {_SERVED}.") from error
    everything = list(root.iter())
    controls = [element for element in everything if element.tag == "Choices"]
    others = [element.tag for element in everything if element.tag in _CONTROL_TAGS]
    if not controls:
        lack = f"has {', '.join(sorted(set(others)))}, but no Choices" if others else "has no Choices"
        raise PrepalError(f"The label config {lack}: {_SERVED}.")
    served = [control for control in controls if not _why_not(control)]
    if not served:
        raise PrepalError(f"The label config's Choices {_why_not(controls[0])}: {_SERVED}.")
    control = served[0]
    fields = tuple(_text_fields(everything))
    if not fields:
        raise PrepalError(f'The label config has no text field with a value such as "$text": {_SERVED}.')
    targets = {e.get("name") for e in everything if e.tag in _TEXT_TAGS}
    to_name = (control.get("toName") or "").split(",")[0].strip()
    if to_name not in targets:
        raise PrepalError(
            f"The label config's Choices point to {_shortened(repr(to_name))}, which is not a text: {_SERVED}."
        )
    words: dict[str, str] = {}
    for choice in control.iter("Choice"):
        said = dict.fromkeys(choice.get(name, "").strip() for name in ("value", "alias", "hint"))
        words.setdefault(choice.get("alias") or choice.get("value") or "", " ".join(filter(None, said)))
    choices = tuple(words)
    if len(choices) < 2:
        raise PrepalError(f"The label config's Choices have {len(choices)} choice, and two are needed: {_SERVED}.")
    return LabelConfig(
        from_name=control.get("name") or "",
        to_name=to_name,
        choices=choices,
        words=tuple(words.values()),
        multiple=control.get("choice") == "multiple",
        fields=fields,
        ignored=tuple(dict.fromkeys([*(e.get("name") or e.tag for e in controls if e is not control), *others])),
    )


def parse_or_none(xml: str) -> LabelConfig | None:
    """Read a label config; None where nothing in it can be served."""
    try:
        return parse(xml)
    except PrepalError:
        return None


def _why_not(control: Element) -> str:
    if control.get("perRegion") == "true" or control.get("perItem") == "true":
        return "are per region or per item"
    if (control.get("value") or "").startswith("$"):
        return "take their choices from the task's data"
    return ""


def _text_fields(elements: Sequence[Element]) -> list[TextField]:
    return [
        TextField(
            tag=element.tag,
            template=element.get("value") or "",
            text_key=element.get("textKey") or "text",
            author_key=element.get("nameKey") or "author",
        )
        for element in elements
        if element.tag in _TEXT_TAGS
        and element.get("valueType") != "url"
        and _VARIABLE.search(element.get("value") or "")
    ]


def _field_text(field: TextField, data: Mapping[str, Any], most_markup: int) -> str:
    parts = []
    for name in _VARIABLE.findall(field.template):
        value: Any = data
        for key in [name] if name in data else name.split("."):
            if not isinstance(value, Mapping) or key not in value:
                raise UnembeddableError(f"the task has no field {_shortened(repr(name))}")
            value = value[key]
        if value is None:
            raise UnembeddableError(f"the field {_shortened(repr(name))} is null")
        parts.append(_words(field, value, most_markup))
    return " ".join(part for part in parts if part)[:MOST_CHARS].strip()


def _words(field: TextField, value: object, most_markup: int) -> str:
    if field.tag == "Paragraphs" and isinstance(value, list):
        return _turns(field, value)
    written = _written(value)
    return visible_text(written, most_markup, MOST_CHARS) if field.tag == "HyperText" else written.strip()[:MOST_CHARS]


def _turns(field: TextField, turns: Sequence[object]) -> str:
    lines, room = [], MOST_CHARS
    for turn in turns[:_MOST_TURNS]:
        if isinstance(turn, Mapping) and room > 0:
            author, words = turn.get(field.author_key), turn.get(field.text_key)
            said = "" if words is None and not author else _written(words)
            lines.append((f"{_written(author)}: {said}" if author else said)[:room])
            room -= len(lines[-1])
    return "\n".join(line for line in lines if line).strip()


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


def _shortened(text: object) -> str:
    """What a message can quote of something that others wrote."""
    said = str(text)
    return said if len(said) <= _MOST_QUOTED else f"{said[:_MOST_QUOTED]}…"
