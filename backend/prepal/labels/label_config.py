"""What is learnt in a project: its questions, each with its choices, and the texts from which it is learnt."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from prepal.labels.config_tree import CONTROL_TAGS, ConfigTree, named, targets
from prepal.labels.paths import written
from prepal.labels.text_fields import FIELD_MARK, TextField, parts_of, why_unread

_SERVED = "PRepAL serves Choices and Taxonomy, single or multiple, over Text, HyperText, Paragraphs and Chat"
# Of a label config; this much takes a tenth of a second.
_MOST_CONFIG = 1_000_000
# Python takes the square of a name's length to tell its Unicode form.
_MOST_COMPARED = 200


Said = tuple[Sequence[int], float | None]
"""What is predicted of a task for one question: indices into its choices, and how surely; None: nothing."""


@dataclass(frozen=True)
class LabelConfig:
    """What is learnt in a project: `choices` of the tag `from_name`, read from `fields`.

    Where annotators are asked several questions that is the first one; each of the `others` is the same for another.
    """

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
    asked_if: tuple[str, tuple[str, ...]] | None = None
    """Another question's tag, and with which of its choices this one is asked; None: always, or that is not told."""
    notes: tuple[str, ...] = ()
    """Sentences on what of the config is not learnt, or not read."""
    others: tuple["LabelConfig", ...] = ()
    """The other questions that are learnt, in their order."""
    is_first: bool = True
    """Whether it is the first question that is learnt."""
    reads: bool = False
    """Whether it is learnt from other texts than the first one."""

    @property
    def questions(self) -> tuple["LabelConfig", ...]:
        """All questions that are learnt, this one first."""
        return (self, *self.others)

    @property
    def asked(self) -> str:
        """The names of all questions, for people."""
        *first, last = [repr(question.from_name) for question in self.questions]
        return f"{', '.join(first)} and {last}" if first else last

    @property
    def text_version(self) -> str:
        """Changes exactly when the text of a task may change, as any question reads it."""
        read = tuple(dict.fromkeys(question.fields for question in self.questions))
        return hashlib.blake2b(repr(read if read[1:] else self.fields).encode(), digest_size=8).hexdigest()

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

    def results(self, said: Sequence[Said]) -> list[dict[str, Any]]:
        """Label Studio's `result` for what is predicted for each of the questions, or for the first ones.

        A question that would not be asked, as what is predicted for another one has it, is left out.
        """
        told = dict(zip((question.from_name for question in self.questions), said, strict=False))
        by_name = {question.from_name: question for question in self.questions}

        def is_asked(question: LabelConfig) -> bool:
            tag, choices = question.asked_if or ("", ())
            if tag not in told or not set(choices) & set(by_name[tag].choices):
                return True
            chosen, confidence = told[tag]
            return confidence is not None and any(by_name[tag].choices[at] in choices for at in chosen)

        return [
            item
            for question, (chosen, confidence) in zip(self.questions, said, strict=False)
            if is_asked(question)
            for item in question.result(chosen, confidence)
        ]

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
    return _Questions(ConfigTree(root)).read()


def parse_or_none(xml: str) -> LabelConfig | None:
    """Read a label config; None where nothing in it can be served."""
    try:
        return parse(xml)
    except PrepalError:
        return None


class _Questions:
    """What of a label config's elements can be learnt."""

    def __init__(self, tree: ConfigTree) -> None:
        self._tree = tree
        self._has_text = any(TextField.of(text).variables or why_unread(text) for text in tree.texts.values())

    def read(self) -> LabelConfig:
        """What is learnt.

        Raises:
            PrepalError: nothing in it can be served.
        """
        tree = self._tree
        inner = tree.within(*CHOICE_TAGS)
        controls = [element for element in tree.all if element.tag in CHOICE_TAGS and element not in inner]
        tags = list(dict.fromkeys(element.tag for element in tree.all if element.tag in CONTROL_TAGS))
        if not controls:
            lack = f"has {', '.join(sorted(tags))}, but no Choices" if tags else "has no Choices"
            raise PrepalError(f"The label config {lack}: {_SERVED}.")
        reasons = {control: self._why_not(control) for control in controls}
        # Of two with one name nobody could tell the answers apart: the first one is asked.
        by_name = {control.get("name"): control for control in controls[::-1] if not reasons[control]}
        served = list(by_name.values())[::-1]
        if not served:
            raise PrepalError(f"{named(controls[0])} cannot be learnt, as {reasons[controls[0]]}: {_SERVED}.")
        first, *more = [self._question(control, served) for control in served]
        left = {control: reason for control, reason in reasons.items() if reason}
        ignored = tuple(dict.fromkeys([*(control.get("name") or control.tag for control in left), *tags]))
        others = [replace(one, is_first=False, reads=one.fields != first.fields) for one in more]
        config = replace(first, ignored=ignored, others=tuple(others))
        return replace(config, notes=(*self._not_learnt(config, left), *self._reading(config), *self._unread()))

    def _question(self, control: Element, served: Sequence[Element]) -> LabelConfig:
        found, tree = choices_of(control), is_tree(control)
        others = [other for other in served if other is not control]
        return LabelConfig(
            from_name=control.get("name") or "",
            to_name=targets(control)[0],
            choices=tuple(map(written, found)) if tree else tuple(path[0] for path in found),
            words=tuple(found.values()),
            multiple=is_multiple(control),
            fields=tuple(TextField.of(element) for element in self._tree.texts_for(control, others)),
            ignored=(),
            paths=tuple(found) if tree else (),
            kind=control.tag.lower(),
            conditional=self._tree.is_conditional(control),
            asked_if=self._tree.condition(control),
        )

    def _why_not(self, control: Element) -> str:
        """Why a control cannot be learnt; empty where it can."""
        if self._tree.repeats:
            return "a Repeater shows several items of a task, each to be imported as a task of its own"
        if any(control.get(name) == "true" for name in ("perregion", "peritem", "labeling")):
            return "it is per region or per item, and not about the whole text"
        if reason := why_unknown(control):
            return reason
        if not self._has_text:
            return 'there is no text field with a value such as "$text"'
        target = self._tree.texts.get(targets(control)[0])
        if target is None:
            return f"it points to {shortened(repr(targets(control)[0]))}, which is not a text"
        if reason := why_unread(target):
            return f"its {target.tag} {shortened(repr(target.get('name')))} {reason}"
        count = len(choices_of(control))
        if count < 2:
            return f"it has {count} choice, and two are needed"
        if control.tag == "Choices" and is_tree(control) and control.get("name") == "choices":
            return "Label Studio takes no predictions for it: with allowNested it needs another name than 'choices'"
        return ""

    def _not_learnt(self, config: LabelConfig, left: Mapping[Element, str]) -> Iterator[str]:
        """Sentences on what is learnt, where something is not."""
        if config.ignored:
            is_are = "are" if config.others else "is"
            yield f"Only {config.asked} {is_are} learnt; not {', '.join(map(repr, config.ignored))}."
        for control, reason in left.items():
            yield f"{named(control)} is not learnt, as {reason}."

    def _reading(self, config: LabelConfig) -> Iterator[str]:
        """Sentences on which question is learnt from what, where that differs."""
        if len({question.fields for question in config.questions}) > 1:
            for question in config.questions:
                read = dict.fromkeys(name for field in question.fields for name in field.variables)
                names = ", ".join(f"${shortened(name)}" for name in read)
                yield f"{question.from_name!r} is learnt from {names} alone."

    def _unread(self) -> Iterator[str]:
        """Sentences on what tasks show and nothing is learnt from."""
        for text in self._tree.texts.values():
            if reason := why_unread(text):
                yield f"{named(text)} is not read, as it {reason}."
        for element in self._tree.beside():
            yield f"{named(element)} is not read."
