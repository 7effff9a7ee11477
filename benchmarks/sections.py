"""Sections of RESULTS.md, and the goals that they tell of."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.storage import PACKAGES, Record

RESULTS = Path(__file__).parent / "RESULTS.md"
GOAL_HEADER = ["goal", "reached", "wanted", "met"]
_BEGIN, _END = "<!-- {} writes from here … -->", "<!-- … to here -->"


@dataclass(frozen=True)
class Goal:
    """A number that was aimed at.

    Attributes:
        what: was measured.
        reached: what came out.
        wanted: the bound.
        at_least: whether more is better.
        digits: how many are shown after the point.
    """

    what: str
    reached: float
    wanted: float
    at_least: bool
    digits: int = 2

    @property
    def is_met(self) -> bool:
        """Whether it was reached."""
        return self.reached >= self.wanted if self.at_least else self.reached <= self.wanted

    def row(self) -> list[str]:
        """Return it as a row of a table."""
        sign = "≥" if self.at_least else "≤"
        return [
            self.what,
            f"{self.reached:.{self.digits}f}",
            f"{sign} {self.wanted:.{self.digits}f}",
            "yes" if self.is_met else "**no**",
        ]


def write_section(text: str, writer: str) -> None:
    """Put text into RESULTS.md in place of what this writer, a package, put there before; what others wrote stays."""
    begin = _BEGIN.format(writer)
    whole = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Results\n"
    if begin not in whole:
        whole += f"\n{begin}\n{_END}\n"
    before, _, rest = whole.partition(begin)
    after = rest.partition(_END)[2]
    RESULTS.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{_END}{after}", encoding="utf-8")


def table(header: list[str], rows: Iterable[list[str]], text_columns: int = 1) -> str:
    """Return a Markdown table; columns beyond the first few hold numbers."""
    ruler = ["---" if column < text_columns else "---:" for column in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ruler, *rows])


def told(environment: Record, packages: Iterable[str] = PACKAGES) -> str:
    """Return an environment in words, with the versions of packages."""
    versions = ", ".join(f"{package} {environment[package]}" for package in ("python", *packages))
    machine = f"{environment['cpus']} cores ({environment['processor']}), load {environment['load']} when it began"
    return f"{environment['date']}, {machine}, {versions}"


def end(goals: list[Goal], console: Console, binding: list[Goal] | None = None) -> None:
    """Show the goals; exit with 1 if one was missed, or one of those that bind if not all do."""
    shown = Table(*GOAL_HEADER)
    for goal in goals:
        shown.add_row(*goal.row(), style=None if goal.is_met else "red")
    console.print(shown)
    sys.exit(0 if all(goal.is_met for goal in (goals if binding is None else binding)) else 1)
