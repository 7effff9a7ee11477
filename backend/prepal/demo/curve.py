"""What labels are worth: accuracy on held-back texts against the number of labels."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.labels import NothingToLearn

_OURS, _RANDOM = "chosen by the strategy", "chosen at random"
_BLUE, _GREY, _LIGHT = "#1f5fbf", "#80868f", "#e4e7eb"
_DPI = 160

_Vectors = NDArray[np.float32]


class CurvePoint(NamedTuple):
    """Accuracy, in [0, 1], of the classifier that was fitted on so many labels."""

    labels: int
    accuracy: float


def learning_curve(
    pool: tuple[_Vectors, Sequence[str]],
    test: tuple[_Vectors, Sequence[str]],
    order: Sequence[int],
    steps: Iterable[int],
    names: _Vectors | None = None,
) -> list[CurvePoint]:
    """Accuracy of the live loop's classifier on the test texts after the first `step` labels, for each step.

    Args:
        pool: vectors (n, d) float32 and n labels.
        test: vectors (m, d) float32 and m labels.
        order: places in the pool, as they were labelled.
        steps: numbers of labels, each from 1 to the length of `order`.
        names: (k, d) float32, vectors of the k different labels' names, sorted by name; None: names are not used.
    """
    vectors, labels = pool
    choices = sorted(set(labels))
    targets = np.array([choices.index(label) for label in labels], np.int64)
    truth = np.asarray(test[1])
    learner = ActiveLearner(len(choices), "random", name_vectors=names)
    curve = []
    for step in steps:
        labelled = np.asarray(order[:step])
        try:
            learner.fit(vectors[labelled], targets[labelled], np.delete(vectors, labelled, axis=0))
            predicted = learner.classifier.predict_proba(test[0]).argmax(axis=1)
        except NothingToLearn:
            # Labels of one choice: it is the answer to every text.
            predicted = np.full(len(truth), targets[labelled[0]])
        curve.append(CurvePoint(step, float(np.mean(np.array(choices)[predicted] == truth))))
    return curve


def random_curve(
    pool: tuple[_Vectors, Sequence[str]],
    test: tuple[_Vectors, Sequence[str]],
    steps: Sequence[int],
    seeds: Iterable[int] = range(10),
) -> list[CurvePoint]:
    """The mean learning curve of labelling the pool in random order, without the names, one order per seed.

    Args:
        pool: vectors (n, d) float32 and n labels.
        test: vectors (m, d) float32 and m labels.
        steps: numbers of labels, each from 1 to n.
        seeds: one for each order that the mean is taken over.
    """
    curves = [
        learning_curve(pool, test, np.random.default_rng(seed).permutation(len(pool[1])).tolist(), steps)
        for seed in seeds
    ]
    return [
        CurvePoint(points[0].labels, float(np.mean([point.accuracy for point in points])))
        for points in zip(*curves, strict=True)
    ]


def draw(curve: Sequence[CurvePoint], random: Sequence[CurvePoint], path: Path) -> None:
    """Write both curves to a PNG file."""
    # Here, because the backend runs without matplotlib. A bare Figure draws with Agg and needs no display.
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for points, name, color, dashes in ((random, _RANDOM, _GREY, "--"), (curve, _OURS, _BLUE, "-")):
        x, y = [p.labels for p in points], [p.accuracy for p in points]
        axes.plot(x, y, dashes, color=color, linewidth=2.2, marker="o", markersize=4.5, label=name)
    axes.set_title("Accuracy on held-back texts", loc="left", fontsize=13, fontweight="bold", pad=12)
    axes.set_xlabel("labels")
    axes.set_ylabel("accuracy")
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.grid(color=_LIGHT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, reverse=True)
    figure.savefig(path, dpi=_DPI, format="png")


def table(curve: Sequence[CurvePoint], random: Sequence[CurvePoint]) -> Table:
    """Both curves side by side, with what the strategy gains in percentage points."""
    shown = Table(title="Accuracy on held-back texts")
    for heading in ("labels", _OURS, _RANDOM, "gain"):
        shown.add_column(heading, justify="right")
    for ours, theirs in zip(curve, random, strict=True):
        gain = 100 * (ours.accuracy - theirs.accuracy)
        shown.add_row(str(ours.labels), f"{ours.accuracy:.1%}", f"{theirs.accuracy:.1%}", f"{gain:+.1f}")
    return shown
