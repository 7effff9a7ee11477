"""How many texts of a rare choice a focus finds: by the choice's name, or by one example."""

import statistics
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from benchmarks.labelled_sets import CACHE, ENCODER, embed_sets
from benchmarks.sections import GOAL_HEADER, Goal, end, table, told, write_section
from benchmarks.storage import Record, environment, write_json
from prepal.learner.memory.words import lexical_vectors
from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.label_names import name_text
from prepal.learning.classifiers.labels import NothingToLearn
from prepal.learning.focus import like, surest
from prepal.learning.numerics.threads import one_blas_thread
from prepal.learning.pool import best
from prepal_workers.encoder.cached import embed
from prepal_workers.simulate.dataset import read

SET, POOL, RARE = "banking77", 4000, 40
LABELS, AUDIT_EVERY = 30, 10
WANTED = 12
# Choices with fewer texts would have the same ones in each trial.
_LEAST_TEXTS = 60
# How the focus is asked for, how many labels there are before it, and whether the choices' names have vectors.
ARMS = {
    "--choice": ("choice", 0, True),
    "--choice, 100 random labels before": ("choice", 100, True),
    "--choice, the names without vectors but this one's": ("choice", 0, False),
    "--like TASK": ("task", 0, True),
    "--like TASK, 100 random labels before": ("task", 100, True),
    "--like TASK, without names": ("task", 0, False),
    "--like WORDS, the choice's name": ("words", 0, True),
    "random": ("random", 0, True),
}
_PACKAGES = ("prepal-label-studio", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Trial:
    """A pool in which one choice is rare.

    Attributes:
        vectors: `(n, d)` float16, as the live loop has them.
        labels: `(n,)` int64.
        names: `(k, d)` float32, of the choices.
        choice: the rare one.
        seed: of all that is drawn.
    """

    vectors: NDArray[np.float16]
    labels: NDArray[np.int64]
    names: NDArray[np.float32]
    choice: int
    seed: int

    @classmethod
    def of(cls, folder: Path, choice: int, seed: int) -> "Trial":
        """Draw a pool of a set's training texts."""
        dataset = read(folder / "train.jsonl", folder / "test.jsonl")
        labels, rng = dataset.train.labels, np.random.default_rng([seed, choice])
        rare = rng.choice(np.flatnonzero(labels == choice), RARE, replace=False)
        others = rng.choice(np.flatnonzero(labels != choice), POOL - RARE, replace=False)
        places = rng.permutation(np.concatenate([rare, others]))
        texts, names = [dataset.train.texts[place] for place in places], [name_text(one) for one in dataset.choices]
        vectors, name_vectors = (
            np.hstack([embed(part, ENCODER, CACHE), words])
            for part, words in zip((texts, names), lexical_vectors(texts, names), strict=True)
        )
        return cls(vectors.astype(np.float16), labels[places], name_vectors, choice, seed)

    def found(self, how: str, earlier: int, has_names: bool) -> int:
        """How many texts of the rare choice have a label after LABELS ones, one in ten of which is drawn at random.

        The example, which is served first, is none of them, nor are those of earlier labels.
        """
        rng = np.random.default_rng([self.seed, self.choice, 1])
        example = int(rng.choice(np.flatnonzero(self.labels == self.choice)))
        others = np.setdiff1d(np.arange(len(self.labels)), [example])
        lot = rng.permutation(others)
        labelled = rng.choice(others, earlier, replace=False)
        learner = ActiveLearner(len(self.names), "auto", name_vectors=self.names if has_names else None)
        query = self.vectors[example].astype(np.float32) if how == "task" else self.names[self.choice]
        for number in range(LABELS):
            pool = np.setdiff1d(np.arange(len(self.labels)), labelled)
            known = self.vectors[labelled].astype(np.float32)
            if how != "random":
                with suppress(NothingToLearn):
                    learner.fit(known, self.labels[labelled], self.vectors[pool])
            if how == "random" or number % AUDIT_EVERY == AUDIT_EVERY - 1:
                chosen = lot[~np.isin(lot, labelled)][:1]
            else:
                is_known = has_names or self.choice in self.labels[labelled]
                chosen = pool[self._first(how, learner, query, pool, len(labelled), example in labelled, is_known)]
            labelled = np.append(labelled, chosen)
        new = labelled[earlier:]
        return int((self.labels[new[new != example]] == self.choice).sum())

    def _first(
        self,
        how: str,
        learner: ActiveLearner,
        query: NDArray[np.float32],
        pool: NDArray[np.int64],
        labels: int,
        is_labelled: bool,
        is_known: bool,
    ) -> NDArray[np.int64]:
        """The first place in the pool, as a round has it (`learner/focusing.py`)."""
        seen = learner.predict_proba(self.vectors[pool])
        if how == "choice" and seen is not None and is_known:
            return surest(seen[:, self.choice], labels, 1)
        belief = None
        if is_labelled:
            belief = np.arange(len(self.names)) == self.choice
        elif how != "choice" and (said := learner.predict_proba(query[None])) is not None:
            belief = said[0]
        return best(like(self.vectors[pool], query, seen, belief), 1)


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--choices", default=10, show_default=True, help="how many choices are the rare one, each in turn")
@click.option("--seeds", default=2, show_default=True, help="trials of each")
@click.option("--jobs", default=2, show_default=True, help="trials at a time, each on a core")
def main(data: Path, choices: int, seeds: int, jobs: int) -> None:
    """Measure; DATA has the folder banking77, with train.jsonl and test.jsonl."""
    console, folder = Console(stderr=True), data / SET
    labels = read(folder / "train.jsonl", folder / "test.jsonl").train.labels
    many = np.flatnonzero(np.bincount(labels) >= _LEAST_TEXTS)
    drawn = np.random.default_rng(0).permutation(many)[:choices].tolist()
    with Progress(console=console) as progress:
        embed_sets(data, CACHE, [SET], progress)
        trials = [(choice, seed) for choice in drawn for seed in range(seeds)]
        done = Parallel(n_jobs=jobs, return_as="generator_unordered")(
            delayed(_measured)(folder, choice, seed) for choice, seed in trials
        )
        rows = [row for of in progress.track(done, total=len(trials), description="focus") for row in of]
    rows.sort(key=lambda row: (row["choice"], row["seed"], list(ARMS).index(row["arm"])))
    stored = {"environment": environment(_PACKAGES), "choices": choices, "seeds": seeds, "rows": rows}
    write_json("focus.json", stored)
    end(write(stored), console)


def _measured(folder: Path, choice: int, seed: int) -> list[Record]:
    with one_blas_thread():
        trial = Trial.of(folder, choice, seed)
        return [{"choice": choice, "seed": seed, "arm": arm, "found": trial.found(*how)} for arm, how in ARMS.items()]


def write(stored: Record) -> list[Goal]:
    """Write the section of RESULTS.md; returns the goals of what was measured."""
    found = {arm: [row["found"] for row in stored["rows"] if row["arm"] == arm] for arm in ARMS}
    goals = [
        Goal(arm, statistics.fmean(found[arm]), WANTED, at_least=True, digits=1)
        for arm in ("--choice", "--choice, 100 random labels before", "--like TASK")
    ]
    rows = [
        [arm, f"{statistics.fmean(of):.1f}", f"{statistics.median(of):g}", str(min(of)), str(max(of))]
        for arm, of in found.items()
    ]
    trials = len(found["random"])
    parts = [
        "## Focus",
        f"`python -m benchmarks.choosing.focus --data FOLDER --choices {stored['choices']}"
        f" --seeds {stored['seeds']}` · {told(stored['environment'], _PACKAGES)}",
        f"Of {POOL:,} texts of {SET} {RARE} have the choice that is asked for, the others one of 76. Found: texts of it"
        f" among {LABELS} labels, every tenth of which is drawn at random, without the example; the classifier learns"
        f" after each label. {trials} trials: {stored['choices']} choices, {stored['seeds']} pools each.",
        table(GOAL_HEADER, [goal.row() for goal in goals]),
        table(["asked for by", "found, mean", "median", "least", "most"], rows),
    ]
    write_section("\n\n".join(parts), "benchmarks.choosing.focus")
    return goals


if __name__ == "__main__":
    main()
