"""Which fields of a task are text, which choices there are, and whether one or several may be chosen."""

import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from prepal.errors import PrepalError

_TEXT_TAGS = ("Text", "HyperText", "Paragraphs")
_CONTROL_TAGS = (
    *("Labels", "HyperTextLabels", "ParagraphLabels", "Taxonomy", "TextArea", "Rating", "Number", "DateTime"),
    *("Pairwise", "Ranker", "Relations", "RectangleLabels", "PolygonLabels", "KeyPointLabels", "BrushLabels"),
    *("EllipseLabels", "TimeSeriesLabels", "VideoRectangle"),
)
_SERVED = "PRepAL serves one Choices tag, single or multiple, over Text, HyperText and Paragraphs"
# Stands between the fields of a text that an encoder reads: what else has it is not prose.
FIELD_MARK = "\x1e"
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

    def text(self, data: object) -> str:
        """The text of a task's data: its text fields, tags stripped, joined by a line feed.

        Raises:
            UnembeddableError: no field has any text; the message is the reason.
        """
        return "\n".join(self._parts(data))

    def text_for_encoder(self, data: object) -> str:
        """The same with FIELD_MARK between fields, which an encoder replaces by its own separator.

        Raises:
            UnembeddableError: as `text` does.
        """
        return FIELD_MARK.join(self._parts(data))

    def _parts(self, data: object) -> list[str]:
        if not isinstance(data, Mapping):
            raise UnembeddableError("the task's data is not an object")
        parts, reason = [], "empty text"
        for field in self.fields:
            try:
                parts.append(_field_text(field, data).replace(FIELD_MARK, " "))
            except UnembeddableError as error:
                reason = str(error)
        parts = [part for part in parts if part]
        if not parts:
            raise UnembeddableError(reason)
        return parts

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
    try:
        root = fromstring(xml.strip())
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise PrepalError(f"The label config is not XML that can be read ({error}): {_SERVED}.") from error
    everything = list(root.iter())
    controls = [element for element in everything if element.tag == "Choices"]
    others = [element.tag for element in everything if element.tag in _CONTROL_TAGS]
    if not controls:
        found = f"has {', '.join(sorted(set(others)))}, but no Choices" if others else "has no Choices"
        raise PrepalError(f"The label config {found}: {_SERVED}.")
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
        raise PrepalError(f"The label config's Choices point to {to_name!r}, which is not a text: {_SERVED}.")
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
        ignored=tuple(e.get("name") or e.tag for e in controls if e is not control) + tuple(others),
    )


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


def _field_text(field: TextField, data: Mapping[str, Any]) -> str:
    parts = []
    for name in _VARIABLE.findall(field.template):
        value: Any = data
        for key in [name] if name in data else name.split("."):
            if not isinstance(value, Mapping) or key not in value:
                raise UnembeddableError(f"the task has no field {name!r}")
            value = value[key]
        if value is None:
            raise UnembeddableError(f"the field {name!r} is null")
        parts.append(_words(field, value))
    return " ".join(part for part in parts if part).strip()


def _words(field: TextField, value: Any) -> str:  # noqa: ANN401
    if field.tag == "Paragraphs" and isinstance(value, list):
        lines = []
        for item in value:
            if isinstance(item, Mapping):
                author, words = item.get(field.author_key), item.get(field.text_key)
                lines.append(f"{author}: {words}" if author else f"{words if words is not None else ''}")
        return "\n".join(line for line in lines if line).strip()
    text = value if isinstance(value, str) else str(value)
    return _strip_tags(text) if field.tag == "HyperText" else text.strip()


class _Stripper(HTMLParser):
    """Collects what a reader of the page sees."""

    _UNSEEN = ("script", "style", "head", "title", "template")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._unseen += tag in self._UNSEEN

    def handle_endtag(self, tag: str) -> None:
        self._unseen = max(0, self._unseen - (tag in self._UNSEEN))

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.words.append(data)


def _strip_tags(markup: str) -> str:
    stripper = _Stripper()
    stripper.feed(markup)
    stripper.close()
    return " ".join(html.unescape(" ".join(stripper.words)).split())
