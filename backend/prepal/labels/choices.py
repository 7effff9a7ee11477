"""The choices of a label config's Choices or Taxonomy: names, or paths through a tree of names."""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from prepal.errors import PrepalError, shortened
from prepal.labels.html_text import visible_text
from prepal.labels.paths import DEEPEST
from prepal.labels.text_fields import has_variable

CHOICE_TAGS = ("Choices", "Taxonomy")
# Of what a choice shows as HTML so much is read.
_MOST_HTML = 10_000


def is_tree(control: Element) -> bool:
    """Whether the choices of an element, whose attributes are in lower case, are paths."""
    return control.tag == "Taxonomy" or control.get("allownested") == "true"


def is_multiple(control: Element) -> bool:
    """Whether several choices of an element, whose attributes are in lower case, may be chosen."""
    if control.tag == "Taxonomy":
        return control.get("maxusages") != "1"
    return control.get("choice") == "multiple"


def choices_of(control: Element) -> dict[tuple[str, ...], str]:
    """Each choice that can be chosen, as a path of one name or more, with all that the config says of it.

    Of a tree these are the leaves, because whoever ticks another choice ticks all below it; of a Taxonomy all, unless
    it has `leafsOnly`.

    Raises:
        PrepalError: the tree is deeper than any that people choose from.
    """
    leaves_only = control.tag == "Choices" or control.get("leafsonly") == "true"
    found: dict[tuple[str, ...], str] = {}
    for path, words, is_leaf in _walk(control, nested=is_tree(control)):
        if is_leaf or not leaves_only:
            found.setdefault(path, words)
    return found


def why_unknown(control: Element) -> str:
    """Why nobody can tell what choices an element, whose attributes are in lower case, has; empty where it is known."""
    if has_variable(control.get("value") or ""):
        return "its choices come from the task's data, and not from the config"
    if control.get("apiurl"):
        return "its choices come from an apiUrl, and not from the config"
    for choice in control.iter("Choice"):
        name = choice.get("alias") or choice.get("value")
        if not name:
            return "one of its choices has no value"
        if has_variable(name) and not choice.get("alias"):
            return f"its choice {shortened(repr(name))} is called by the task's data, and has no alias"
    said: dict[tuple[str, ...], str] = {}
    for path, words, _ in _walk(control, nested=is_tree(control)):
        if said.setdefault(path, words) != words:
            return f"two of its choices are called {shortened(repr(path[-1]))} by value or alias, which must differ"
    return ""


def _walk(control: Element, *, nested: bool) -> Iterator[tuple[tuple[str, ...], str, bool]]:
    """Path, words and whether it is a leaf, of every choice that Label Studio shows, in their order."""
    waiting: list[tuple[Element, tuple[str, ...], tuple[str, ...]]] = [(child, (), ()) for child in control[::-1]]
    while waiting:
        element, path, said = waiting.pop()
        if element.tag == "Choice":
            path = (*path, element.get("alias") or element.get("value") or "")
            said = (*said, _words(element))
            below = element.findall("Choice") if nested else []
            if len(path) > DEEPEST:
                raise PrepalError(f"The label config's choices stand in more than {DEEPEST} others: leave some out.")
            yield path, " ".join(said), not below
        else:
            below = list(element)
        waiting += [(child, path, said) for child in below[::-1]]


def _words(choice: Element) -> str:
    said = [choice.get(name, "").strip() for name in ("value", "alias", "hint")]
    said.append(visible_text(choice.get("html", ""), _MOST_HTML, _MOST_HTML))
    return " ".join(filter(None, dict.fromkeys(said)))
