"""What the accuracy curves of the contestants say: areas, and labels needed."""

import statistics
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from benchmarks.choosing.contestants.contestant import OURS, Contestant
from benchmarks.choosing.quality import BUDGET, CURVES, MANY_CLASSES, counts
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


def labels_needed(curves: Curves, who: Contestant, name: str) -> tuple[float, float] | None:
    """Return random labels' accuracy after the last batch, and with how many labels a strategy has it, interpolated."""
    own, random = mean_curve(curves, who, name), mean_curve(curves, RANDOM, name)
    if own is None or random is None:
        return None
    labels = counts(name)
    reached = np.flatnonzero(own >= random[-1])
    if not len(reached):
        return float(random[-1]), float("inf")
    at = int(reached[0])
    if at == 0:
        return float(random[-1]), float(labels[0])
    return float(random[-1]), float(np.interp(random[-1], own[at - 1 : at + 1], labels[at - 1 : at + 1]))


def times_fewer_labels(curves: Curves, who: Contestant) -> float | None:
    """Return the geometric mean over the sets of how many times fewer labels than random a strategy needs."""
    needed = [labels_needed(curves, who, name) for name in SETS]
    if any(one is None for one in needed):
        return None
    # What is not reached counts as reached with the last label.
    return statistics.geometric_mean(BUDGET / min(one[1], BUDGET) for one in needed if one is not None)


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
