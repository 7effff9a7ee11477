"""The model that people take home: of few labels and beliefs, beside one of three times as many random labels."""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from benchmarks.final_model.arms import data_of, scores
from benchmarks.final_model.trials import BATCH, Pool, Trial, read_pool, trial_of
from benchmarks.labelled_sets import ENCODER, SETS
from benchmarks.sections import GOAL_HEADER, Goal, table, told, write_section
from benchmarks.storage import FOLDER, Lines, Record, environment, read_json, write_json
from prepal_workers.final_model.finetune import finetune
from prepal_workers.final_model.predict import Predictor
from prepal_workers.model.word_counts import WORD_COUNTS
from prepal_workers.simulate.experiment import Setting, run

MEASURED = Lines(FOLDER / "delivered.jsonl", ("set", "seed", "arm"))
FILE = "delivered.json"
PACKAGES = ("prepal-label-studio", "torch", "transformers", "accelerate", "numpy", "scikit-learn")
# How many labels of auto on each set; three times as many are drawn at random.
COUNTS = dict.fromkeys(SETS, 100) | {"banking77": 300}
_TIMES = 3
RANDOM, AUTO, WORDS, LIVE = "random, 3 times the labels", "auto, with beliefs", "auto, word-counts", "auto, live"
PICTURE = FOLDER.parents[1] / "docs" / "delivered.png"
_DPI = 144
# Word counts may be so much behind the classifier that teaches them.
_WORDS_BEHIND = -0.03


def measure(data: Path, seeds: int, texts: int, pool: int, only: str, console: Console) -> None:
    """Run what is missing of all sets that have `only` in their name."""
    wanted = [(name, seed) for seed in range(seeds) for name in COUNTS if only in name]
    write_json(FILE, {"environment": {**environment(PACKAGES), "texts": texts, "pool": pool}})
    with Progress(console=console) as progress:
        for name, seed in progress.track(wanted, description="delivered models"):
            known = MEASURED.read()
            if all((name, seed, arm) in known for arm in (RANDOM, AUTO, WORDS, LIVE)):
                continue
            _measure(read_pool(data / name, texts, pool), seed)
    MEASURED.compact()


def _measure(pool: Pool, seed: int) -> None:
    known, count = MEASURED.read(), COUNTS[pool.name]
    rows = list(
        run(Setting("auto", ENCODER, batch_size=BATCH, budget=count, seed=seed, adapt=True), pool.dataset, pool.vectors)
    )
    auto = trial_of(pool, [place for row in rows for place in row["picked"]][:count], seed)
    drawn = np.random.default_rng(seed).permutation(len(pool.texts))[: _TIMES * count]
    about = {"set": pool.name, "seed": seed}
    if (pool.name, seed, LIVE) not in known:
        MEASURED.append({**about, "arm": LIVE, "accuracy": rows[-1]["accuracy"], "macro_f1": rows[-1]["macro_f1"]})
    others = [pool.texts[place] for place in np.setdiff1d(np.arange(len(pool.texts)), auto.picked)]
    for arm, trial, model, unlabelled in (
        (WORDS, auto, WORD_COUNTS, others),
        (AUTO, auto, ENCODER, others),
        (RANDOM, trial_of(pool, drawn.tolist(), seed), ENCODER, []),
    ):
        if (pool.name, seed, arm) not in known:
            MEASURED.append({**about, "arm": arm, **_finetuned(trial, model, unlabelled)})


def _finetuned(trial: Trial, model: str, unlabelled: Sequence[str]) -> Record:
    data = replace(data_of(trial), unlabelled=list(unlabelled))
    encoder = ENCODER if unlabelled else None
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        said = finetune(data, model, Path(folder) / "model", Console(quiet=True), encoder=encoder, seed=trial.seed)
        took = time.perf_counter() - began
        logits = Predictor(Path(folder) / "model").model.logits(trial.tested)
    found: NDArray[np.float32] = np.full((len(trial.tested), len(trial.names)), -1e3, np.float32)
    found[:, [trial.names.index(name) for name in data.label_names]] = logits
    helped = None if said.beliefs is None else said.beliefs.helped
    return {**scores(found, trial), "labels": len(data.texts), "seconds": round(took, 1), "helped": helped}


def write() -> list[Goal]:
    """Write the section of RESULTS.md; returns the goals of what was measured."""
    stored, found = read_json(FILE), MEASURED.read()
    if stored is None or not found:
        return []
    seeds = {
        name: [seed for of, seed, arm in found if of == name and arm == LIVE and _is_whole(found, name, seed)]
        for name in COUNTS
    }
    measured = [name for name, of in seeds.items() if of]
    if not measured:
        return []
    mean = {
        (name, arm): statistics.fmean(found[name, seed, arm]["accuracy"] for seed in seeds[name])
        for name in measured
        for arm in (RANDOM, AUTO, WORDS, LIVE)
    }
    ahead = [mean[name, AUTO] - mean[name, RANDOM] for name in measured]
    words = statistics.fmean(mean[name, WORDS] - mean[name, LIVE] for name in measured)
    goals = [
        Goal(
            f"{AUTO}, above {RANDOM}, of {len(COUNTS)} sets {len(measured)}",
            statistics.fmean(ahead),
            0.0,
            at_least=True,
            digits=4,
        ),
        Goal(
            f"{WORDS}, above {LIVE}, of {len(COUNTS)} sets {len(measured)}",
            words,
            _WORDS_BEHIND,
            at_least=True,
            digits=4,
        ),
    ]
    rows = []
    for name in measured:
        shown = [f"{mean[name, arm]:.3f}" for arm in (RANDOM, AUTO, WORDS, LIVE)]
        helped = sum(bool(found[name, seed, AUTO]["helped"]) for seed in seeds[name])
        seconds = (
            statistics.fmean(found[name, seed, arm]["seconds"] for seed in seeds[name]) for arm in (RANDOM, AUTO)
        )
        rows.append(
            [name, str(COUNTS[name]), *shown, f"{helped} of {len(seeds[name])}", *(f"{s:.0f}" for s in seconds)]
        )
    of = stored["environment"]
    header = ["set", "labels", RANDOM, AUTO, WORDS, LIVE, "beliefs taken", "random, s", "auto, s"]
    parts = [
        "## The model that is delivered",
        f"`python -m benchmarks.final_model delivered --data FOLDER` · {told(of, PACKAGES)}",
        f"Accuracy on the first {of['texts']:,} test texts; pool: the first {of['pool']:,} training texts. `prepal "
        "finetune` of all-MiniLM-L6-v2 on labels that `auto` chose, with an encoder that follows the labels as under "
        "`prepal up`, and on what a teacher believes of the rest of the pool; beside it the same on three times as "
        "many labels drawn at random, and on nothing else. Then "
        "`--model word-counts` from the first, and the live classifier that chose.",
        table(GOAL_HEADER, [goal.row() for goal in goals]),
        table(header, rows),
    ]
    write_section("\n\n".join(parts), "benchmarks.final_model.delivered")
    draw({name: (mean[name, RANDOM], mean[name, AUTO]) for name in measured}, PICTURE)
    return goals


def draw(rows: Mapping[str, tuple[float, float]], path: Path) -> None:
    """Draw what is delivered of few labels beside what three times as many random ones give: accuracies, by set."""
    figure = Figure(figsize=(7, 0.5 + 0.4 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    names = [f"{name}, {COUNTS[name]} labels" for name in rows]
    random, auto = zip(*rows.values(), strict=True)
    places = np.arange(len(rows))[::-1]
    axes.hlines(places, random, auto, color="0.8", zorder=1)
    axes.scatter(random, places, color="0.55", label=RANDOM, zorder=2)
    axes.scatter(auto, places, color="tab:blue", label=AUTO, zorder=3)
    axes.set_yticks(places, names)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("accuracy of the model that is taken home")
    axes.grid(axis="x", color="0.93")
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path, dpi=_DPI, format="png")


def _is_whole(found: dict[tuple[str, int, str], Record], name: str, seed: int) -> bool:
    return all((name, seed, arm) in found for arm in (RANDOM, AUTO, WORDS))
