"""What is learnt in a project: from which texts, which choices there are, and whether one or several may be chosen."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from unicodedata import normalize
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from numpy.typing import NDArray

from prepal.errors import PrepalError, shortened
from prepal.labels.choices import CHOICE_TAGS, choices_of, is_multiple, is_tree, why_unknown
from prepal.labels.paths import written
from prepal.labels.text_fields import (
    FIELD_MARK,
    HEADING_TAGS,
    TEXT_TAGS,
    TextField,
    has_variable,
    parts_of,
    why_unread,
)

_CONTROL_TAGS = (
    *("Labels", "HyperTextLabels", "ParagraphLabels", "TextArea", "Rating", "Number", "DateTime"),
    *("Pairwise", "Ranker", "Relations", "RectangleLabels", "PolygonLabels", "KeyPointLabels", "BrushLabels"),
    *("EllipseLabels", "TimeSeriesLabels", "VideoRectangle"),
)
# What else has a value that is nothing of a text.
_OTHER_TAGS = (*TEXT_TAGS, *CHOICE_TAGS, *_CONTROL_TAGS, "Choice", "Label", "Shortcut", "Style", "View")
_SERVED = "PRepAL serves one Choices or Taxonomy, single or multiple, over Text, HyperText, Paragraphs and Chat"
# Of a label config; this much takes a tenth of a second.
_MOST_CONFIG = 1_000_000
# Python takes the square of a name's length to tell its Unicode form.
_MOST_COMPARED = 200


@dataclass(frozen=True)
class LabelConfig:
    """What is learnt in a project: `choices` of the tag `from_name`, read from `fields`."""

    from_name: str
    to_name: str
    choices: tuple[str, ...]
    """One name each; that of a choice in a tree is its path's, as `paths.written` has it."""
    words: tuple[str, ...]
    """What the config says of each choice: its value, alias and hint, and what it shows as HTML."""
    multiple: bool
    fields: tuple[TextField, ...]
    ignored: tuple[str, ...]
    paths: tuple[tuple[str, ...], ...] = ()
    """The choices as paths, where they are a tree."""
    kind: str = "choices"
    """What Label Studio calls its results: `choices` or `taxonomy`."""
    conditional: bool = False
    """Whether annotators are asked only when something else is chosen."""
    notes: tuple[str, ...] = ()
    """Sentences on what of the config is not learnt, or not read."""

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
        known, forms = self._places
        if choice in known or len(choice) > _MOST_COMPARED:
            return known.get(choice)
        return forms.get(normalize("NFC", choice))

    @cached_property
    def _places(self) -> tuple[dict[str, int], dict[str, int]]:
        """Indices into `choices` by name, and by its Unicode form where only one choice has it."""
        known = {choice: place for place, choice in enumerate(self.choices)}
        forms: dict[str, list[int]] = {}
        for choice, place in known.items():
            if len(choice) <= _MOST_COMPARED:
                forms.setdefault(normalize("NFC", choice), []).append(place)
        return known, {form: places[0] for form, places in forms.items() if len(places) == 1}

    def text(self, data: object) -> str:
        """The text of a task's data: its text fields, tags stripped, joined by a line feed.

        Raises:
            UnembeddableError: no field has any text; the message is the reason.
        """
        return "\n".join(parts_of(self.fields, data))

    def text_for_encoder(self, data: object) -> str:
        """The text of a task's data with FIELD_MARK between fields, which an encoder replaces by its own separator.

        Raises:
            UnembeddableError: no field has any text; the message is the reason.
        """
        return FIELD_MARK.join(parts_of(self.fields, data))

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
                "type": self.kind,
                "score": round(confidence, 4),
                "value": self._value(chosen),
            }
        ]

    def _value(self, chosen: Sequence[int]) -> dict[str, Any]:
        """As Label Studio writes what was chosen: names, or, in a tree, paths."""
        if not self.paths:
            return {self.kind: [self.choices[index] for index in chosen]}
        paths = [list(self.paths[index]) for index in chosen]
        if self.kind == "taxonomy":
            return {self.kind: paths}
        # Label Studio 1.23 refuses predictions with paths of Choices, which its interface needs to mark them; where a
        # value holds another one under the control's name, it looks at that one alone.
        return {self.kind: paths, self.from_name: {self.kind: [path[-1] for path in paths]}}


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
        raise PrepalError(f"The label config is not XML that can be read ({shortened(error)}): {_SERVED}.") from error
    return _Config(root).read()


def parse_or_none(xml: str) -> LabelConfig | None:
    """Read a label config; None where nothing in it can be served."""
    try:
        return parse(xml)
    except PrepalError:
        return None


class _Config:
    """The elements of a label config, their attributes in lower case, as Label Studio's interface reads them."""

    def __init__(self, root: Element) -> None:
        self._all = list(root.iter())
        for element in self._all:
            element.attrib = {name.lower(): value for name, value in element.attrib.items()}
        self._parents = {child: element for element in self._all for child in element}
        self._texts = {element.get("name"): element for element in self._all if element.tag in TEXT_TAGS}
        self._has_text = any(TextField.of(text).variables or why_unread(text) for text in self._texts.values())
        self._repeated = self._within("Repeater")
        self._repeats = any(element.tag in (*TEXT_TAGS, *CHOICE_TAGS) for element in self._repeated)

    def read(self) -> LabelConfig:
        """What is learnt.

        Raises:
            PrepalError: nothing in it can be served.
        """
        inner = self._within(*CHOICE_TAGS)
        controls = [element for element in self._all if element.tag in CHOICE_TAGS and element not in inner]
        others = list(dict.fromkeys(element.tag for element in self._all if element.tag in _CONTROL_TAGS))
        if not controls:
            lack = f"has {', '.join(sorted(others))}, but no Choices" if others else "has no Choices"
            raise PrepalError(f"The label config {lack}: {_SERVED}.")
        reasons = {control: self._why_not(control) for control in controls}
        served = [control for control in controls if not reasons[control]]
        if not served:
            raise PrepalError(f"{_named(controls[0])} cannot be learnt, as {reasons[controls[0]]}: {_SERVED}.")
        control = served[0]
        found, tree = choices_of(control), is_tree(control)
        names = [element.get("name") or element.tag for element in controls if element is not control]
        ignored = tuple(dict.fromkeys([*names, *others]))
        texts, unread = self._texts_of(control, served[1:])
        only = f"Only {control.get('name')!r} is learnt; not {', '.join(map(repr, ignored))}."
        front = " Move another one to the front of the label config to have that learnt." if served[1:] else ""
        return LabelConfig(
            from_name=control.get("name") or "",
            to_name=_targets(control)[0],
            choices=tuple(map(written, found)) if tree else tuple(path[0] for path in found),
            words=tuple(found.values()),
            multiple=is_multiple(control),
            fields=tuple(TextField.of(element) for element in texts),
            ignored=ignored,
            paths=tuple(found) if tree else (),
            kind=control.tag.lower(),
            conditional=self._is_conditional(control),
            notes=(*([f"{only}{front}"] if ignored else []), *unread),
        )

    def _why_not(self, control: Element) -> str:
        """Why a control cannot be learnt; empty where it can."""
        if self._repeats:
            return "a Repeater shows several items of a task, each to be imported as a task of its own"
        if any(control.get(name) == "true" for name in ("perregion", "peritem", "labeling")):
            return "it is per region or per item, and not about the whole text"
        if reason := why_unknown(control):
            return reason
        if not self._has_text:
            return 'there is no text field with a value such as "$text"'
        target = self._texts.get(_targets(control)[0])
        if target is None:
            return f"it points to {shortened(repr(_targets(control)[0]))}, which is not a text"
        if reason := why_unread(target):
            return f"its {target.tag} {shortened(repr(target.get('name')))} {reason}"
        count = len(choices_of(control))
        if count < 2:
            return f"it has {count} choice, and two are needed"
        if control.tag == "Choices" and is_tree(control) and control.get("name") == "choices":
            return "Label Studio takes no predictions for it: with allowNested it needs another name than 'choices'"
        return ""

    def _texts_of(self, control: Element, others: Sequence[Element]) -> tuple[list[Element], list[str]]:
        """What is read for a control, headings first; and a sentence for each text that is not.

        A text that another question is about belongs to that one alone, and so does the heading above it.
        """
        own = set(_targets(control))
        asked = {name: other for other in others for name in _targets(other) if name not in own}
        texts, unread = [], []
        for name, text in self._texts.items():
            if name in asked:
                unread.append(f"{_named(text)} is not read, as {_named(asked[name], '')} is about it.")
            elif reason := why_unread(text):
                unread.append(f"{_named(text)} is not read, as it {reason}.")
            elif TextField.of(text).variables:
                texts.append(text)
        foreign = {self._texts[name] for name in asked if name in self._texts}
        foreign |= {other for other in others if set(_targets(other)) <= asked.keys()}
        unread += [f"{_named(one)} is not read." for one in self._all if self._is_beside(one)]
        said = {name for text in texts for name in TextField.of(text).variables}
        headings = [one for one in self._headings(foreign) if not said.issuperset(TextField.of(one).variables)]
        return [*headings, *texts], unread

    def _is_beside(self, element: Element) -> bool:
        """Whether an element shows something of each task that is neither read nor asked."""
        if element.tag in HEADING_TAGS:
            return element in self._repeated and bool(TextField.of(element).variables)
        return element.tag not in _OTHER_TAGS and has_variable(element.get("value") or "")

    def _headings(self, foreign: Collection[Element]) -> list[Element]:
        """The headings that say something of each task, but for those in or above a `foreign` text or question."""
        found, behind = [], None
        for element in reversed(self._all):
            if element.tag in HEADING_TAGS and TextField.of(element).variables and element not in self._repeated:
                parent = self._parents.get(element)
                heads = parent if parent is not None and parent.tag in CHOICE_TAGS else behind
                found += [] if heads in foreign else [element]
            elif element.tag in (*TEXT_TAGS, *CHOICE_TAGS):
                behind = element
        return found[::-1]

    def _within(self, *tags: str) -> set[Element]:
        """The elements that stand in one of these tags, however deep."""
        found: set[Element] = set()
        for element in self._all:
            parent = self._parents.get(element)
            if parent is not None and (parent.tag in tags or parent in found):
                found.add(element)
        return found

    def _is_conditional(self, element: Element | None) -> bool:
        """Whether an element, or what it stands in, is shown only when something else is chosen."""
        while element is not None and not (element.get("visiblewhen") or element.get("whenchoicevalue")):
            element = self._parents.get(element)
        return element is not None


def _targets(control: Element) -> list[str]:
    return [name.strip() for name in (control.get("toname") or "").split(",")]


def _named(element: Element, whose: str = "The label config's ") -> str:
    return f"{whose}{element.tag} {shortened(repr(element.get('name') or element.get('value') or ''))}"
