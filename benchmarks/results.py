"""What was measured, on disk: JSON in results/, and RESULTS.md made from it."""

import ast
import importlib.metadata
import json
import os
import platform
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import prepal

FOLDER = Path(__file__).parent / "results"
RESULTS = Path(__file__).parent / "RESULTS.md"

_BEGIN, _END = "<!-- {} writes from here … -->", "<!-- … to here -->"
_PACKAGES = ("prepal-label-studio", "numpy", "scipy", "scikit-learn", "scikit-activeml", "small-text")
_LEARNING = Path(prepal.__file__).parent / "learning"

Record = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """A number that was aimed at.

    Attributes:
        what: it is.
        reached: it.
        wanted: the bound.
        at_least: whether more is better.
        digits: that are shown after the point.
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


GOAL_HEADER = ["goal", "reached", "wanted", "met"]


def environment(packages: Iterable[str] = _PACKAGES) -> Record:
    """Return what the numbers depend on beyond the code, with the versions of packages."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "load": round(os.getloadavg()[0], 2),  # what else runs here
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
    }


def fingerprint(names: Iterable[str]) -> str:
    """Return 8 hexadecimal digits that change when code of `prepal.learning` does, in these files or what they import.

    Args:
        names: of files in its folder; what the registry of strategies imports does not count.
    """
    digest = sha256()
    for name, tree in sorted(_with_imports(names).items()):
        digest.update(name.encode() + ast.dump(tree).encode())
    return digest.hexdigest()[:8]


def _with_imports(names: Iterable[str]) -> dict[str, ast.Module]:
    """The code of files by name, and of the files that they import, without comments and docstrings."""
    found: dict[str, ast.Module] = {}
    wanted = list(names)
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        tree = found[name] = ast.parse((_LEARNING / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prepal.learning"):
                module = (node.module or "").removeprefix("prepal.learning").lstrip(".").replace(".", "/")
                files = [f"{module}.py", *(f"{module}/{alias.name}.py".lstrip("/") for alias in node.names)]
                wanted += [file for file in files if (_LEARNING / file).is_file()]
    return found


class Lines:
    """Records, one JSON line each; of records with the same key the last one counts."""

    def __init__(self, path: Path, key: tuple[str, ...]) -> None:
        self.path = path
        self._key = key
        self._lock = threading.Lock()

    def read(self) -> dict[tuple[Any, ...], Record]:
        """Return the records by key. A last line that an interruption cut off is none."""
        found: dict[tuple[Any, ...], Record] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            found[self.key(record)] = record
        return found

    def key(self, record: Record) -> tuple[Any, ...]:
        """Return what tells a record from others."""
        return tuple(record[part] for part in self._key)

    def append(self, record: Record) -> None:
        """Write a record down."""
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def compact(self) -> None:
        """Sort the records and drop those that do not count."""
        records = self.read()
        lines = [json.dumps(records[key]) for key in sorted(records)]
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        partial.replace(self.path)


def read_json(name: str) -> Record | None:
    """Return what was written under that name, None if nothing was."""
    path = FOLDER / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_json(name: str, value: Record) -> None:
    """Write under that name, one line for each item of the record's lists."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_section(text: str, writer: str = "benchmarks.choosing") -> None:
    """Put text into RESULTS.md in place of what this writer put there before; what others wrote stays."""
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


def end(goals: list[Goal], console: Console) -> None:
    """Show the goals; exit with 1 if one was missed."""
    shown = Table("goal", "reached", "wanted", "met")
    for goal in goals:
        shown.add_row(*goal.row(), style=None if goal.is_met else "red")
    console.print(shown)
    sys.exit(0 if all(goal.is_met for goal in goals) else 1)


def told(environment: Record, packages: Iterable[str] = _PACKAGES) -> str:
    """Return an environment in words, with the versions of packages."""
    versions = ", ".join(f"{package} {environment[package]}" for package in ("python", *packages))
    machine = f"{environment['cpus']} cores ({environment['processor']}), load {environment['load']} when it began"
    return f"{environment['date']}, {machine}, {versions}"


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    for line in information.read_text().splitlines() if information.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
