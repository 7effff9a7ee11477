"""Reads texts without labels, in any file that has them: JSONL, CSV, Label Studio's JSON, or one text a line."""

import re
from collections.abc import Sequence

import numpy as np

from prepal.decoding import decoded
from prepal.errors import PrepalError
from prepal.files import parse_rows
from prepal.records import readable
from prepal_workers.labelled.data import LabelledData
from prepal_workers.labelled.fields import Text, TextFields, data_of
from prepal_workers.labelled.wording import words_of

_TABLES = (".csv", ".tsv")
_LINE_END = re.compile(r"\r\n?|\n")


def read_texts(content: bytes, name: str, data: LabelledData, *, fields: Sequence[str] = ()) -> list[Text]:
    """Read texts like those that have labels.

    Args:
        content: of a file; rows, where it is JSON, or a table by its name or header, else one text a line.
        name: the file's name, for messages.
        data: the texts with labels: their fields are looked for, and a pair is one here, too.
        fields: names of the fields that are the text, if they were given.

    Raises:
        PrepalError: the file is broken, or has no text, or none of the kind of those with labels.
    """
    text = decoded(content, name)
    if not text.lstrip()[:1].startswith(("{", "[")) and not _is_table(text, name, fields or data.fields):
        return _lines(text, name, data)
    rows = [data_of(row) for row in parse_rows(content, name)[1]]
    if not rows:
        return _some([], name)
    if fields:
        found = TextFields.find(rows, name, fields, data.pairs or None)
    elif any(data.reader.text(row) for row in rows):
        found = data.reader
    else:
        found = TextFields.find(rows, name)
    if found.pair != data.pairs:
        raise PrepalError(
            f"{name} has {_kind(pairs=found.pair)}, and those with a label are {_kind(pairs=data.pairs)}: give a file "
            f"with the fields {' and '.join(data.fields)}."
        )
    return _some([said for row in rows if (said := found.text(row))], name)


def others(texts: Sequence[Text], data: LabelledData, most: int, seed: int) -> list[Text]:
    """So many of the texts at most, drawn by lot: each once, and none that says what one with a label says."""
    known = {_words(text) for text in data.texts}
    kept: list[Text] = []
    for place in np.random.default_rng(seed).permutation(len(texts)):
        if len(kept) == most:
            break
        if (said := _words(texts[place])) not in known:
            known.add(said)
            kept.append(texts[place])
    return kept


def _words(text: Text) -> tuple[str, ...]:
    return tuple(map(words_of, (text,) if isinstance(text, str) else text))


def _is_table(text: str, name: str, fields: Sequence[str]) -> bool:
    """Whether the name says so, or the first line has the fields."""
    header = _LINE_END.split(text.lstrip(), maxsplit=1)[0].replace("\t", ",")
    columns = {column.strip().strip('"') for column in header.split(",")}
    return name.lower().endswith(_TABLES) or bool(fields and columns.issuperset(fields))


def _lines(text: str, name: str, data: LabelledData) -> list[Text]:
    if data.pairs:
        raise PrepalError(
            f"{name} has a text a line, and those with a label are pairs: give a JSONL or CSV file with the fields "
            f"{' and '.join(data.fields)}."
        )
    return _some([readable(line).strip() for line in _LINE_END.split(text) if line.strip()], name)


def _some(texts: list[Text], name: str) -> list[Text]:
    if not texts:
        raise PrepalError(f"{name} has no texts: give a JSONL or CSV file, or one text a line.")
    return texts


def _kind(*, pairs: bool) -> str:
    return "pairs of texts" if pairs else "single texts"
