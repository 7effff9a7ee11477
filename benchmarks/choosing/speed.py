"""How long one round takes and how much memory: refit, scores of the whole pool, and a head of 32."""

import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from benchmarks import storage
from benchmarks.choosing.contestants import peers
from benchmarks.choosing.contestants.contestant import OURS, Contestant
from benchmarks.choosing.contestants.ours import WITH_NAMES
from benchmarks.choosing.process import Job, Measured, measure
from benchmarks.sections import GOAL_HEADER, Goal, table, told
from benchmarks.storage import Record
from benchmarks.texts import make_up

FILE = "speed.json"
MANY, _SMALL, _LARGE = "many rounds", "small", "large"

N_CLASSES, HEAD, LABELS, BATCH, MANY_ROUNDS = 8, 32, 500, 10, 39
_TEXTS = {MANY: 10_000, _SMALL: 100_000, _LARGE: 1_000_000}

_MARGIN, _AUTO = Contestant(OURS, "margin"), Contestant(OURS, "auto")
_AUTO_NAMES = Contestant(OURS, WITH_NAMES)
_THEIR_MARGIN = Contestant(peers.SCIKIT_ACTIVEML, "UncertaintySampling margin")
_BREAKING_TIES = Contestant(peers.SMALL_TEXT, "BreakingTies")
# Ours, and scikit-activeml's own of the same kind.
_PAIRS = (("dropquery", "DropQuery"), ("badge", "Badge"), ("typiclust", "TypiClust"))
_AGAINST = [_MARGIN, _THEIR_MARGIN, _BREAKING_TIES, _AUTO, _AUTO_NAMES]

TIMES_FASTER_THAN_SCIKIT_ACTIVEML, TIMES_FASTER_THAN_SMALL_TEXT = 5.0, 10.0
# Some of the peers' rounds take minutes: from so many seconds on a process begins no further one, and is not repeated.
_ENOUGH_S = 30.0
MEMORY_SHARE, AUTO_TIMES_MARGIN, MANY_ROUNDS_S = 0.6, 3.0, 5.0


@dataclass(frozen=True)
class Race:
    """Contestants on the same texts.

    Attributes:
        name: of the race.
        texts: how many there are.
        contestants: who is measured, in turns.
        counts: how many labels there are in each round; the first round is a warm-up.
    """

    name: str
    texts: int
    contestants: list[Contestant]
    counts: list[int]


def races(rounds: int) -> list[Race]:
    """Return what is measured; the counts of labels rise by one, so that every refit is a real one."""
    one_by_one = list(range(LABELS, LABELS + rounds + 1))
    pairs = [
        contestant
        for own, theirs in _PAIRS
        for contestant in (Contestant(OURS, own), Contestant(peers.SCIKIT_ACTIVEML, theirs))
    ]
    batches = list(range(0, BATCH * (MANY_ROUNDS + 1) + 1, BATCH))
    return [
        Race(MANY, _TEXTS[MANY], [_AUTO_NAMES, _AUTO, _MARGIN, _THEIR_MARGIN, _BREAKING_TIES], batches),
        Race(_SMALL, _TEXTS[_SMALL], [*_AGAINST, *pairs], one_by_one),
        Race(_LARGE, _TEXTS[_LARGE], _AGAINST, one_by_one),
    ]


def run(rounds: int, repeats: int, names: list[str], console: Console) -> list[Goal]:
    """Measure the races of these names and write results/speed.json; returns the goals.

    Args:
        rounds: that count in each process, after one that does not.
        repeats: processes of each contestant, one after the other in turns.
        names: of the races; others keep what was measured before.
        console: for the progress bar.
    """
    chosen = [race for race in races(rounds) if race.name in names]
    stored = storage.read_json(FILE) or {"races": {}}
    environment = storage.environment()
    total = sum(len(race.contestants) for race in chosen) * repeats
    with Progress(
        *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as bar:
        task = bar.add_task("speed", total=total)
        for race in chosen:
            measured: dict[Contestant, list[Measured]] = {contestant: [] for contestant in race.contestants}
            for contestant, one in _in_turns(race, repeats):
                measured[contestant].append(one)
                bar.advance(task)
            stored["races"][race.name] = {
                "environment": environment,
                "texts": race.texts,
                "rounds": rounds,
                "repeats": repeats,
                "contestants": [_summary(contestant, many) for contestant, many in measured.items()],
            }
            storage.write_json(FILE, stored)
    return goals(stored)


def _in_turns(race: Race, repeats: int) -> Iterator[tuple[Contestant, Measured]]:
    with tempfile.TemporaryDirectory() as folder:
        make_up(Path(folder), race.texts, N_CLASSES)
        many = race.name == MANY
        slow: set[Contestant] = set()
        for _ in range(repeats):
            for contestant in race.contestants:
                if contestant in slow:
                    continue
                job = Job(
                    contestant.library,
                    contestant.strategy,
                    folder,
                    N_CLASSES,
                    BATCH if many else HEAD,
                    race.counts,
                    enough_s=0.0 if many else _ENOUGH_S,
                )
                one = measure(job)
                if one.error:
                    raise RuntimeError(f"{contestant} on {race.texts} texts: {one.error}")
                if one.first_s + sum(one.seconds) > _ENOUGH_S:
                    slow.add(contestant)
                yield contestant, one


def _summary(contestant: Contestant, measured: list[Measured]) -> Record:
    seconds = sorted(second for one in measured for second in one.seconds)
    return {
        **asdict(contestant),
        "measured": len(seconds),
        "median_s": round(statistics.median(seconds), 4),
        "fastest_s": round(seconds[0], 4),
        "slowest_s": round(seconds[-1], 4),
        "all_rounds_s": round(statistics.median(one.first_s + sum(one.seconds) for one in measured), 3),
        "peak_mb": round(statistics.median(one.peak_mb for one in measured), 1),
        "before_mb": round(statistics.median(one.before_mb for one in measured), 1),
    }


def goals(stored: Record) -> list[Goal]:
    """Return the goals of the races that were run."""
    found: list[Goal] = []
    for name, race in stored["races"].items():
        by = {Contestant(one["library"], one["strategy"]): one for one in race["contestants"]}
        at = f"at {race['texts']:,} texts"
        if name == MANY:
            found += [
                Goal(f"{MANY_ROUNDS} rounds up to {BATCH * (MANY_ROUNDS + 1)} labels {at}, {who.strategy}, in all, s",
                     by[who]["all_rounds_s"], MANY_ROUNDS_S, at_least=False)
                for who in (_AUTO_NAMES, _AUTO, _MARGIN)
            ]  # fmt: skip
            continue
        own = by[_MARGIN]
        for other, wanted in (
            (_THEIR_MARGIN, TIMES_FASTER_THAN_SCIKIT_ACTIVEML),
            (_BREAKING_TIES, TIMES_FASTER_THAN_SMALL_TEXT),
        ):
            ratio = by[other]["median_s"] / own["median_s"]
            found.append(Goal(f"margin {at}: times faster than {other}", ratio, wanted, at_least=True))
        smaller = min(by[other]["peak_mb"] for other in (_THEIR_MARGIN, _BREAKING_TIES))
        share = own["peak_mb"] / smaller
        found.append(Goal(f"margin {at}: share of the smaller peer's peak memory", share, MEMORY_SHARE, at_least=False))
        if name == _SMALL:
            for mine, theirs in _PAIRS:
                other = Contestant(peers.SCIKIT_ACTIVEML, theirs)
                one, another = by[Contestant(OURS, mine)], by[other]
                ratio = another["median_s"] / one["median_s"]
                found.append(
                    Goal(f"{mine} {at}: times faster than {other}", ratio, TIMES_FASTER_THAN_SCIKIT_ACTIVEML, True)
                )
                share = one["peak_mb"] / another["peak_mb"]
                found.append(Goal(f"{mine} {at}: share of its peak memory", share, MEMORY_SHARE, at_least=False))
        else:
            for who in (_AUTO, _AUTO_NAMES):
                ratio = by[who]["median_s"] / own["median_s"]
                found.append(
                    Goal(f"{who.strategy} {at}: times margin's time", ratio, AUTO_TIMES_MARGIN, at_least=False)
                )
    return found


def section(stored: Record) -> str:
    """Return the section of RESULTS.md."""
    parts = [
        "## Speed and memory of a round",
        "`python -m benchmarks.choosing speed`",
        f"One round is a refit, the scores of the whole pool, and a head of {HEAD}; 384 dimensions, "
        f"{N_CLASSES} classes, {LABELS} labels and one more each round, made-up vectors. Every measurement "
        "is a process of its own, in turns; the median of its rounds after a warm-up counts. Peak memory is that of "
        "the whole process with the vectors: ours are float16 as at rest, the peers' float32, because they copy "
        "smaller types into float64. No process loads torch, which the peers would do where it is installed.",
        table(GOAL_HEADER, [goal.row() for goal in goals(stored)]),
    ]
    for name, race in stored["races"].items():
        many = name == MANY
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
            f"{MANY_ROUNDS} rounds up to {BATCH * (MANY_ROUNDS + 1)} labels, in batches of "
            f"{BATCH}, {race['texts']:,} texts; the choice of the first batch is counted too"
            if many
            else f"{race['texts']:,} texts, {race['repeats']} processes of {race['rounds']} rounds each"
        )
        parts += [f"### {title}", told(race["environment"]), table(header, rows, text_columns=2)]
    return "\n\n".join(parts)
