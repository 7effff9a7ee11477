"""Labelled texts for experiments."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prepal.errors import PrepalError

# A text may be longer than csv's own limit of 131,072 characters.
_LONGEST_TEXT = 100_000_000
_PAIR = ("text_a", "text_b")


@dataclass(frozen=True)
class Labelled:
    """Texts with their labels.

    Attributes:
        texts: n texts; the two of a pair are joined by a line feed.
        labels: `(n,)` int64, or `(n, k)` bool if multilabel.
    """

    texts: Sequence[str]
    labels: NDArray[np.int64] | NDArray[np.bool_]


@dataclass(frozen=True)
class Dataset:
    """A pool whose labels are only looked at when a strategy asks for them, and texts to measure on.

    Attributes:
        name: of the folder or the file of the pool.
        choices: the k names of the labels, sorted.
        multilabel: whether a text may have several.
        train: the pool.
        test: what accuracy is measured on.
    """

    name: str
    choices: Sequence[str]
    multilabel: bool
    train: Labelled
    test: Labelled


def load(train: Path, test: Path, pool: int | None = None) -> Dataset:
    """Read JSONL or CSV files with `text` (or `text_a` and `text_b`) and `label`, which may be a list in JSONL.

    Args:
        train: file of the pool.
        test: file to measure on.
        pool: take only so many texts of the pool, the first ones.

    Raises:
        PrepalError: a file cannot be used, or has another kind of labels than the other one.
    """
    rows = list(_rows(train))[:pool]
    test_rows = list(_rows(test))
    multilabel = isinstance(rows[0][1], list)
    for path, part in ((train, rows), (test, test_rows)):
        if any(isinstance(label, list) != multilabel for _, label in part):
            raise PrepalError(f"{path} mixes single labels and lists of labels: write one kind in both files.")
    choices = sorted({str(name) for _, label in rows for name in (label if multilabel else [label])})
    if len(choices) < 2:
        raise PrepalError(f"{train} has the label {', '.join(choices) or '(none)'} only: two are needed.")
    place = {name: at for at, name in enumerate(choices)}
    unknown = {str(name) for _, label in test_rows for name in (label if multilabel else [label])} - set(choices)
    if unknown:
        raise PrepalError(f"{test} has the label {min(unknown)!r}, which {train} has not: use the same labels in both.")

    def labelled(part: Sequence[tuple[str, Any]]) -> Labelled:
        texts = [text for text, _ in part]
        if not multilabel:
            return Labelled(texts, np.array([place[str(label)] for _, label in part], np.int64))
        chosen = np.zeros((len(part), len(choices)), bool)
        for at, (_, label) in enumerate(part):
            chosen[at, [place[str(name)] for name in label]] = True
        return Labelled(texts, chosen)

    name = train.parent.name if train.stem == "train" and train.parent.name else train.stem
    return Dataset(name, choices, multilabel, labelled(rows), labelled(test_rows))


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    readers = {".csv": _csv, ".jsonl": _jsonl}
    if path.suffix.lower() not in readers:
        raise PrepalError(f"{path} is of a kind that cannot be read: give a file ending in .csv or .jsonl.")
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PrepalError(f"{path} cannot be opened ({error.strerror}): check the path.") from error
    except UnicodeDecodeError as error:
        raise PrepalError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8.") from error
    count = 0
    for line, row in readers[path.suffix.lower()](path, content):
        pair = _PAIR[0] in row
        fields = [*(_PAIR if pair else ("text",)), "label"]
        lacking = [name for name in fields if row.get(name) is None]
        if lacking:
            raise PrepalError(f"{path} line {line} has no {lacking[0]!r}: every line needs {' and '.join(fields)}.")
        text = "\n".join(str(row[name]) for name in fields[:-1]).strip()
        count += 1
        yield text, row["label"]
    if not count:
        raise PrepalError(f"{path} has no rows: give labelled texts.")


def _jsonl(path: Path, content: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise PrepalError(f"{path} line {number} is not JSON ({error}): write one object per line.") from error
        if not isinstance(row, dict):
            raise PrepalError(f"{path} line {number} is not an object: write one object per line.")
        yield number, row


def _csv(path: Path, content: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    csv.field_size_limit(_LONGEST_TEXT)
    reader = csv.DictReader(content.splitlines(keepends=True), strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise PrepalError(f"{path} line {reader.line_num} is not CSV ({error}): mend its quotes.") from error
