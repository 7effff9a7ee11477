"""Writes RESULTS.md from what was measured."""

import statistics
from collections import defaultdict

from benchmarks import quality, results, speed
from benchmarks.contestants import OURS, WITH_NAMES, Contestant
from benchmarks.results import GOAL_HEADER, Goal, Record, table, told
from benchmarks.texts import SETS

_AUTO, _AUTO_NAMES = Contestant(OURS, "auto"), Contestant(OURS, WITH_NAMES)
_WITHOUT_NAMES, _WITH_NAMES = 0.780, 0.800
_SEEDS = 5

# (contestant, scored by) → set → seed → area under the accuracy curve
Areas = dict[tuple[Contestant, str], dict[str, dict[int, float]]]


def write() -> list[Goal]:
    """Write RESULTS.md; returns the goals of what was measured."""
    areas, parts, goals = _areas(), [], []
    if areas:
        goals += _quality_goals(areas)
        parts.append(_quality(areas))
    stored = results.read_json(speed.FILE)
    if stored:
        goals += speed.goals(stored)
        parts.append(_speed(stored))
    results.write_section("\n\n".join(parts))
    return goals


def _areas() -> Areas:
    areas: Areas = defaultdict(lambda: defaultdict(dict))
    for record in quality.CURVES.read().values():
        for scored_by in ("plain", "ours"):
            contestant = Contestant(record["library"], record["strategy"])
            areas[contestant, scored_by][record["set"]][record["seed"]] = quality.area(record[scored_by])
    return areas


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


def _is_complete(of: dict[str, dict[int, float]], seeds: int = 1) -> bool:
    return all(len(of.get(name, {})) >= seeds for name in SETS)


def _quality_goals(areas: Areas) -> list[Goal]:
    """None before every strategy has been through every set with every seed."""
    if not all(_is_complete(of, _SEEDS) for of in areas.values()) or (_AUTO, "ours") not in areas:
        return []
    best_peer = max(_mean(of) for (who, by), of in areas.items() if who.library != OURS and by == _own(who))
    auto, auto_names = _mean(areas[_AUTO, "ours"]), _mean(areas[_AUTO_NAMES, "ours"])
    return [
        Goal("auto without names, mean area", auto, _WITHOUT_NAMES, at_least=True, digits=4),
        Goal("auto with names, mean area", auto_names, _WITH_NAMES, at_least=True, digits=4),
        Goal("auto without names, against the best strategy of a peer", auto, best_peer, at_least=True, digits=4),
    ]


def _quality(areas: Areas) -> str:
    stored = results.read_json("quality.json")
    assert stored is not None
    ranked = sorted(
        ((who, areas[who, _own(who)]) for who, by in areas if by == "plain"),
        key=lambda one: -_mean(one[1]) if _is_complete(one[1]) else 0.0,
    )
    goals = _quality_goals(areas)
    parts = [
        "## Choosing: accuracy against labels",
        f"`python -m benchmarks.choosing quality --vectors FOLDER --seeds {stored['seeds']}` · "
        f"{told(stored['environment'])}",
        f"Area under the test accuracy from {quality.BATCH} to {quality.BUDGET} labels, in batches of {quality.BATCH}; "
        "mean over the seeds of each set and over the sets, ± the standard error over the seeds. Vectors of "
        "all-MiniLM-L6-v2. Every strategy is scored with the classifier of its library: the peers' with scikit-learn's "
        "LogisticRegression(C=10). In bold, the best of each set.",
    ]
    if goals:
        parts.append(table(GOAL_HEADER, [goal.row() for goal in goals]))
    parts += [_ranking(ranked), "### Where a peer wins", _peers_ahead(ranked)]
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
        if by == "plain" and who != _AUTO_NAMES and _is_complete(areas[who, "plain"])
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
