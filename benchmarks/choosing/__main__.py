"""Compares strategies side by side with scikit-activeml's and small-text's, and writes RESULTS.md."""

from pathlib import Path

import click
from rich.console import Console

from benchmarks.choosing import paper, quality, report, speed
from benchmarks.labelled_sets import CACHE, SETS
from benchmarks.sections import end

_RACES = [race.name for race in speed.races(1)]

_ALL_SETS = (*SETS, quality.MANY_CLASSES)

_data = click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="has a folder for each set: train.jsonl and test.jsonl, with text and label",
)
_cache = click.option("--cache", default=CACHE, show_default=True, help="the vector cache")


@click.group()
def main() -> None:
    """Compare our strategies with the peers'; what was measured before is kept, and RESULTS.md is written anew."""


@main.command("quality")
@_data
@_cache
@click.option("--sets", default=",".join(_ALL_SETS), show_default=True, help="which sets, separated by commas")
@click.option("--seeds", default=5, show_default=True, help="experiments of each strategy on each set")
@click.option("--jobs", default=2, show_default=True, help="experiments at a time")
@click.option("--only", default="", help="only strategies that have this in their name")
def run_quality(data: Path, cache: str, sets: str, seeds: int, jobs: int, only: str) -> None:
    """Accuracy against labels; runs only what is missing or was run by other code."""
    console = Console(stderr=True)
    quality.run(data, cache, sets.split(","), seeds, jobs, only, console)
    end(report.write(), console)


@main.command("speed")
@click.option("--rounds", default=5, show_default=True, help="that count in each process, after a warm-up")
@click.option("--repeats", default=3, show_default=True, help="processes of each strategy, in turns")
@click.option("--race", "races", multiple=True, type=click.Choice(_RACES), default=_RACES, help="which ones")
def run_speed(rounds: int, repeats: int, races: list[str]) -> None:
    """Time and memory of a round."""
    console = Console(stderr=True)
    speed.run(rounds, repeats, list(races), console)
    end(report.write(), console)


@main.command("paper")
@_data
@_cache
@click.option("--preset", "presets", multiple=True, type=click.Choice(paper.PRESET_NAMES), default=paper.PRESET_NAMES)
@click.option("--jobs", default=1, show_default=True, help="experiments at a time")
def run_paper(data: Path, cache: str, presets: list[str], jobs: int) -> None:
    """The paper's claims: fine-tuning in every round, and labels for another model."""
    console = Console(stderr=True)
    paper.run(data, cache, list(presets), jobs, console)
    end(report.write(), console)


@main.command("all")
@_data
@_cache
def run_all(data: Path, cache: str) -> None:
    """All of them, as `make bench` does."""
    console = Console(stderr=True)
    quality.run(data, cache, _ALL_SETS, 5, 2, "", console)
    speed.run(5, 3, _RACES, console)
    paper.run(data, cache, list(paper.PRESET_NAMES), 1, console)
    end(report.write(), console)


@main.command("report")
def write_report() -> None:
    """Write RESULTS.md from what was measured before."""
    end(report.write(), Console(stderr=True))


if __name__ == "__main__":
    main()
