"""Compares the final model with a logistic regression and with transformers' own training, on labels chosen by auto."""

import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from benchmarks import storage
from benchmarks.final_model import arms, delivered
from benchmarks.final_model.report import FILE, MEASURED, PACKAGES, write
from benchmarks.final_model.trials import MAIN, MANY, TRIALS, read_trial
from benchmarks.sections import end


def _measured_on(command: Callable[..., None]) -> Callable[..., None]:
    """What is measured, and on which texts."""
    for option in (
        click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True),
        click.option("--seeds", default=3, show_default=True, help="of choosing and of training, on each set"),
        click.option(
            "--texts", default=1000, show_default=True, help="of the test set that are measured on: the first ones"
        ),
        click.option("--pool", default=3000, show_default=True, help="texts to choose from: the first ones"),
        click.option("--only", default="", help="only sets that have this in their name"),
    ):
        command = option(command)
    return command


@click.group()
def main() -> None:
    """Compare the final model with its alternatives.

    What was measured before is kept: delete results/finetune.jsonl after a change of the recipe.
    """


@main.command("run")
@_measured_on
def run_all(data: Path, seeds: int, texts: int, pool: int, only: str) -> None:
    """Run what is missing; DATA has a folder for each set, with train.jsonl and test.jsonl."""
    console = Console(stderr=True)
    storage.FOLDER.mkdir(exist_ok=True)
    wanted = [(name, n, seed) for seed in range(seeds) for name, n in TRIALS if only in name]
    environment = {**storage.environment(PACKAGES), "seeds": seeds, "texts": texts, "pool": pool}
    storage.write_json(FILE, {"environment": environment})
    with Progress(*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn(), console=console) as p:
        bar = p.add_task("trials", total=len(wanted))
        for name, n, seed in wanted:
            p.update(bar, description=f"{name}, {n} labels, seed {seed}")
            _measure(data / name, n, seed, texts, pool)
            p.advance(bar)
    MEASURED.compact()
    end(write(), console)


@main.command("delivered")
@_measured_on
def run_delivered(data: Path, seeds: int, texts: int, pool: int, only: str) -> None:
    """Run what is missing: few labels of auto with beliefs, beside three times as many random ones."""
    console = Console(stderr=True)
    delivered.measure(data, seeds, texts, pool, only, console)
    end(delivered.write(), console)


@main.command("report")
def write_report() -> None:
    """Write RESULTS.md from what was measured before."""
    end(write() + delivered.write(), Console(stderr=True))


def _measure(folder: Path, n: int, seed: int, texts: int, pool: int) -> None:
    known = MEASURED.read()
    answer = {arms.MAJORITY: arms.majority, arms.PLAIN: arms.plain, arms.TUNED: arms.tuned}
    if n == MANY and folder.name in MAIN:
        answer[arms.DEFAULTS] = arms.defaults
    missing = [arm for arm in answer if (folder.name, n, seed, arm) not in known]
    if not missing:
        return
    trial, own = read_trial(folder, n, seed, texts, pool)
    about = {"set": folder.name, "labels": n, "seed": seed}
    MEASURED.append({**about, "arm": arms.OURS, **own})
    for arm in missing:
        began = time.perf_counter()
        logits, more = answer[arm](trial)
        seconds = round(time.perf_counter() - began, 1)
        MEASURED.append({**about, "arm": arm, **arms.scores(logits, trial), "seconds": seconds, **more})


if __name__ == "__main__":
    main()
