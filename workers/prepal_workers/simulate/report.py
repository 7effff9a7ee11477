"""What experiments showed: curves.png, and report.html, which needs no internet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from prepal.files import write_whole
from prepal.records import readable
from prepal_workers.simulate.experiment import Row, Setting

# Areas under curves are taken from here on, as a curve's beginning is mostly noise.
_AREA_FROM = 10
_DPI = 160
# Okabe & Ito's colours, which everyone can tell apart; random is grey.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_RANDOM_COLOUR = "#888888"
_RANDOM = "random"
# What tells one arm of an experiment from another.
_ARM = [field.name for field in fields(Setting) if field.name != "seed"]


@dataclass(frozen=True)
class Arm:
    """The runs of one setting with several seeds.

    Attributes:
        name: what is different in it, in words.
        setting: its fields but the seed.
        labels: `(p,)` numbers of labels, ascending.
        accuracy: `(seeds, p)`; NaN where nothing was predicted.
        macro_f1: `(seeds, p)`.
        fit_s: `(seeds, p)` seconds of each retraining.
        rank_s: `(seeds, p)` seconds of each choice.
        final: `(seeds,)` accuracy of the model that was fine-tuned at the end; empty without one.
        successors: accuracy and macro-F1 `(seeds, 2)`, by a successor's name and the number of labels it was taught.
    """

    name: str
    setting: Mapping[str, Any]
    labels: NDArray[np.int64]
    accuracy: NDArray[np.float64]
    macro_f1: NDArray[np.float64]
    fit_s: NDArray[np.float64]
    rank_s: NDArray[np.float64]
    final: NDArray[np.float64]
    successors: Mapping[tuple[str, int], NDArray[np.float64]]

    @property
    def mean(self) -> NDArray[np.float64]:
        """(p,) mean accuracy over the seeds."""
        return np.asarray(self.accuracy.mean(axis=0))

    @property
    def area(self) -> float:
        """Mean accuracy over the numbers of labels from 10 on, as far as there was any; else NaN."""
        known = self.mean[(self.labels >= _AREA_FROM) & ~np.isnan(self.mean)]
        return float(known.mean()) if len(known) else float("nan")

    def labels_for(self, accuracy: float) -> float | None:
        """How many labels reach an accuracy on average, between two retrainings interpolated; None: all do not."""
        reached = np.flatnonzero(self.mean >= accuracy)
        if not len(reached):
            return None
        at = int(reached[0])
        if at == 0 or np.isnan(self.mean[at - 1]):
            return float(self.labels[at])
        share = (accuracy - self.mean[at - 1]) / (self.mean[at] - self.mean[at - 1])
        return float(self.labels[at - 1] + share * (self.labels[at] - self.labels[at - 1]))


def arms(rows: Sequence[Row]) -> list[Arm]:
    """Group rows by setting; seeds that are not complete are left out."""
    by_arm: dict[tuple[Any, ...], dict[int, list[Row]]] = {}
    for row in rows:
        by_arm.setdefault(tuple(row[name] for name in _ARM), {}).setdefault(row["seed"], []).append(row)
    settings = [dict(zip(_ARM, key, strict=True)) for key in by_arm]
    different = [name for name in _ARM if len({str(setting[name]) for setting in settings}) > 1]
    return [
        _arm(_name(setting, different), setting, list(by_seed.values()))
        for setting, by_seed in zip(settings, by_arm.values(), strict=True)
    ]


def labels_needed(found: Sequence[Arm]) -> list[dict[str, Any]]:
    """A row for each arm: its area, its last accuracy, and how many times fewer labels than random's it needs.

    Figures that do not exist are None: where nothing was predicted, or where no label at all was needed. `successors`
    has a row for each number of labels that some were taught: how good the arm's own classifier was then, and they.
    """
    table = []
    for arm in found:
        random = _random_for(arm, found)
        target = None if random is None else _figure(random.mean[-1])
        needed = None if target is None else arm.labels_for(target)
        table.append(
            {
                "arm": arm.name,
                "seeds": len(arm.accuracy),
                "area": _figure(arm.area),
                "labels": int(arm.labels[-1]),
                "accuracy": _figure(arm.mean[-1]),
                "macro_f1": _figure(arm.macro_f1[:, -1].mean()),
                "final": _figure(arm.final.mean()) if len(arm.final) else None,
                "target": target,
                "needed": needed,
                "times_fewer": int(arm.labels[-1]) / needed if needed else None,
                "fit_s": float(arm.fit_s.sum(axis=1).mean()),
                "rank_s": float(arm.rank_s.sum(axis=1).mean()),
                "successors": _taught(arm),
            }
        )
    return table


def successor_names(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the successors that `labels_needed` has figures of, in the order in which they were taught."""
    return list(dict.fromkeys(name for row in table for taught in row["successors"] for name in taught["accuracy"]))


def write(
    rows: Sequence[Row], title: str, command: str, folder: Path, notes: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Write `curves.png` and `report.html`, which has the notes too; returns the table of `labels_needed`."""
    found = arms(rows)
    figure = _curves(found, title)
    figure.savefig(folder / "curves.png", dpi=_DPI, format="png")
    drawing = StringIO()
    figure.savefig(drawing, format="svg")
    table = labels_needed(found)
    pages = Environment(loader=PackageLoader("prepal_workers.simulate"), autoescape=True)
    pages.filters["short"] = short
    page = pages.get_template("report.html").render(
        title=title,
        notes=notes,
        curves=Markup(drawing.getvalue()[drawing.getvalue().index("<svg") :]),  # noqa: S704  our own drawing
        table=table,
        has_final=any(row["final"] is not None for row in table),
        successors=successor_names(table),
        settings=[{"arm": arm.name, **arm.setting, "seeds": len(arm.accuracy)} for arm in found],
        columns=["arm", *_ARM, "seeds"],
        command=command,
        version=rows[0]["version"],
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_whole(folder / "report.html", readable(page).encode())
    return table


def short(encoder: str) -> str:
    """Return the last part of an encoder's name."""
    return encoder.rstrip("/").rsplit("/", 1)[-1]


def _figure(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _taught(arm: Arm) -> list[dict[str, Any]]:
    last = int(arm.labels[-1])
    found = []
    for count in sorted({count for _, count in arm.successors}):
        of = {name: figures.mean(axis=0) for (name, at), figures in arm.successors.items() if at == count}
        found.append(
            {
                "labels": count,
                "own": next(iter(map(_figure, arm.mean[arm.labels == count])), None),
                "accuracy": {name: float(figures[0]) for name, figures in of.items()},
                "macro_f1": {name: float(figures[1]) for name, figures in of.items()},
                "final": float(arm.final.mean()) if len(arm.final) and count == last else None,
            }
        )
    return found


def _arm(name: str, setting: Mapping[str, Any], runs: Sequence[Sequence[Row]]) -> Arm:
    rounds = [sorted((r for r in run if r["phase"] == "round"), key=lambda r: r["round"]) for run in runs]
    longest = max(map(len, rounds))
    rounds = [run for run in rounds if len(run) == longest]

    def column(key: str) -> NDArray[np.float64]:
        return np.array([[np.nan if row[key] is None else row[key] for row in run] for run in rounds], float)

    successors: dict[tuple[str, int], list[list[float]]] = {}
    for row in (row for run in runs for row in run if row["phase"] == "successor"):
        successors.setdefault((row["successor"], row["labels"]), []).append([row["accuracy"], row["macro_f1"]])
    return Arm(
        name,
        setting,
        np.array([row["labels"] for row in rounds[0]], np.int64),
        column("accuracy"),
        column("macro_f1"),
        column("fit_s"),
        column("rank_s"),
        np.array([row["accuracy"] for run in runs for row in run if row["phase"] == "final"], float),
        {which: np.array(figures, float) for which, figures in successors.items()},
    )


def _name(setting: Mapping[str, Any], different: Sequence[str]) -> str:
    words = [str(setting["strategy"])]
    for name in different:
        value = setting[name]
        if name == "encoder":
            words.append(short(value))
        elif name == "judge" and value:
            words.append(f"for {short(value)}")
        elif name == "label_names":
            words.append("names" if value else "no names")
        elif name == "batch_size":
            words.append(f"batches of {value}")
        elif name == "classifier":
            words.append({"finetune": "AL+FT"}.get(str(value), str(value)))
        elif name == "adapt" and value:
            words.append("encoder adapted")
        elif name == "budget":
            words.append(f"{value} labels")
    return ", ".join(dict.fromkeys(words))


def _random_for(arm: Arm, found: Sequence[Arm]) -> Arm | None:
    """The random labels that an arm is held against: with as many things the same as possible."""
    candidates = [other for other in found if other.setting["strategy"] == _RANDOM]
    return max(candidates, key=lambda it: sum(it.setting[name] == arm.setting[name] for name in _ARM), default=None)


def _curves(found: Sequence[Arm], title: str) -> Figure:
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    colours = iter(_COLOURS * len(found))
    for arm in found:
        is_random = arm.setting["strategy"] == _RANDOM
        colour = _RANDOM_COLOUR if is_random else next(colours)
        deviation = arm.accuracy.std(axis=0)
        axes.plot(arm.labels, arm.mean, "--" if is_random else "-", color=colour, linewidth=2, label=arm.name)
        axes.fill_between(arm.labels, arm.mean - deviation, arm.mean + deviation, color=colour, alpha=0.12, linewidth=0)
    axes.set_title(title, loc="left", fontweight="bold", parse_math=False)
    axes.set_xlabel("labels")
    axes.set_ylabel("accuracy on the test texts")
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.grid(color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    for name in axes.legend(loc="lower right", frameon=False).get_texts():
        name.set_parse_math(False)
    return figure
