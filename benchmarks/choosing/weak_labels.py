"""What imported predictions, right or wrong, are worth to the live classifier beside the names of the choices."""

import statistics
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from benchmarks.choosing.contestants.ours import Own
from benchmarks.labelled_sets import CACHE, SETS, TextSet, embed_sets, read_set
from benchmarks.sections import GOAL_HEADER, Goal, end, table, told, write_section
from benchmarks.storage import Record, environment, write_json
from benchmarks.texts import Texts
from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.weak_labels import WeakLabels
from prepal.learning.numerics.threads import one_blas_thread
from prepal.learning.weakly_taught import WeaklyTaught

POOL, BATCH, BUDGET = 3000, 5, 100
SHOWN = (0, 10, 30, 50, 100)
RIGHT = 0.7
GAIN, LOSS = 0.2, -0.005
# What is predicted, and whether the choices have their names.
ARMS = {
    "neither": ("", False),
    "names": ("", True),
    "predictions": ("right", False),
    "names and predictions": ("right", True),
    "names and shuffled ones": ("shuffled", True),
    "names and always wrong ones": ("wrong", True),
}
_PACKAGES = ("prepal-label-studio", "numpy", "scikit-learn")


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--sets", default=",".join(SETS), show_default=True, help="which sets, separated by commas")
@click.option("--seeds", default=3, show_default=True, help="of predictions and of choosing")
@click.option("--jobs", default=2, show_default=True, help="experiments at a time, each on a core")
def main(data: Path, sets: str, seeds: int, jobs: int) -> None:
    """Measure; DATA has a folder for each set, with train.jsonl and test.jsonl."""
    console, names = Console(stderr=True), sets.split(",")
    arms = [(name, arm, seed) for name in names for arm in ARMS for seed in range(seeds)]
    with Progress(console=console) as progress:
        embed_sets(data, CACHE, names, progress)
        done = Parallel(n_jobs=jobs, return_as="generator_unordered")(
            delayed(_measured)(data / name, arm, seed) for name, arm, seed in arms
        )
        rows = list(progress.track(done, total=len(arms), description="weak labels"))
    stored = {"environment": environment(_PACKAGES), "seeds": seeds, "rows": rows}
    write_json("weak-labels.json", stored)
    end(write(stored), console)


def _measured(folder: Path, arm: str, seed: int) -> Record:
    with one_blas_thread():
        curve = dict(_curve(read_set(folder, CACHE), *ARMS[arm], seed))
    return {"set": folder.name, "arm": arm, "seed": seed, "accuracy": {str(n): round(of, 4) for n, of in curve.items()}}


def _curve(texts: TextSet, predicts: str, has_names: bool, seed: int) -> Iterator[tuple[int, float]]:
    """How many of the test texts are right, by the number of labels."""
    k, truth = texts.hybrid.n_classes, texts.train_labels[:POOL]
    vectors = texts.hybrid.vectors[:POOL].astype(np.float16)
    names = texts.hybrid.name_vectors if has_names else None
    learner = ActiveLearner(k, "auto", name_vectors=names)
    if predicts:
        said = _predicted(predicts, truth, k, np.random.default_rng(seed))
        learner = WeaklyTaught(k, "auto", WeakLabels(vectors, said), names)
    chooser = Own(Texts(vectors.copy(), k), learner, seed)
    labelled: NDArray[np.int64] = np.empty(0, np.int64)
    for count in range(0, BUDGET + 1, BATCH):
        chosen = chooser.choose(labelled, truth[labelled], BATCH)
        believed = learner.predict_proba(texts.hybrid_test)
        # Who knows nothing says the same of all texts.
        guess = np.zeros(len(texts.test_labels), np.int64) if believed is None else believed.argmax(axis=1)
        yield count, float((guess == texts.test_labels).mean())
        labelled = np.append(labelled, chosen)


def _predicted(how: str, truth: NDArray[np.int64], k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    other = (truth + rng.integers(1, k, len(truth))) % k
    if how == "wrong":
        return (truth + 1) % k
    said = np.where(rng.random(len(truth)) < RIGHT, truth, other)
    return rng.permutation(said) if how == "shuffled" else said


def write(stored: Record) -> list[Goal]:
    """Write the section of RESULTS.md; returns the goals of what was measured."""
    names = list(dict.fromkeys(row["set"] for row in stored["rows"]))

    def mean(name: str, arm: str, labels: int) -> float:
        of = (row for row in stored["rows"] if (row["set"], row["arm"]) == (name, arm))
        return statistics.fmean(row["accuracy"][str(labels)] for row in of)

    first, later = range(0, 50 + 1, BATCH), range(30, BUDGET + 1, BATCH)
    goals = []
    if "ag_news" in names:
        gain = statistics.fmean(mean("ag_news", "predictions", n) - mean("ag_news", "neither", n) for n in first)
        goals.append(Goal("ag_news, first 50 labels: predictions against nothing", gain, GAIN, at_least=True, digits=3))
    for name in names:
        loss = statistics.fmean(mean(name, "names and shuffled ones", n) - mean(name, "names", n) for n in later)
        goals.append(Goal(f"{name}, from 30 labels on: shuffled ones", loss, LOSS, at_least=True, digits=3))
    rows = [[name, arm, *(f"{mean(name, arm, n):.3f}" for n in SHOWN)] for name in names for arm in ARMS]
    parts = [
        "## Imported predictions",
        f"`python -m benchmarks.choosing.weak_labels --data FOLDER` · {told(stored['environment'], _PACKAGES)}",
        f"Accuracy on the test texts; pool: the first {POOL:,} training texts, each with a prediction; `auto`, batches"
        f" of {BATCH}, {stored['seeds']} seeds. Predictions are right for {RIGHT:.0%} of the texts, or these in another"
        " order (shuffled), or never right.",
        table(GOAL_HEADER, [goal.row() for goal in goals]),
        table(["set", "from", *(f"{n} labels" for n in SHOWN)], rows, 2),
    ]
    write_section("\n\n".join(parts), "benchmarks.choosing.weak_labels")
    return goals


if __name__ == "__main__":
    main()
