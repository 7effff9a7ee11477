"""Writes RESULTS.md from what was measured."""

import statistics

import numpy as np
from numpy.typing import NDArray

from benchmarks.choosing import paper, quality, speed
from benchmarks.choosing.contestants.contestant import OURS, Contestant
from benchmarks.choosing.contestants.ours import MISLED, WITH_NAMES
from benchmarks.choosing.curves import (
    RANDOM,
    WORST_FROM,
    Areas,
    Curves,
    areas_under,
    is_complete,
    labels_needed,
    least_above_random,
    mean_area,
    mean_curve,
    own_scorer,
    read_curves,
    standard_error,
    successors,
    times_fewer_labels,
)
from benchmarks.labelled_sets import SETS
from benchmarks.sections import GOAL_HEADER, Goal, table, told, write_section
from benchmarks.storage import read_json

_AUTO, _AUTO_NAMES, _AUTO_MISLED = (Contestant(OURS, name) for name in ("auto", WITH_NAMES, MISLED))
_AUTOS = (_AUTO, _AUTO_NAMES, _AUTO_MISLED)
_WITHOUT_NAMES, _WITH_NAMES, _MANY_CLASSES_WITH_NAMES = 0.812, 0.820, 0.74
_MANY_CLASSES_LABELS = 77
_TIMES_FEWER_LABELS = 3.0
# What random labels reached after 300, with the classifier as it was before it saw words.
_REACHED_BEFORE = (0.8392, 0.7808, 0.7722, 0.9688, 0.7106)
# Models that learn from the labels alone shall be so much better than by random labels in the mean, and nowhere worse.
_SUCCESSORS_AHEAD, _SUCCESSORS_WORST = 0.01, -0.01
# No default may be more than so much below random labels.
_WORST = -0.005
_SHOWN_AT = (10, 50, 77, 100, 200, 300, 1000)


def write() -> list[Goal]:
    """Write RESULTS.md; returns the goals of what was measured."""
    curves, parts, goals = read_curves(), [], []
    if curves:
        goals += _quality_goals(curves)
        parts.append(_quality(curves))
    stored = read_json(speed.FILE)
    if stored:
        goals += speed.goals(stored)
        parts.append(speed.section(stored))
    claims = read_json(paper.FILE)
    if claims:
        goals += paper.goals(claims)
        parts.append(paper.section(claims))
    write_section("\n\n".join(parts), "benchmarks.choosing")
    return goals


def _quality_goals(curves: Curves) -> list[Goal]:
    """None before the default and a peer have been through every set."""
    areas = {who: of for who, of in areas_under(curves).items() if is_complete(of)}
    peers = [mean_area(of) for (who, by), of in areas.items() if who.library != OURS and by == own_scorer(who)]
    if not peers or not all((who, "ours") in areas for who in (_AUTO, _AUTO_NAMES)):
        return []
    best_peer = max(peers)
    auto, auto_names = mean_area(areas[_AUTO, "ours"]), mean_area(areas[_AUTO_NAMES, "ours"])
    goals = [
        Goal("auto without names, mean area", auto, _WITHOUT_NAMES, at_least=True, digits=4),
        Goal("auto with names, mean area", auto_names, _WITH_NAMES, at_least=True, digits=4),
        Goal("auto without names, against the best strategy of a peer", auto, best_peer, at_least=True, digits=4),
    ]
    many = mean_curve(curves, _AUTO_NAMES, quality.MANY_CLASSES)
    if many is not None:
        reached = float(np.interp(_MANY_CLASSES_LABELS, quality.counts(quality.MANY_CLASSES), many))
        what = f"auto with names, {quality.MANY_CLASSES} at {_MANY_CLASSES_LABELS} labels"
        goals.append(Goal(what, reached, _MANY_CLASSES_WITH_NAMES, at_least=True, digits=4))
    for who in _AUTOS:
        worst = least_above_random(curves, who)
        if worst:
            what = f"{who.strategy}: least above random, from {WORST_FROM} labels on ({worst[1]} at {worst[2]})"
            goals.append(Goal(what, worst[0], _WORST, at_least=True, digits=4))
    for who in (_AUTO, _AUTO_NAMES):
        fewer = times_fewer_labels(curves, who, dict(zip(SETS, _REACHED_BEFORE, strict=True)))
        if fewer:
            what = f"{who.strategy}: times fewer labels for what random reached at {quality.BUDGET} without words"
            goals.append(Goal(what, fewer, _TIMES_FEWER_LABELS, at_least=True))
        ahead = _ahead_of_random(who)
        if ahead:
            every = np.concatenate([of for by in ahead.values() for of in by.values()])
            what = f"{who.strategy}: successors above random's, mean"
            goals.append(Goal(what, float(every.mean()), _SUCCESSORS_AHEAD, at_least=True, digits=4))
            what = f"{who.strategy}: successors above random's, least"
            goals.append(Goal(what, float(every.min()), _SUCCESSORS_WORST, at_least=True, digits=4))
    return goals


def _ahead_of_random(who: Contestant) -> dict[str, dict[str, NDArray[np.float64]]]:
    """By how much successors of somebody are ahead of random labels' on each set; empty before all were measured."""
    own, random = successors(who), successors(RANDOM)
    if not all(name in own and name in random for name in SETS):
        return {}
    return {name: {of: own[name][of] - random[name][of] for of in own[name]} for name in SETS}


def _quality(curves: Curves) -> str:
    stored = read_json("quality.json")
    assert stored is not None
    areas = areas_under(curves)
    ranked = sorted(
        ((who, areas[who, own_scorer(who)]) for who, by in areas if by == "plain"),
        key=lambda one: -mean_area(one[1]) if is_complete(one[1]) else 0.0,
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
        *_said_of_earlier(),
    ]
    if goals:
        parts.append(table(GOAL_HEADER, [goal.row() for goal in goals]))
    parts += [_ranking(ranked), "### Where a peer wins", _peers_ahead(ranked)]
    parts += [
        "### Labels needed",
        f"For the accuracy that random labels reach after {quality.BUDGET}, both with our classifier, and for what "
        "they reached before it saw words; means over the seeds, interpolated between batches.",
        _needed(curves),
        "### Successors",
        "Models that learn from the labels alone and never choose, after 100 / 300 labels, means over the seeds: "
        "scikit-learn's logistic regression (C = 10) on the encoder's vectors, and on counts of words.",
        _successors(),
        f"### Against random labels at every point, and {quality.MANY_CLASSES}",
        "Accuracy with our classifier; with misleading names every name stands at another class. In brackets, how far "
        f"above random at the worst point from {WORST_FROM} labels on.",
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


def _said_of_earlier() -> list[str]:
    if not quality.measured_before():
        return []
    told = "with an earlier state of our classifier or strategy, as where labels of a peer are scored by our classifier"
    return [f"† Measured {told}."]


def _successors() -> str:
    rows = []
    for name in SETS:
        for successor in ("plain", "words"):
            told = [successors(who).get(name, {}).get(successor) for who in (RANDOM, _AUTO_NAMES, _AUTO)]
            shown = ("–" if of is None else " / ".join(f"{one:.3f}" for one in of) for of in told)
            rows.append([name, "vectors" if successor == "plain" else successor, *shown])
    header = ["set", "learns from", "random", _AUTO_NAMES.strategy, _AUTO.strategy]
    return table(header, rows, text_columns=2)


def _needed(curves: Curves) -> str:
    before, columns = dict(zip(SETS, _REACHED_BEFORE, strict=True)), (_AUTO_NAMES, _AUTO)
    rows = []
    for name in SETS:
        random = mean_curve(curves, RANDOM, name)
        if random is not None:
            needed = [labels_needed(curves, who, name, by) for by in (None, before[name]) for who in columns]
            shown = ("–" if one is None else _labels(one) for one in needed)
            rows.append([name, f"{random[-1]:.4f}", *shown])
    fewer = [times_fewer_labels(curves, who, by) for by in (None, before) for who in columns]
    rows.append(["times fewer (geometric mean)", "", *("–" if one is None else f"{one:.2f}" for one in fewer)])
    names = [who.strategy for who in columns]
    header = ["set", f"random at {quality.BUDGET}", *names, *(f"{name}, for random without words" for name in names)]
    return table(header, rows)


def _labels(needed: float) -> str:
    return f"{needed:.0f}" if needed <= quality.BUDGET else f"> {quality.BUDGET}"


def _points(curves: Curves) -> str:
    rows = []
    for name in (*SETS, quality.MANY_CLASSES):
        labels = quality.counts(name)
        random = mean_curve(curves, RANDOM, name)
        for who in (RANDOM, *_AUTOS):
            own = mean_curve(curves, who, name)
            if own is None or random is None:
                continue
            above = (own - random)[np.array(labels) >= WORST_FROM]
            title = who.strategy if who == RANDOM else f"{who.strategy} ({above.min():+.3f})"
            shown = [f"{np.interp(at, labels, own):.3f}" if at <= labels[-1] else "" for at in _SHOWN_AT]
            rows.append([name, title, *shown])
    return table(["set", "strategy", *map(str, _SHOWN_AT)], rows, text_columns=2)


def _ranking(ranked: list[tuple[Contestant, dict[str, dict[int, float]]]]) -> str:
    best = {
        name: max((statistics.fmean(of[name].values()) for _, of in ranked if of.get(name)), default=0.0)
        for name in SETS
    }
    rows, before = [], quality.measured_before()
    for who, of in ranked:
        error = standard_error(of) if is_complete(of) else None
        mean = f"{mean_area(of):.4f}" if is_complete(of) else "–"
        marked = f"{who.strategy} †" if who.library == OURS and who in before else who.strategy
        rows.append([who.library, marked, mean + (f" ± {error:.4f}" if error is not None else "")])
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
        who: (mean_area(areas[who, "plain"]), mean_area(areas[who, "ours"]))
        for who, by in areas
        if by == "plain" and who not in (_AUTO_NAMES, _AUTO_MISLED) and is_complete(areas[who, "plain"])
    }
    rows = [
        [who.library, who.strategy, f"{plain:.4f}", f"{ours:.4f}", f"{ours - plain:+.4f}"]
        for who, (plain, ours) in sorted(whole.items(), key=lambda one: -one[1][1])
    ]
    return table(["library", "strategy", "scikit-learn's", "ours", "difference"], rows, text_columns=2)
