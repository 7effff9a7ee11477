"""The claims of the paper by `prepal simulate`: against fine-tuning in every round, and labels for another model."""

from pathlib import Path

from rich.console import Console

from benchmarks import storage
from benchmarks.labelled_sets import ENCODER
from benchmarks.sections import GOAL_HEADER, Goal, table, told
from benchmarks.storage import Record
from prepal_workers.encoder.cached import cut_name
from prepal_workers.model.word_counts import WORD_COUNTS
from prepal_workers.simulate.presets import PRESETS
from prepal_workers.simulate.run import simulate

FILE, SET = "paper.json", "sst2_sentences"
PRESET_NAMES = ("baseline", "transfer")

_FINE_TUNED = "AL+FT"
_TIMES_FASTER, _POINTS_BELOW = 50.0, 0.01


def run(data: Path, cache: str, presets: list[str], jobs: int, console: Console) -> None:
    """Run presets on the set that the paper's kind of task is nearest to; what an interrupted run has is kept.

    Args:
        data: has a folder for the set, with train.jsonl and test.jsonl.
        cache: the vector cache.
        presets: their names; others keep what was measured before.
        jobs: how many experiments at a time.
        console: for the progress bars.
    """
    stored = storage.read_json(FILE) or {}
    for preset in presets:
        environment = storage.environment()
        out = storage.FOLDER / preset
        train, test = (data / SET / f"{part}.jsonl" for part in ("train", "test"))
        rows = simulate(train, test, out, console, cache=cache, encoder=ENCODER, jobs=jobs, preset=preset, given={})
        stored[preset] = {"environment": environment, "jobs": jobs, "arms": rows}
        storage.write_json(FILE, stored)


def goals(stored: Record) -> list[Goal]:
    """Return the goals of the baseline; the transfer is reported."""
    if "baseline" not in stored:
        return []
    arms = {_kind(arm["arm"]): arm for arm in stored["baseline"]["arms"]}
    ours, theirs = arms["auto"], arms[_FINE_TUNED]
    seconds = [arm["fit_s"] + arm["rank_s"] for arm in (theirs, ours)]
    return [
        Goal("PRepAL against AL+FT: times faster in all rounds", seconds[0] / seconds[1], _TIMES_FASTER, True, 0),
        Goal(
            "PRepAL against AL+FT: accuracy after the final fine-tuning, difference",
            ours["final"] - theirs["final"],
            -_POINTS_BELOW,
            at_least=True,
            digits=4,
        ),
    ]


def section(stored: Record) -> str:
    """Return the section of RESULTS.md."""
    parts = [
        "## The paper's claims",
        "`make bench DATA=FOLDER`, or of it `python -m benchmarks.choosing paper --data FOLDER`; single ones: "
        "`prepal simulate … --preset baseline` and `--preset transfer`.",
        f"{SET}, {PRESETS['baseline'].options['pool']:,} of its texts as the pool, "
        f"{PRESETS['baseline'].options['budget']} labels in batches of {PRESETS['baseline'].options['batch_size'][0]}, "
        f"{PRESETS['baseline'].options['seeds']} seeds, all-MiniLM-L6-v2. *At the end* is the classifier that chose, "
        "*fine-tuned* the same model fine-tuned on what was labelled; seconds are those of all refits and rankings.",
    ]
    if found := goals(stored):
        parts.append(table(GOAL_HEADER, [goal.row() for goal in found]))
    for preset, one in stored.items():
        rows = [
            [
                arm["arm"],
                f"{arm['accuracy']:.4f}",
                "" if arm["final"] is None else f"{arm['final']:.4f}",
                f"{arm['fit_s'] + arm['rank_s']:.2f}",
            ]
            for arm in one["arms"]
        ]
        parts += [
            f"### {preset}: {PRESETS[preset].help}",
            f"{one['jobs']} experiments at a time · {told(one['environment'])}",
            table(["", "at the end", "fine-tuned", "seconds"], rows),
        ]
    if "transfer" in stored:
        parts.append(_loss(stored["transfer"]["arms"]))
    return "\n\n".join(parts)


def _loss(arms: list[Record]) -> str:
    """What labels that another encoder asked for lose, in words."""
    own, random = (next(arm for arm in arms if _kind(arm["arm"]) == kind) for kind in ("auto", "random"))
    lines = []
    for arm in arms:
        if _kind(arm["arm"]) not in ("auto", "random"):
            lost, won = own["final"] - arm["final"], arm["final"] - random["final"]
            lines.append(
                f"- {arm['arm']}: {lost:+.4f} lost against its own labels, {won:+.4f} won against random ones."
            )
    return "\n".join(["After the final fine-tuning, labels that another encoder asked for:", *lines])


def _kind(arm: str) -> str:
    """What an arm is, from its name."""
    if _FINE_TUNED in arm:
        return _FINE_TUNED
    if WORD_COUNTS in arm or cut_name(ENCODER, 3).rsplit("/", 1)[-1] in arm:
        return "transferred"
    return arm.partition(",")[0]
