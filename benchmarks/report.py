"""Writes RESULTS.md from what was measured."""

import statistics
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from benchmarks import paper, quality, results, speed
from benchmarks.contestants import MISLED, OURS, WITH_NAMES, Contestant
from benchmarks.labelled_sets import SETS
from benchmarks.results import GOAL_HEADER, Goal, Record, table, told

_AUTO, _AUTO_NAMES, _AUTO_MISLED = (Contestant(OURS, name) for name in ("auto", WITH_NAMES, MISLED))
_RANDOM = Contestant(OURS, "random")
_AUTOS = (_AUTO, _AUTO_NAMES, _AUTO_MISLED)
_WITHOUT_NAMES, _WITH_NAMES, _MANY_CLASSES_WITH_NAMES = 0.780, 0.800, 0.72
_MANY_CLASSES_LABELS = 77
_TIMES_FEWER_LABELS = 2.2
# From so many labels on no default may be more than so much below random labels.
_WORST_FROM, _WORST = 50, -0.005
_SHOWN_AT = (10, 50, 77, 100, 200, 300, 1000)

# (contestant, scored by) → set → seed → accuracies
Curves = dict[tuple[Contestant, str], dict[str, dict[int, list[float]]]]
# (contestant, scored by) → set → seed → area under the accuracy curve
Areas = dict[tuple[Contestant, str], dict[str, dict[int, float]]]


def write() -> list[Goal]:
    """Write RESULTS.md; returns the goals of what was measured."""
    curves, parts, goals = _curves(), [], []
    if curves:
        goals += _quality_goals(curves)
        parts.append(_quality(curves))
    stored = results.read_json(speed.FILE)
    if stored:
        goals += speed.goals(stored)
        parts.append(_speed(stored))
    claims = results.read_json(paper.FILE)
    if claims:
        goals += paper.goals(claims)
        parts.append(paper.section(claims))
    results.write_section("\n\n".join(parts))
    return goals


def _curves() -> Curves:
    curves: Curves = defaultdict(lambda: defaultdict(dict))
    for record in quality.CURVES.read().values():
        contestant = Contestant(record["library"], record["strategy"])
        for scored_by in ("plain", "ours"):
            if scored_by in record:
                curves[contestant, scored_by][record["set"]][record["seed"]] = record[scored_by]
    return curves


def _areas(curves: Curves) -> Areas:
    return {
        who: {name: {seed: quality.area(curve) for seed, curve in of.items()} for name, of in sets.items()}
        for who, sets in curves.items()
    }


def _mean_curve(curves: Curves, who: Contestant, name: str) -> NDArray[np.float64] | None:
    """Accuracies `(p,)` after each batch with our classifier, mean over the seeds; None where nothing was measured."""
    of = curves.get((who, "ours"), {}).get(name, {})
    return np.mean(list(of.values()), axis=0) if of else None


def _worst(curves: Curves, who: Contestant) -> tuple[float, str, int] | None:
    """Where a strategy is least above random labels: by how much, on which set, after how many labels."""
    found = []
    for name in (*SETS, quality.MANY_CLASSES):
        own, random = _mean_curve(curves, who, name), _mean_curve(curves, _RANDOM, name)
        if own is None or random is None:
            if name in SETS:
                return None
            continue
        labels = np.array(quality.counts(name))
        above = np.where(labels >= _WORST_FROM, own - random, np.inf)
        found.append((float(above.min()), name, int(labels[above.argmin()])))
    return min(found)


def _labels_needed(curves: Curves, who: Contestant, name: str) -> tuple[float, float] | None:
    """Random labels' accuracy after the last batch, and after how many labels a strategy has it; interpolated."""
    own, random = _mean_curve(curves, who, name), _mean_curve(curves, _RANDOM, name)
    if own is None or random is None:
        return None
    labels = quality.counts(name)
    reached = np.flatnonzero(own >= random[-1])
    if not len(reached):
        return float(random[-1]), float("inf")
    at = int(reached[0])
    if at == 0:
        return float(random[-1]), float(labels[0])
    return float(random[-1]), float(np.interp(random[-1], own[at - 1 : at + 1], labels[at - 1 : at + 1]))


def _times_fewer(curves: Curves, who: Contestant) -> float | None:
    """The geometric mean over the sets of how many times fewer labels than random a strategy needs."""
    needed = [_labels_needed(curves, who, name) for name in SETS]
    if any(one is None for one in needed):
        return None
    # What is not reached counts as reached with the last label.
    return statistics.geometric_mean(quality.BUDGET / min(one[1], quality.BUDGET) for one in needed if one is not None)


def _own(contestant: Contestant) -> str:
    """Return whose classifier belongs to a strategy: a column of results/quality.jsonl."""
    return "ours" if contestant.library == OURS else "plain"


def _mean(of: dict[str, dict[int, float]]) -> float:
    return statistics.fmean(statistics.fmean(of[name].values()) for name in SETS)


def _error(of: dict[str, dict[int, float]]) -> float | None:
    """The standard error of that mean over the seeds."""
    shared = set.intersection(*(set(of[name]) for name in SETS))
    if len(shared) < 2:
        return None
    means = [statistics.fmean(of[name][seed] for name in SETS) for seed in shared]
    return statistics.stdev(means) / len(means) ** 0.5


def _is_complete(of: dict[str, dict[int, float]]) -> bool:
    return all(of.get(name) for name in SETS)


def _quality_goals(curves: Curves) -> list[Goal]:
    """None before the default and a peer have been through every set."""
    areas = {who: of for who, of in _areas(curves).items() if _is_complete(of)}
    peers = [_mean(of) for (who, by), of in areas.items() if who.library != OURS and by == _own(who)]
    if not peers or not all((who, "ours") in areas for who in (_AUTO, _AUTO_NAMES)):
        return []
    best_peer = max(peers)
    auto, auto_names = _mean(areas[_AUTO, "ours"]), _mean(areas[_AUTO_NAMES, "ours"])
    goals = [
        Goal("auto without names, mean area", auto, _WITHOUT_NAMES, at_least=True, digits=4),
        Goal("auto with names, mean area", auto_names, _WITH_NAMES, at_least=True, digits=4),
        Goal("auto without names, against the best strategy of a peer", auto, best_peer, at_least=True, digits=4),
    ]
    many = _mean_curve(curves, _AUTO_NAMES, quality.MANY_CLASSES)
    if many is not None:
        reached = float(np.interp(_MANY_CLASSES_LABELS, quality.counts(quality.MANY_CLASSES), many))
        what = f"auto with names, {quality.MANY_CLASSES} at {_MANY_CLASSES_LABELS} labels"
        goals.append(Goal(what, reached, _MANY_CLASSES_WITH_NAMES, at_least=True, digits=4))
    for who in _AUTOS:
        worst = _worst(curves, who)
        if worst:
            what = f"{who.strategy}: least above random, from {_WORST_FROM} labels on ({worst[1]} at {worst[2]})"
            goals.append(Goal(what, worst[0], _WORST, at_least=True, digits=4))
    for who in (_AUTO, _AUTO_NAMES):
        fewer = _times_fewer(curves, who)
        if fewer:
            what = f"{who.strategy}: times fewer labels for what random reaches at {quality.BUDGET}"
            goals.append(Goal(what, fewer, _TIMES_FEWER_LABELS, at_least=True))
    return goals


def _quality(curves: Curves) -> str:
    stored = results.read_json("quality.json")
    assert stored is not None
    areas = _areas(curves)
    ranked = sorted(
        ((who, areas[who, _own(who)]) for who, by in areas if by == "plain"),
        key=lambda one: -_mean(one[1]) if _is_complete(one[1]) else 0.0,
    )
    goals = _quality_goals(curves)
    seeds = sorted({len(of[name]) for _, of in ranked for name in SETS if of.get(name)})
    seeds_told = f"{seeds[0]} to {seeds[-1]}" if seeds[0] < seeds[-1] else str(seeds[0])
    parts = [
        "## Choosing: accuracy against labels",
        f"`make bench DATA=FOLDER`, or of it `python -m benchmarks.choosing quality --data FOLDER --seeds "
        f"{stored['seeds']}` · {told(stored['environment'])}",
        f"Area under the test accuracy from {quality.BATCH} to {quality.BUDGET} labels, in batches of {quality.BATCH}; "
        f"mean over {seeds_told} seeds of each set and over the sets, ± the standard error over the seeds. Vectors of "
        "all-MiniLM-L6-v2. Every strategy is scored with the classifier of its library: the peers' with scikit-learn's "
        "LogisticRegression(C=10). In bold, the best of each set.",
    ]
    if goals:
        parts.append(table(GOAL_HEADER, [goal.row() for goal in goals]))
    parts += [_ranking(ranked), "### Where a peer wins", _peers_ahead(ranked)]
    parts += [
        "### Labels needed",
        f"For the accuracy that random labels reach after {quality.BUDGET}, both with our classifier; means over the "
        "seeds, interpolated between batches.",
        _needed(curves),
        f"### Against random labels at every point, and {quality.MANY_CLASSES}",
        "Accuracy with our classifier; with misleading names every name stands at another class. In brackets, how far "
        f"above random at the worst point from {_WORST_FROM} labels on.",
        _points(curves),
    ]
    parts += [
        "### Choosing and classifier told apart",
        "The same labels, scored by both classifiers: scikit-learn's, and ours without names. What a strategy owes to "
        "choosing shows down a column, what it owes to the classifier along a row.",
        _apart(areas),
    ]
    left_out = quality.left_out()
    if left_out:
        parts += [
            "### Left out",
            f"A strategy takes part if it chooses {quality.BATCH} of 10,000 texts (6 classes, 100 labels) within "
            f"{quality.LIMIT_S:.0f} s of one core.",
            table(["strategy", "why"], [[name, why] for name, why in left_out.items()], text_columns=2),
        ]
    return "\n\n".join(parts)


def _needed(curves: Curves) -> str:
    rows = []
    for name in SETS:
        found = [_labels_needed(curves, who, name) for who in (_AUTO_NAMES, _AUTO)]
        if all(found):
            random = next(one[0] for one in found if one)
            rows.append([name, f"{random:.4f}", *(_labels(one[1]) for one in found if one)])
    fewer = [_times_fewer(curves, who) for who in (_AUTO_NAMES, _AUTO)]
    rows.append(["times fewer (geometric mean)", "", *("–" if one is None else f"{one:.2f}" for one in fewer)])
    return table(["set", f"random at {quality.BUDGET}", _AUTO_NAMES.strategy, _AUTO.strategy], rows)


def _labels(needed: float) -> str:
    return f"{needed:.0f}" if needed <= quality.BUDGET else f"> {quality.BUDGET}"


def _points(curves: Curves) -> str:
    rows = []
    for name in (*SETS, quality.MANY_CLASSES):
        labels = quality.counts(name)
        random = _mean_curve(curves, _RANDOM, name)
        for who in (_RANDOM, *_AUTOS):
            own = _mean_curve(curves, who, name)
            if own is None or random is None:
                continue
            above = (own - random)[np.array(labels) >= _WORST_FROM]
            title = who.strategy if who == _RANDOM else f"{who.strategy} ({above.min():+.3f})"
            shown = [f"{np.interp(at, labels, own):.3f}" if at <= labels[-1] else "" for at in _SHOWN_AT]
            rows.append([name, title, *shown])
    return table(["set", "strategy", *map(str, _SHOWN_AT)], rows, text_columns=2)


def _ranking(ranked: list[tuple[Contestant, dict[str, dict[int, float]]]]) -> str:
    best = {
        name: max((statistics.fmean(of[name].values()) for _, of in ranked if of.get(name)), default=0.0)
        for name in SETS
    }
    rows = []
    for who, of in ranked:
        error = _error(of) if _is_complete(of) else None
        mean = f"{_mean(of):.4f}" if _is_complete(of) else "–"
        rows.append([who.library, who.strategy, mean + (f" ± {error:.4f}" if error is not None else "")])
        for name in SETS:
            value = statistics.fmean(of[name].values()) if of.get(name) else None
            shown = "–" if value is None else f"{value:.4f}"
            rows[-1].append(f"**{shown}**" if value == best[name] else shown)
    return table(["library", "strategy", "mean", *SETS], rows, text_columns=2)


def _peers_ahead(ranked: list[tuple[Contestant, dict[str, dict[int, float]]]]) -> str:
    by = dict(ranked)
    lines = []
    for name in SETS:
        for auto in (_AUTO_NAMES, _AUTO):
            if not by.get(auto, {}).get(name):
                continue
            mine = statistics.fmean(by[auto][name].values())
            ahead = [
                f"{who} {statistics.fmean(of[name].values()):.4f}"
                for who, of in ranked
                if who.library != OURS and of.get(name) and statistics.fmean(of[name].values()) > mine
            ]
            if ahead:
                lines.append(f"- {name}: {auto.strategy} has {mine:.4f}, behind {', '.join(ahead)}.")
    return "\n".join(lines) or "On none of the sets."


def _apart(areas: Areas) -> str:
    whole = {
        who: (_mean(areas[who, "plain"]), _mean(areas[who, "ours"]))
        for who, by in areas
        if by == "plain" and who not in (_AUTO_NAMES, _AUTO_MISLED) and _is_complete(areas[who, "plain"])
    }
    rows = [
        [who.library, who.strategy, f"{plain:.4f}", f"{ours:.4f}", f"{ours - plain:+.4f}"]
        for who, (plain, ours) in sorted(whole.items(), key=lambda one: -one[1][1])
    ]
    return table(["library", "strategy", "scikit-learn's", "ours", "difference"], rows, text_columns=2)


def _speed(stored: Record) -> str:
    goals = speed.goals(stored)
    parts = [
        "## Speed and memory of a round",
        "`python -m benchmarks.choosing speed`",
        f"One round is a refit, the scores of the whole pool, and a head of {speed.HEAD}; 384 dimensions, "
        f"{speed.N_CLASSES} classes, {speed.LABELS} labels and one more each round, made-up vectors. Every measurement "
        "is a process of its own, in turns; the median of its rounds after a warm-up counts. Peak memory is that of "
        "the whole process with the vectors: ours are float16 as at rest, the peers' float32, because they copy "
        "smaller types into float64. No process loads torch, which the peers would do where it is installed.",
        table(GOAL_HEADER, [goal.row() for goal in goals]),
    ]
    for name, race in stored["races"].items():
        many = name == speed.MANY
        header = [
            "library",
            "strategy",
            "all rounds, s" if many else "round, s",
            "from … to",
            "rounds",
            "peak, MB",
            "loaded, MB",
        ]
        rows = [
            [
                one["library"],
                one["strategy"],
                f"{one['all_rounds_s']:.2f}" if many else f"{one['median_s']:.3f}",
                f"{one['fastest_s']:.3f} … {one['slowest_s']:.3f}",
                str(one["measured"]),
                f"{one['peak_mb']:,.0f}",
                f"{one['before_mb']:,.0f}",
            ]
            for one in race["contestants"]
        ]
        title = (
            f"{speed.MANY_ROUNDS} rounds up to {speed.BATCH * (speed.MANY_ROUNDS + 1)} labels, in batches of "
            f"{speed.BATCH}, {race['texts']:,} texts; the choice of the first batch is counted too"
            if many
            else f"{race['texts']:,} texts, {race['repeats']} processes of {race['rounds']} rounds each"
        )
        parts += [f"### {title}", told(race["environment"]), table(header, rows, text_columns=2)]
    return "\n\n".join(parts)
