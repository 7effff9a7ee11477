"""What the accuracy curves of the contestants say: areas, and labels needed."""

import statistics
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from benchmarks.choosing.contestants.contestant import OURS, Contestant
from benchmarks.choosing.quality import BATCH, BUDGET, CURVES, MANY_CLASSES, TAUGHT, counts
from benchmarks.labelled_sets import SETS

RANDOM = Contestant(OURS, "random")
# From so many labels on it is told how far a strategy is above random labels.
WORST_FROM = 50

# (contestant, scored by) → set → seed → accuracies
Curves = dict[tuple[Contestant, str], dict[str, dict[int, list[float]]]]
# (contestant, scored by) → set → seed → area under the accuracy curve
Areas = dict[tuple[Contestant, str], dict[str, dict[int, float]]]


def read_curves() -> Curves:
    """Return all curves that were measured."""
    curves: Curves = defaultdict(lambda: defaultdict(dict))
    for record in CURVES.read().values():
        contestant = Contestant(record["library"], record["strategy"])
        for scored_by in ("plain", "ours"):
            if scored_by in record:
                curves[contestant, scored_by][record["set"]][record["seed"]] = record[scored_by]
    return curves


def areas_under(curves: Curves) -> Areas:
    """Return the area under each of the curves."""
    return {
        who: {name: {seed: area(curve) for seed, curve in of.items()} for name, of in sets.items()}
        for who, sets in curves.items()
    }


def area(curve: list[float]) -> float:
    """Return the mean height of an accuracy curve, by the trapezoidal rule."""
    return float(np.trapezoid(curve) / (len(curve) - 1))


def mean_curve(curves: Curves, who: Contestant, name: str) -> NDArray[np.float64] | None:
    """Return accuracies `(p,)` after each batch with our classifier, mean over the seeds; None without any."""
    of = curves.get((who, "ours"), {}).get(name, {})
    return np.mean(list(of.values()), axis=0) if of else None


def least_above_random(curves: Curves, who: Contestant) -> tuple[float, str, int] | None:
    """Return where a strategy is least above random labels: by how much, on which set, after how many labels."""
    found = []
    for name in (*SETS, MANY_CLASSES):
        own, random = mean_curve(curves, who, name), mean_curve(curves, RANDOM, name)
        if own is None or random is None:
            if name in SETS:
                return None
            continue
        labels = np.array(counts(name))
        above = np.where(labels >= WORST_FROM, own - random, np.inf)
        found.append((float(above.min()), name, int(labels[above.argmin()])))
    return min(found)


def successors(who: Contestant) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return how accurate models are that learn from the labels alone which somebody acquired.

    Returns:
        Of each set and successor, plain or words, accuracies `(2,)` after 100 and 300 labels, means over the seeds.
    """
    found: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for record in CURVES.read().values():
        if Contestant(record["library"], record["strategy"]) == who and record.get("words") and "plain" in record:
            found[record["set"]]["plain"].append([record["plain"][count // BATCH - 1] for count in TAUGHT])
            found[record["set"]]["words"].append(record["words"])
    return {name: {of: np.mean(runs, axis=0) for of, runs in by.items()} for name, by in found.items()}


def labels_needed(curves: Curves, who: Contestant, name: str, wanted: float | None = None) -> float | None:
    """Return with how many labels a strategy has an accuracy, interpolated; by default random's after the last."""
    own, random = mean_curve(curves, who, name), mean_curve(curves, RANDOM, name)
    if own is None or random is None:
        return None
    wanted = float(random[-1]) if wanted is None else wanted
    labels = counts(name)
    reached = np.flatnonzero(own >= wanted)
    if not len(reached):
        return float("inf")
    at = int(reached[0])
    if at == 0:
        return float(labels[0])
    return float(np.interp(wanted, own[at - 1 : at + 1], labels[at - 1 : at + 1]))


def times_fewer_labels(curves: Curves, who: Contestant, wanted: dict[str, float] | None = None) -> float | None:
    """Return the geometric mean over the sets of how many times fewer labels than random a strategy needs.

    `wanted` is what random labels reached with another classifier after the last batch, by set.
    """
    needed = [labels_needed(curves, who, name, wanted and wanted[name]) for name in SETS]
    # What is not reached counts as reached with the last label.
    told = [BUDGET / min(one, BUDGET) for one in needed if one is not None]
    return statistics.geometric_mean(told) if len(told) == len(SETS) else None


def own_scorer(contestant: Contestant) -> str:
    """Return whose classifier belongs to a strategy: a column of results/quality.jsonl."""
    return "ours" if contestant.library == OURS else "plain"


def mean_area(of: dict[str, dict[int, float]]) -> float:
    """Return the mean area of all sets, from set → seed → area."""
    return statistics.fmean(statistics.fmean(of[name].values()) for name in SETS)


def standard_error(of: dict[str, dict[int, float]]) -> float | None:
    """Return the standard error of that mean over the seeds."""
    shared = set.intersection(*(set(of[name]) for name in SETS))
    if len(shared) < 2:
        return None
    means = [statistics.fmean(of[name][seed] for name in SETS) for seed in shared]
    return statistics.stdev(means) / len(means) ** 0.5


def is_complete(of: dict[str, dict[int, float]]) -> bool:
    """Return whether every set was measured."""
    return all(of.get(name) for name in SETS)
