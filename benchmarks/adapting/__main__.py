"""Compares the live loop whose encoder follows the labels with the one whose encoder stays as it is."""

import statistics
from pathlib import Path

import click
from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import Progress

from benchmarks.adapting import live, memory
from benchmarks.final_model.trials import read_pool
from benchmarks.labelled_sets import ENCODER, SETS
from benchmarks.sections import GOAL_HEADER, Goal, end, table, told, write_section
from benchmarks.storage import FOLDER, Lines, Record, environment, read_json, write_json
from prepal_workers.simulate.experiment import Setting, run

MEASURED = Lines(FOLDER / "adapting.jsonl", ("set", "seed", "adapt"))
LIVE = Lines(FOLDER / "adapting-live.jsonl", ("set",))
FILE, MEMORY = "adapting.json", "adapting-memory.json"
PACKAGES = ("prepal-label-studio", "torch", "transformers", "numpy", "scikit-learn")
BUDGET, BATCH = 300, 10
# Curves are compared from here on; encoders are adapted from here on, too.
_FROM = 50
_SHOWN = (50, 100, 200, 300)


@click.group()
def main() -> None:
    """What was measured before is kept: delete results/adapting.jsonl after a change of the recipe."""


@main.command("run")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--sets", default=",".join(SETS), show_default=True, help="which sets, separated by commas")
@click.option("--seeds", default=3, show_default=True, help="of choosing and of training, on each set")
@click.option("--texts", default=1000, show_default=True, help="of the test set that are measured on: the first ones")
@click.option("--pool", default=3000, show_default=True, help="texts to choose from: the first ones")
@click.option("--jobs", default=2, show_default=True, help="experiments at a time, each on a core")
def run_all(data: Path, sets: str, seeds: int, texts: int, pool: int, jobs: int) -> None:
    """Run what is missing; DATA has a folder for each set, with train.jsonl and test.jsonl."""
    console = Console(stderr=True)
    known = MEASURED.read()
    arms = [(name, seed, adapt) for seed in range(seeds) for name in sets.split(",") for adapt in (False, True)]
    missing = [arm for arm in arms if arm not in known]
    write_json(FILE, {"environment": {**environment(PACKAGES), "texts": texts, "pool": pool}})
    with Progress(console=console) as progress:
        done = Parallel(n_jobs=jobs, return_as="generator_unordered")(
            delayed(_measure)(data / name, seed, adapt, texts, pool) for name, seed, adapt in missing
        )
        for record in progress.track(done, total=len(missing), description="adapted encoders"):
            MEASURED.append(record)
    MEASURED.compact()
    end(write(), console)


@main.command("live")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--sets", default="trec6,banking77", show_default=True, help="which sets, separated by commas")
@click.option("--pause", default=4.0, show_default=True, help="seconds from one label to the next")
def run_live(data: Path, sets: str, pause: float) -> None:
    """Label in a real Label Studio, with nothing else on the machine, until an adapted encoder ranks."""
    console = Console(stderr=True)
    for name in sets.split(","):
        LIVE.append(live.run(data / name, pause, console) | {"environment": environment(PACKAGES)})
    LIVE.compact()
    end(write(), console)


@main.command("memory")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
def run_memory(data: Path) -> None:
    """Adapt an encoder of a small and of a large project, and look how much memory that takes."""
    write_json(MEMORY, {"environment": environment(PACKAGES), "measured": memory.run(data / "trec6")})
    end(write(), Console(stderr=True))


@main.command("report")
def report() -> None:
    """Write RESULTS.md from what was measured before."""
    end(write(), Console(stderr=True))


def write() -> list[Goal]:
    """Write the section of RESULTS.md; returns the goals of what was measured."""
    stored, found = read_json(FILE), MEASURED.read()
    pairs = sorted((name, seed) for name, seed, adapt in found if adapt and (name, seed, False) in found)
    if stored is None or not pairs:
        return []
    names = [name for name in SETS if any(name == of for of, _ in pairs)]
    seeds = {name: [seed for of, seed in pairs if of == name] for name in names}

    def mean(name: str, labels: int, *, adapt: bool) -> float:
        return statistics.fmean(found[name, seed, adapt]["accuracy"][str(labels)] for seed in seeds[name])

    def area(name: str, *, adapt: bool) -> float:
        return statistics.fmean(mean(name, labels, adapt=adapt) for labels in range(BATCH, BUDGET + 1, BATCH))

    worst = min(
        mean(name, labels, adapt=True) - mean(name, labels, adapt=False)
        for name in names
        for labels in range(_FROM, BUDGET + 1, BATCH)
    )
    whole = statistics.fmean(area(name, adapt=True) for name in names)
    goals = [
        Goal(f"mean area of {len(names)} sets, adapted", whole, 0.84, at_least=True, digits=4),
        Goal(f"worst point from {_FROM} labels on, against frozen", worst, -0.005, at_least=True, digits=4),
    ]
    if "trec6" in names:
        goals += [
            Goal(
                f"trec6 at {labels} labels, adapted", mean("trec6", labels, adapt=True), wanted, at_least=True, digits=3
            )
            for labels, wanted in ((100, 0.88), (300, 0.93))
        ]
    rows = [
        [
            name,
            str(len(seeds[name])),
            *(f"{area(name, adapt=adapt):.4f}" for adapt in (False, True)),
            *(f"{mean(name, n, adapt=False):.3f} → {mean(name, n, adapt=True):.3f}" for n in _SHOWN),
            ", ".join(sorted({str(n) for seed in seeds[name] for n in found[name, seed, True]["adapted"]}, key=int)),
            f"{statistics.fmean(found[name, seed, True]['seconds'] for seed in seeds[name]):.0f}",
        ]
        for name in names
    ]
    of = stored["environment"]
    header = ["set", "seeds", "area, frozen", "area, adapted", *(f"at {n}" for n in _SHOWN), "adapted at", "seconds"]
    parts = [
        "## The encoder follows the labels",
        f"`python -m benchmarks.adapting run --data FOLDER` · {told(of, PACKAGES)}",
        f"Accuracy of the live classifier on the first {of['texts']:,} test texts; pool: the first {of['pool']:,} "
        f"training texts, `auto` with names, batches of {BATCH}. Frozen: all-MiniLM-L6-v2 as it is. Adapted: trained "
        "on the labels so far by the rule and the code of `prepal worker adapt`, and all texts embedded anew. Area: "
        f"mean accuracy from {BATCH} to {BUDGET} labels. Seconds: of one core, for all fits, trainings, choices and "
        "embeddings of the pool.",
        table(header, rows),
    ]
    if lived := list(LIVE.read().values()):
        goals += [goal for one in lived for goal in live.goals(one)]
        parts.append(live.section(lived))
    if remembered := read_json(MEMORY):
        parts.append(memory.section(remembered["measured"]))
    parts.insert(3, table(GOAL_HEADER, [goal.row() for goal in goals]))
    write_section("\n\n".join(parts), "benchmarks.adapting")
    return goals


def _measure(folder: Path, seed: int, adapt: bool, texts: int, pool: int) -> Record:
    import torch

    torch.set_num_threads(1)
    read = read_pool(folder, texts, pool)
    setting = Setting("auto", ENCODER, batch_size=BATCH, budget=BUDGET, seed=seed, adapt=adapt)
    rows = list(run(setting, read.dataset, read.vectors))
    return {
        "set": folder.name,
        "seed": seed,
        "adapt": adapt,
        "accuracy": {str(row["labels"]): row["accuracy"] for row in rows},
        "adapted": sorted({row["adapted"] for row in rows if row.get("adapted")}),
        "seconds": round(sum(row["fit_s"] + row["rank_s"] for row in rows), 1),
    }


if __name__ == "__main__":
    main()
