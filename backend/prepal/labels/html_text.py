"""What a reader of HTML sees, in time that grows with its length alone.

Parsers that build a tree walk through their open elements at many a tag, as HTML's rules want it, and take minutes for
some kilobytes of tags that are never closed. Text needs no tree: this goes through the markup once.
"""

import html
import re
from functools import lru_cache

# A quote counts only after an equals sign, as in HTML. Whatever is not closed goes on to the end, and nothing that was
# read is read again: that is what keeps it linear.
_ATTRIBUTES = r"""(?:[^>=]++|=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z))?+)*+"""
_UNSEEN = r"(?:head|title|template|body)(?=[\s/>])"
_FLAGS = re.ASCII | re.DOTALL | re.IGNORECASE | re.VERBOSE
_MARKUP = re.compile(
    rf"""(?:
        <!--(?:-?>|.*?--!?>|.*+)
      | <!\[CDATA\[(?:.*?\]\]>|.*+)
      | <(script|style)(?=[\s/>]){_ATTRIBUTES}(?<!/)>(?:.*?</\1(?=[\s/>])[^>]*+>|.*+)
      | <(?!/?{_UNSEEN})(?:[a-z]{_ATTRIBUTES}(?:>|\Z)|[/!?][^>]*+(?:>|\Z))
    )++""",
    _FLAGS,
)
# What is between the tags of these is not on the page; a head whose end is left out ends where the body begins.
_UNSEEN_TAG = re.compile(rf"<(/?)({_UNSEEN}){_ATTRIBUTES}(?:>|\Z)", _FLAGS)
# As in `html`, which takes several times as long where there are many.
_REFERENCE = re.compile(r"(&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?))")
_LONGEST_REFERENCE = 1000


def visible_text(markup: str, most_markup: int, most: int) -> str:
    """What a reader of HTML, however broken, sees, its white space collapsed.

    Of the markup `most_markup` characters are read, and of the text `most` characters are kept.
    """
    markup = _seen(_MARKUP.sub(" ", _without_open_tag(markup, most_markup)))
    # A "<" that begins no tag has always stood by itself.
    text = " ".join(markup.replace("<", " < ").split())[:most]
    once = _unescape(text)
    # Texts that were escaped twice, as much that was scraped is.
    return " ".join((once if once == text else _unescape(once)).split())[:most]


def _without_open_tag(markup: str, most: int) -> str:
    """The beginning of the markup, where every tag has an end: what begins like one and ends nowhere is words."""
    cut = markup[:most]
    closed = cut.rfind(">") + 1
    if len(cut) < len(markup):
        return cut[:closed] + cut[closed:].partition("<")[0]
    return cut[:closed] + cut[closed:].replace("<", "< ")


def _seen(markup: str) -> str:
    """The markup outside of elements that are not seen."""
    parts, depth, end = [], 0, 0
    for tag in _UNSEEN_TAG.finditer(markup):
        if not depth:
            parts.append(markup[end : tag.start()])
        end = tag.end()
        closing, name = tag.groups()
        if name.lower() == "body":
            depth = 0
        elif closing:
            depth = max(0, depth - 1)
        else:
            depth += not tag.group().endswith("/>")
    return " ".join(parts if depth else [*parts, markup[end:]])


def _unescape(text: str) -> str:
    parts = _REFERENCE.split(text)
    parts[1::2] = map(_character, parts[1::2])
    return "".join(parts)


@lru_cache(maxsize=4096)
def _character(reference: str) -> str:
    # Python refuses to read thousands of digits, and no character has as many.
    return html.unescape(reference) if len(reference) < _LONGEST_REFERENCE else "\ufffd"
