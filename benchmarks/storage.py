"""What was measured, on disk: JSON in results/, and what the numbers depend on beyond the code."""

import importlib.metadata
import json
import os
import platform
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prepal.files import write_whole

FOLDER = Path(__file__).parent / "results"
PACKAGES = ("prepal-label-studio", "numpy", "scipy", "scikit-learn", "scikit-activeml", "small-text")

Record = dict[str, Any]


def environment(packages: Iterable[str] = PACKAGES) -> Record:
    """Return what the numbers depend on beyond the code, with the versions of packages."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "load": round(os.getloadavg()[0], 2),  # what else runs here
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
    }


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
        write_whole(self.path, "".join(line + "\n" for line in lines).encode())


def read_json(name: str) -> Record | None:
    """Return what was written under that name, None if nothing was."""
    path = FOLDER / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_json(name: str, value: Record) -> None:
    """Write under that name, one line for each item of the record's lists."""
    FOLDER.mkdir(exist_ok=True)
    write_whole(FOLDER / name, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    for line in information.read_text().splitlines() if information.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
