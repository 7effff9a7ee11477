"""The demo's texts: the sample tickets, or somebody's own."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from prepal.errors import PrepalError
from prepal.files import Row, numbered_rows, table_rows


@dataclass(frozen=True)
class Ticket:
    """A text, and the topic that an annotator would choose for it; None where nobody knows."""

    text: str
    topic: str | None


def load_tickets() -> list[Ticket]:
    """The sample tickets that come with the package, each with its topic."""
    content = files("prepal.demo").joinpath("tickets.csv").read_text(encoding="utf-8")
    return [Ticket(row["text"], row["topic"]) for _, row in table_rows(content, "tickets.csv")]


def load_texts(path: Path) -> list[Ticket]:
    """Somebody's own texts: a CSV or JSONL file with the column `text`, and `label` if there is one.

    Texts are stripped; those that are empty, or the same as an earlier one, are left out.

    Raises:
        PrepalError: the file cannot be read, is of another kind, or has no texts.
    """
    tickets: dict[str, Ticket] = {}
    for line, row in numbered_rows(path):
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


def _ticket(path: Path, line: int, row: Row) -> Ticket:
    if "text" not in row:
        columns = ", ".join(row) or "nothing"
        raise PrepalError(f"{path} line {line} has no 'text' (found: {columns}): name the field of the texts 'text'.")
    text, label = row["text"] or "", row.get("label")
    if not isinstance(text, str):
        raise PrepalError(f"{path} line {line} has the text {text!r:.60}: write it as a string.")
    if label is not None and not isinstance(label, str):
        raise PrepalError(f"{path} line {line} has the label {label!r:.60}: the demo takes one string per text.")
    return Ticket(text.strip(), (label or "").strip() or None)
