"""The elements of a label config: which texts stand there for which question, under which headings and conditions."""

from collections.abc import Collection, Iterator, Sequence
from xml.etree.ElementTree import Element

from prepal.errors import shortened
from prepal.labels.choices import CHOICE_TAGS
from prepal.labels.text_fields import HEADING_TAGS, TEXT_TAGS, TextField, has_variable, why_unread

CONTROL_TAGS = (
    *("Labels", "HyperTextLabels", "ParagraphLabels", "TextArea", "Rating", "Number", "DateTime"),
    *("Pairwise", "Ranker", "Relations", "RectangleLabels", "PolygonLabels", "KeyPointLabels", "BrushLabels"),
    *("EllipseLabels", "TimeSeriesLabels", "VideoRectangle"),
)
# What else has a value that is nothing of a text.
_OTHER_TAGS = (*TEXT_TAGS, *CHOICE_TAGS, *CONTROL_TAGS, "Choice", "Label", "Shortcut", "Style", "View")


class ConfigTree:
    """The elements, their attributes in lower case, as Label Studio's interface reads them.

    Attributes:
        all: all elements, in their order.
        texts: those that show a text, by name.
        repeats: whether a Repeater shows several texts or asks several questions.
    """

    def __init__(self, root: Element) -> None:
        self.all = list(root.iter())
        for element in self.all:
            element.attrib = {name.lower(): value for name, value in element.attrib.items()}
        self._parents = {child: element for element in self.all for child in element}
        self.texts = {element.get("name"): element for element in self.all if element.tag in TEXT_TAGS}
        self._repeated = self.within("Repeater")
        self.repeats = any(element.tag in (*TEXT_TAGS, *CHOICE_TAGS) for element in self._repeated)

    def within(self, *tags: str) -> set[Element]:
        """The elements that stand in one of these tags, however deep."""
        found: set[Element] = set()
        for element in self.all:
            parent = self._parents.get(element)
            if parent is not None and (parent.tag in tags or parent in found):
                found.add(element)
        return found

    def texts_for(self, control: Element, others: Sequence[Element]) -> list[Element]:
        """What is read for a question, headings first.

        A text that one of the `others` is about belongs to that one alone, and so does the heading above it.
        """
        own = set(targets(control))
        asked = {name for other in others for name in targets(other) if name not in own}
        texts = [
            text
            for name, text in self.texts.items()
            if name not in asked and not why_unread(text) and TextField.of(text).variables
        ]
        foreign = {self.texts[name] for name in asked if name in self.texts}
        foreign |= {other for other in others if asked.issuperset(targets(other))}
        said = {name for text in texts for name in TextField.of(text).variables}
        headings = [one for one in self._headings(foreign) if not said.issuperset(TextField.of(one).variables)]
        return [*headings, *texts]

    def beside(self) -> Iterator[Element]:
        """The elements that show something of each task that is neither read nor asked."""
        for element in self.all:
            if element.tag in HEADING_TAGS:
                if element in self._repeated and TextField.of(element).variables:
                    yield element
            elif element.tag not in _OTHER_TAGS and has_variable(element.get("value") or ""):
                yield element

    def is_conditional(self, element: Element) -> bool:
        """Whether a question, or what it stands in, is shown only when something else is chosen."""
        return any(one.get("visiblewhen") or one.get("whenchoicevalue") for one in self._upwards(element))

    def condition(self, element: Element) -> tuple[str, tuple[str, ...]] | None:
        """The tag, and with which choices of it a question is asked; None: always, or that cannot be told.

        Of several conditions, one within the other, the innermost is told.
        """
        for one in self._upwards(element):
            if one.get("visiblewhen", "choice-selected") == "choice-selected" and one.get("whenchoicevalue"):
                return one.get("whentagname") or "", tuple(
                    part.strip() for part in one.attrib["whenchoicevalue"].split(",")
                )
        return None

    def _upwards(self, element: Element | None) -> Iterator[Element]:
        """An element, and what it stands in."""
        while element is not None:
            yield element
            element = self._parents.get(element)

    def _headings(self, foreign: Collection[Element]) -> list[Element]:
        """The headings that say something of each task, but for those in or above a `foreign` text or question."""
        found, behind = [], None
        for element in reversed(self.all):
            if element.tag in HEADING_TAGS and TextField.of(element).variables and element not in self._repeated:
                parent = self._parents.get(element)
                heads = parent if parent is not None and parent.tag in CHOICE_TAGS else behind
                found += [] if heads in foreign else [element]
            elif element.tag in (*TEXT_TAGS, *CHOICE_TAGS):
                behind = element
        return found[::-1]


def targets(control: Element) -> list[str]:
    """The names of what a question is about."""
    return [name.strip() for name in (control.get("toname") or "").split(",")]


def named(element: Element) -> str:
    """An element for a message."""
    return f"The label config's {element.tag} {shortened(repr(element.get('name') or element.get('value') or ''))}"
