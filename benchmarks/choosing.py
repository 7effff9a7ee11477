"""Compares strategies side by side with scikit-activeml's and small-text's, and writes RESULTS.md."""

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks import quality, report, speed
from benchmarks.results import Goal
from benchmarks.texts import SETS

_RACES = [race.name for race in speed.races(1)]

_vectors = click.option(
    "--vectors",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="has a folder for each set: train.npy, train_y.npy, test.npy, test_y.npy, names.npy",
)


@click.group()
def main() -> None:
    """Compare our strategies with the peers'; what was measured before is kept, and RESULTS.md is written anew."""


@main.command("quality")
@_vectors
@click.option("--sets", default=",".join(SETS), show_default=True, help="which sets, separated by commas")
@click.option("--seeds", default=5, show_default=True, help="experiments of each strategy on each set")
@click.option("--jobs", default=2, show_default=True, help="experiments at a time")
@click.option("--only", default="", help="only strategies that have this in their name")
def run_quality(vectors: Path, sets: str, seeds: int, jobs: int, only: str) -> None:
    """Accuracy against labels; runs only what is missing or was run by other code."""
    console = Console(stderr=True)
    quality.run(vectors, sets.split(","), seeds, jobs, only, console)
    _end(report.write(), console)


@main.command("speed")
@click.option("--rounds", default=5, show_default=True, help="that count in each process, after a warm-up")
@click.option("--repeats", default=3, show_default=True, help="processes of each strategy, in turns")
@click.option("--race", "races", multiple=True, type=click.Choice(_RACES), default=_RACES, help="which ones")
def run_speed(rounds: int, repeats: int, races: list[str]) -> None:
    """Time and memory of a round."""
    console = Console(stderr=True)
    speed.run(rounds, repeats, list(races), console)
    _end(report.write(), console)


@main.command("all")
@_vectors
def run_all(vectors: Path) -> None:
    """Both, as `make bench` does."""
    console = Console(stderr=True)
    quality.run(vectors, SETS, 5, 2, "", console)
    speed.run(5, 3, _RACES, console)
    _end(report.write(), console)


@main.command("report")
def write_report() -> None:
    """Write RESULTS.md from what was measured before."""
    _end(report.write(), Console(stderr=True))


def _end(goals: list[Goal], console: Console) -> None:
    """Show the goals; exit with 1 if one was missed."""
    shown = Table("goal", "reached", "wanted", "met")
    for goal in goals:
        shown.add_row(*goal.row(), style=None if goal.is_met else "red")
    console.print(shown)
    sys.exit(0 if all(goal.is_met for goal in goals) else 1)


if __name__ == "__main__":
    main()
