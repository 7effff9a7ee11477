"""Names and texts as they come: forms of the same one, and several names for a sentence."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from prepal.labels.html_text import visible_text
from prepal.records import readable

_MOST_NAMED, _LONGEST_NAME = 5, 40
# Longer names are not compared by form, which takes long.
_MOST_COMPARED = 1000


def same_labels(found: Iterable[str], known: Sequence[str] = ()) -> dict[str, str]:
    """Which label each name that was found means: names that differ only in their Unicode form look alike.

    A known name means itself, and so does one that is like none of them or like several. Where none are known, the
    form that most have is the label.

    Args:
        found: names, as often as they occur.
        known: names of the label config, or of other rows.
    """
    counts = Counter(found)
    forms: dict[str, list[str]] = {}
    for name in known or sorted(counts, key=lambda name: (-counts[name], name)):
        forms.setdefault(_form(name), []).append(name)
    alike = {form: readable(names[0]) for form, names in forms.items() if len(names) == 1 or not known}
    return {name: name if name in known else alike.get(_form(name), readable(name)) for name in counts}


def marked(chosen: Sequence[Sequence[str]], same: Mapping[str, str], label_names: Sequence[str]) -> NDArray[np.bool_]:
    """Which of k labels each text has, `(n, k)`, by the names that it was given, of which `same_labels` tells."""
    column = {label: number for number, label in enumerate(label_names)}
    marks = np.zeros((len(chosen), len(label_names)), bool)
    for row, names in zip(marks, chosen, strict=True):
        row[[column[same[name]] for name in names]] = True
    return marks


def named(names: Sequence[str]) -> str:
    """Some names for a sentence: not too many, not too long, and on one line."""
    shown = [" ".join(readable(name).split()) for name in names[:_MOST_NAMED]]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(s if len(s) <= _LONGEST_NAME else s[: _LONGEST_NAME - 1] + "…" for s in shown) + more


class _Kept(dict[int, str]):
    """What `words_of` keeps of each character: punctuation parts words, and what nobody sees does not."""

    def __missing__(self, code: int) -> str:
        kind = unicodedata.category(chr(code))
        self[code] = chr(code) if kind[0] in "LMNS" else "" if kind == "Cf" else " "
        return self[code]


_KEPT = _Kept()


def words_of(text: str) -> str:
    """What is the same in texts that say the same: their words, without case, markup, punctuation and white space."""
    seen = visible_text(text, len(text), len(text)) if "<" in text or "&" in text else text
    words = unicodedata.normalize("NFKC", readable(seen)).casefold().translate(_KEPT)
    return " ".join(words.split()) or text


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", readable(name)) if len(name) <= _MOST_COMPARED else name
