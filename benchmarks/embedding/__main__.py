"""Measures embedding and the vector cache beside sentence-transformers, and writes its section of RESULTS.md."""

import json
from pathlib import Path

import click
from rich.console import Console

from benchmarks import storage
from benchmarks.embedding import cache, encoding, faults, import_run
from benchmarks.sections import GOAL_HEADER, Goal, end, table, told, write_section
from benchmarks.storage import Record

FILE = "embedding.json"
# Each part: what it is called, and what measures it.
_PARTS = {
    "cpu": (encoding.run_cpu, encoding.goals_cpu, encoding.section_cpu),
    "gpu": (encoding.run_gpu, encoding.goals_gpu, encoding.section_gpu),
    "import": (import_run.run, import_run.goals, import_run.section),
    "cache": (cache.run, cache.goals, cache.section),
    "kills": (faults.run, faults.goals, faults.section),
}
# These end the command with status 1 where they fall short.
_BINDING = ("cpu", "import", "cache")


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="has ag_news/train.jsonl and banking77/train.jsonl, a `text` in each line",
)
@click.option("--part", "parts", multiple=True, type=click.Choice(list(_PARTS)), help="measure only these")
@click.option("--texts", default=encoding.TEXTS, show_default=True, help="of each set, on processors")
@click.option("--report-only", is_flag=True, help="write RESULTS.md from what was measured before")
def main(data: Path | None, parts: tuple[str, ...], texts: int, report_only: bool) -> None:
    """Measure; what other parts gave before is kept."""
    console = Console(stderr=True)
    stored = storage.read_json(FILE) or {}
    for part in () if report_only else parts or tuple(_PARTS):
        if data is None:
            raise click.UsageError("--data is needed: a folder with ag_news/ and banking77/.")
        measure = _PARTS[part][0]
        measured = measure(_texts(data), console, texts) if part == "cpu" else measure(_texts(data), console)
        if measured is not None:
            stored[part] = measured | {"environment": storage.environment(encoding.PACKAGES)}
            storage.write_json(FILE, stored)
    goals = {part: _PARTS[part][1](stored[part]) for part in _PARTS if part in stored}
    write_section(_report(stored, goals), "benchmarks.embedding")
    binding = [goal for part in _BINDING for goal in goals.get(part, [])]
    end([goal for of_part in goals.values() for goal in of_part], console, binding)


def _texts(data: Path) -> dict[str, list[str]]:
    """All texts of each set."""
    found = {}
    for name in ("ag_news", "banking77"):
        lines = (data / name / "train.jsonl").read_text(encoding="utf-8").splitlines()
        found[name] = [json.loads(line)["text"] for line in lines]
    return found


def _report(stored: Record, goals: dict[str, list[Goal]]) -> str:
    parts = ["## Embedding and the vector cache", "`make bench-embed DATA=folder`"]
    rows = [goal.row() for found in goals.values() for goal in found]
    if rows:
        parts.append(table(GOAL_HEADER, rows))
    for part in _PARTS:
        if part in stored:
            parts += [_PARTS[part][2](stored[part]), told(stored[part]["environment"], encoding.PACKAGES)]
    if "gpu" not in stored:
        parts += ["### On a GPU", "Not run: no GPU was at hand. `--part gpu` measures it where there is one."]
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
