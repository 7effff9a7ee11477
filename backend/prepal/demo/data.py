"""The demo's texts: the sample tickets, or somebody's own."""

import csv
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import StringIO
from pathlib import Path

from prepal.errors import PrepalError

# A text may be longer than csv's own limit of 131,072 characters.
_LONGEST_TEXT = 100_000_000


@dataclass(frozen=True)
class Ticket:
    """A text, and the topic that an annotator would choose for it; None where nobody knows."""

    text: str
    topic: str | None


def load_tickets() -> list[Ticket]:
    """The sample tickets that come with the package, each with its topic."""
    content = files("prepal.demo").joinpath("tickets.csv").read_text(encoding="utf-8")
    return [Ticket(row["text"], row["topic"]) for row in csv.DictReader(StringIO(content, newline=""))]


def load_texts(path: Path) -> list[Ticket]:
    """Somebody's own texts: a CSV or JSONL file with the column `text`, and `label` if there is one.

    Texts are stripped; those that are empty, or the same as an earlier one, are left out.

    Raises:
        PrepalError: the file cannot be read, is of another kind, or has no texts.
    """
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows}
    if path.suffix.lower() not in readers:
        raise PrepalError(f"{path} is of a kind that cannot be read: give a file ending in .csv or .jsonl.")
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PrepalError(f"{path} cannot be opened ({error.strerror}): check the path.") from error
    except UnicodeDecodeError as error:
        raise PrepalError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8.") from error
    tickets: dict[str, Ticket] = {}
    for line, row in readers[path.suffix.lower()](path, content):
        ticket = _ticket(path, line, row)
        if ticket.text:
            tickets.setdefault(ticket.text, ticket)
    if not tickets:
        raise PrepalError(f"{path} has no texts: fill its column 'text'.")
    return list(tickets.values())


def split(tickets: Sequence[Ticket], held_back: int = 500, seed: int = 0) -> tuple[list[Ticket], list[Ticket]]:
    """Draw `held_back` tickets to measure accuracy on; returns the others, the pool, and them.

    Raises:
        PrepalError: nothing would be left for the pool.
    """
    if not 0 <= held_back < len(tickets):
        raise PrepalError(f"{held_back} of {len(tickets)} texts cannot be held back: give more texts.")
    order = list(tickets)
    random.Random(seed).shuffle(order)  # noqa: S311
    return order[held_back:], order[:held_back]


def _csv_rows(path: Path, content: str) -> list[tuple[int, Mapping[str, object]]]:
    csv.field_size_limit(_LONGEST_TEXT)
    reader = csv.DictReader(StringIO(content, newline=""), strict=True)
    try:
        if "text" not in (reader.fieldnames or ()):
            found = ", ".join(reader.fieldnames or ()) or "nothing"
            raise PrepalError(f"{path} has no column 'text' (found: {found}): name the column of the texts 'text'.")
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise PrepalError(f"{path} line {reader.line_num} is not CSV ({error}): mend its quotes.") from error


def _jsonl_rows(path: Path, content: str) -> list[tuple[int, Mapping[str, object]]]:
    rows: list[tuple[int, Mapping[str, object]]] = []
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise PrepalError(f"{path} line {number} is not JSON ({error}): write one object per line.") from error
        if not isinstance(row, dict) or "text" not in row:
            raise PrepalError(
                f"{path} line {number} has no field 'text': write objects such as "
                '{"text": "Where is my parcel?", "label": "Shipping"}.'
            )
        rows.append((number, row))
    return rows


def _ticket(path: Path, line: int, row: Mapping[str, object]) -> Ticket:
    text, label = row["text"] or "", row.get("label")
    if not isinstance(text, str):
        raise PrepalError(f"{path} line {line} has the text {text!r:.60}: write it as a string.")
    if label is not None and not isinstance(label, str):
        raise PrepalError(f"{path} line {line} has the label {label!r:.60}: the demo takes one string per text.")
    return Ticket(text.strip(), (label or "").strip() or None)
