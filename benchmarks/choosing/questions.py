"""Two questions about the same texts: whose strategy picks the next one, and what that is worth to both classifiers."""

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import click
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from benchmarks.labelled_sets import CACHE, ENCODER, TextSet, embed_sets, read_set
from benchmarks.sections import GOAL_HEADER, Goal, end, table, told, write_section
from benchmarks.storage import Record, environment, write_json
from prepal.learner.memory.words import lexical_vectors
from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.label_names import name_text
from prepal.learning.classifiers.labels import NothingToLearn
from prepal.learning.numerics.threads import one_blas_thread
from prepal.learning.questions import need
from prepal_workers.encoder.cached import embed

POOL, BATCH, BUDGET = 3000, 4, 300
LOSS = -0.005
_TOPICS = ("card", "transfer", "top", "exchange", "cash", "refund", "pin", "verif", "account", "fee")
_PACKAGES = ("prepal-label-studio", "numpy", "scikit-learn")


def _fine(row: Record) -> str:
    return str(row["fine"])


def _topic(row: Record) -> str:
    return next((topic for topic in _TOPICS if topic in row["label"].lower()), "other")


# The second question of each set that has one: what rows say besides, and which part of the bank an intent is about.
SECOND: dict[str, Callable[[Record], str]] = {"trec6": _fine, "banking77": _topic}


def _first_alone(_: list[float], __: int) -> NDArray[np.int64]:
    return np.zeros(BATCH, np.int64)


def _second_alone(_: list[float], __: int) -> NDArray[np.int64]:
    return np.ones(BATCH, np.int64)


def _in_turns(_: list[float], labels: int) -> NDArray[np.int64]:
    return (labels + np.arange(BATCH)) % 2


def _by_need(needs: list[float], labels: int) -> NDArray[np.int64]:
    # Multiples of the golden section are spread evenly, so that each question picks as often as its share.
    ends, at = np.cumsum(needs) / sum(needs), ((np.sqrt(5) - 1) / 2 * (labels + np.arange(BATCH))) % 1.0
    return np.minimum(np.searchsorted(ends, at, side="right"), len(needs) - 1)


def _most_needed(needs: list[float], _: int) -> NDArray[np.int64]:
    return np.full(BATCH, int(np.argmax(needs)))


ARMS = {
    "the first one alone": _first_alone,
    "the second one alone": _second_alone,
    "in turns": _in_turns,
    "each as often as it needs it": _by_need,
    "the one that needs it most (ours)": _most_needed,
}
OURS, TURNS = "the one that needs it most (ours)", "in turns"


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--sets", default=",".join(SECOND), show_default=True, help="which sets, separated by commas")
@click.option("--seeds", default=3, show_default=True, help="of choosing")
@click.option("--jobs", default=2, show_default=True, help="experiments at a time, each on a core")
def main(data: Path, sets: str, seeds: int, jobs: int) -> None:
    """Measure; DATA has a folder for each set, with train.jsonl and test.jsonl."""
    console, names = Console(stderr=True), sets.split(",")
    runs = [(name, arm, seed) for name in names for arm in ARMS for seed in range(seeds)]
    with Progress(console=console) as progress:
        embed_sets(data, CACHE, names, progress)
        done = Parallel(n_jobs=jobs, return_as="generator_unordered")(
            delayed(_measured)(data / name, arm, seed) for name, arm, seed in runs
        )
        rows = list(progress.track(done, total=len(runs), description="questions"))
    stored = {"environment": environment(_PACKAGES), "seeds": seeds, "rows": rows}
    write_json("questions.json", stored)
    end(write(stored), console)


def _measured(folder: Path, arm: str, seed: int) -> Record:
    with one_blas_thread():
        curve = dict(_curve(folder, ARMS[arm], seed))
    return {"set": folder.name, "arm": arm, "seed": seed, "accuracy": {str(n): of for n, of in curve.items()}}


class _Question:
    """One question: its labels, and the learner of its own."""

    def __init__(self, texts: TextSet, train: list[str], test: list[str]) -> None:
        choices = sorted({*train, *test})
        names = [name_text(choice) for choice in choices]
        _, beside = lexical_vectors(list(texts.texts), names)
        vectors = np.hstack([embed(names, ENCODER, CACHE), beside])
        self.truth = np.array([choices.index(label) for label in train], np.int64)
        self._test = np.array([choices.index(label) for label in test], np.int64)
        self._test_vectors = texts.hybrid_test
        self.learner = ActiveLearner(len(choices), "auto", name_vectors=vectors)

    def right(self) -> float:
        believed = self.learner.predict_proba(self._test_vectors)
        return 0.0 if believed is None else float((believed.argmax(axis=1) == self._test).mean())


def _curve(
    folder: Path, turn: Callable[[list[float], int], NDArray[np.int64]], seed: int
) -> Iterator[tuple[int, tuple[float, float]]]:
    """How many of the test texts each classifier is right about, by the number of labels."""
    texts = read_set(folder, CACHE)
    train, test = ([json.loads(line) for line in (folder / f"{part}.jsonl").open()] for part in ("train", "test"))
    second = SECOND[folder.name]
    asked = [
        _Question(texts, [of(row) for row in train], [of(row) for row in test])
        for of in (lambda row: str(row["label"]), second)
    ]
    draw = np.random.default_rng(seed)
    # Another seed has another pool, as nothing else differs between two runs.
    places = draw.permutation(len(train))[:POOL]
    vectors = texts.hybrid.vectors[places].astype(np.float16)
    labelled: NDArray[np.int64] = np.empty(0, np.int64)
    for count in range(0, BUDGET + 1, BATCH):
        pool = np.setdiff1d(np.arange(len(places)), labelled)
        picks, needs = [], []
        for one in asked:
            with suppress(NothingToLearn):
                one.learner.fit(vectors[labelled].astype(np.float32), one.truth[places[labelled]], vectors[pool])
            believed = one.learner.predict_proba(vectors[pool])
            sure = np.full(len(pool), np.nan, np.float32) if believed is None else believed.max(axis=1)
            needs.append(need(sure, np.ones(len(pool), bool)))
            picks.append(pool[one.learner.select(vectors[pool], BATCH, np.random.default_rng(seed), believed)])
        yield count, (asked[0].right(), asked[1].right())
        labelled = np.append(labelled, _merged(picks, turn(needs, count)))


def _merged(picks: Sequence[NDArray[np.int64]], turn: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the picks of all questions as one order, each text once.

    Args:
        picks: of each question, the best first; one that has none left leaves its place to the next one.
        turn: `(n,)`, which question picks for each place.
    """
    waiting = [list(dict.fromkeys(own.tolist()))[::-1] for own in picks]
    found: dict[int, None] = {}
    for first in turn.tolist():
        for own in (*waiting[first:], *waiting[:first]):
            while own and own[-1] in found:
                own.pop()
            if own:
                found[own.pop()] = None
                break
    return np.array(list(found), np.int64)


def write(stored: Record) -> list[Goal]:
    """Write the section of RESULTS.md; returns the goals of what was measured."""
    names = list(dict.fromkeys(row["set"] for row in stored["rows"]))
    counts = [str(count) for count in range(0, BUDGET + 1, BATCH)]

    def areas(name: str, arm: str) -> list[tuple[float, float]]:
        """Mean accuracy of both questions up to the budget, of each seed."""
        of = [row["accuracy"] for row in stored["rows"] if (row["set"], row["arm"]) == (name, arm)]
        return [(_mean(one, counts, 0), _mean(one, counts, 1)) for one in of]

    def both(name: str, arm: str) -> float:
        return statistics.fmean(sum(pair) / 2 for pair in areas(name, arm))

    goals = [
        Goal(f"{name}, both: the one that needs it most against turns", both(name, OURS) - both(name, TURNS), LOSS,
             at_least=True, digits=4)
        for name in names
    ]  # fmt: skip
    rows = []
    for name in names:
        for arm in ARMS:
            pairs = areas(name, arm)
            error = statistics.stdev(sum(pair) / 2 for pair in pairs) / len(pairs) ** 0.5 if len(pairs) > 1 else 0.0
            each = [f"{statistics.fmean(pair[at] for pair in pairs):.3f}" for at in (0, 1)]
            rows.append([name, arm, *each, f"{both(name, arm):.4f} ± {error:.4f}"])
    parts = [
        "## Several questions",
        f"`python -m benchmarks.choosing.questions --data FOLDER --sets {','.join(names)} --seeds {stored['seeds']}` · "
        f"{told(stored['environment'], _PACKAGES)}",
        f"Two questions about the same texts, each label answers both: mean accuracy on the test texts up to {BUDGET}"
        f" labels. trec6: coarse and fine classes; banking77: intents and parts of the bank. Pool: {POOL:,} training"
        f" texts, another one for each of {stored['seeds']} seeds; `auto` with names, batches of {BATCH}.",
        table(GOAL_HEADER, [goal.row() for goal in goals]),
        table(["set", "who picks", "first question", "second", "both"], rows, 2),
    ]
    write_section("\n\n".join(parts), "benchmarks.choosing.questions")
    return goals


def _mean(accuracy: Record, counts: list[str], question: int) -> float:
    return statistics.fmean(accuracy[count][question] for count in counts)


if __name__ == "__main__":
    main()
