"""What the vector cache costs: loading a project, appending, looking up."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.sections import Goal
from benchmarks.storage import Record
from prepal.vectors import VectorTable, text_ids
from prepal.vectors.matrix import VectorMatrix

TEXTS, DIMENSION, APPENDED, LOOKED_UP = 1_000_000, 384, 4096, 32
LOAD_S, MEMORY, APPEND_S, LOOK_UP_MS = 5.0, 1.3, 0.1, 20.0
_REPEATS, _FILL = 9, 50_000
_ENCODER = "benchmark"


def run(_texts: dict[str, list[str]], console: Console) -> Record:
    """Fill a table with a million vectors, and measure."""
    found: Record = {"texts": TEXTS, "dimension": DIMENSION}
    with tempfile.TemporaryDirectory() as folder:
        table = VectorTable(folder, _ENCODER)
        found["append_empty_s"] = _append(table)
        with console.status("filling") as status:
            for start in range(0, TEXTS - len(table), _FILL):
                count = min(_FILL, TEXTS - len(table))
                table.append(_ids(start, count), _vectors(count))
                status.update(f"filling: {start + count:,}")
        table.compact()
        with console.status("loading"):
            loads = [_load(folder) for _ in range(3)]
        found["load_s"] = [one["seconds"] for one in loads]
        found["memory"] = [one["memory"] for one in loads]
        found["append_s"] = _append(table)
        known = [key for start in range(0, 18 * _FILL, _FILL) for key in _ids(start, _FILL)[:LOOKED_UP]]
        found["look_up_ms"] = [1000 * _seconds(table, known[at::18][:LOOKED_UP]) for at in range(_REPEATS)]
    return found


def _append(table: VectorTable) -> list[float]:
    seconds = []
    for _ in range(_REPEATS + 1):
        ids, vectors = _ids(time.perf_counter_ns(), APPENDED), _vectors(APPENDED)
        began = time.perf_counter()
        table.append(ids, vectors)
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


def _seconds(table: VectorTable, ids: Sequence[str]) -> float:
    began = time.perf_counter()
    found, _ = table.find(ids)
    seconds = time.perf_counter() - began
    assert found.all()
    return seconds


def _ids(seed: int, count: int) -> list[str]:
    digits = np.random.default_rng(seed).bytes(16 * count).hex()
    return [digits[at : at + 32] for at in range(0, len(digits), 32)]


def _vectors(count: int) -> NDArray[np.float16]:
    return np.random.default_rng(count).standard_normal((count, DIMENSION), np.float32).astype(np.float16)


def _load(folder: str) -> Record:
    """In a process of its own, because its memory is measured."""
    command = [sys.executable, "-m", "benchmarks.embedding.cache", folder]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
    found: Record = json.loads(said)
    return found


def _main(folder: str) -> None:
    table = VectorTable(folder, _ENCODER)
    ids = table.ids()
    before = _memory("VmRSS")
    matrix = VectorMatrix()
    began = time.perf_counter()
    matrix.load(table, ids)
    seconds = time.perf_counter() - began
    assert (matrix.rows(text_ids(ids[:9].astype(str).tolist())) >= 0).all()
    memory = (_memory("VmHWM") - before) / matrix.vectors.nbytes
    sys.stdout.write(json.dumps({"seconds": seconds, "memory": memory}))


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def goals(stored: Record) -> list[Goal]:
    """All of them bind."""
    at = f"{stored['texts']:,} × {stored['dimension']}"
    return [
        Goal(f"cache: loading {at}, s", median(stored["load_s"]), LOAD_S, at_least=False),
        Goal("cache: memory for it, times the matrix", max(stored["memory"]), MEMORY, at_least=False),
        Goal(f"cache: appending {APPENDED:,} rows to none, s", median(stored["append_empty_s"]), APPEND_S, False, 3),
        Goal(
            f"cache: appending {APPENDED:,} rows to {stored['texts']:,}, s",
            median(stored["append_s"]),
            APPEND_S,
            False,
            3,
        ),
        Goal(f"cache: looking {LOOKED_UP} texts up, ms", median(stored["look_up_ms"]), LOOK_UP_MS, at_least=False),
    ]


def section(stored: Record) -> str:
    """What was done."""
    return (
        "### Vector cache\n\n"
        f"A folder; {stored['texts']:,} made-up vectors. Loading is `VectorMatrix.load` in a new process, of which the "
        "memory that it takes beyond what it held before counts; medians of 3 loads (of the memory the largest), "
        f"{_REPEATS} appends, which leave {_REPEATS + 1} pieces that are not compacted yet, and 9 look-ups after them."
    )


if __name__ == "__main__":
    _main(sys.argv[1])
