"""What labels are worth: accuracy on held-back texts against the number of labels."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from prepal.learning.classifier import LogisticRegression

_OURS, _RANDOM = "chosen by the strategy", "chosen at random"
_BLUE, _GREY, _LIGHT = "#1f5fbf", "#80868f", "#e4e7eb"
_DPI = 160

_Vectors = NDArray[np.float32]


class CurvePoint(NamedTuple):
    """Accuracy, in [0, 1], of the classifier that was fitted on so many labels."""

    labels: int
    accuracy: float


def learning_curve(
    train_vectors: _Vectors,
    train_labels: Sequence[str],
    test_vectors: _Vectors,
    test_labels: Sequence[str],
    steps: Iterable[int],
) -> list[CurvePoint]:
    """Accuracy on the test texts after the first `step` labels, for each step.

    Args:
        train_vectors: (n, d) float32, in the order in which they were labelled.
        train_labels: n labels in that order.
        test_vectors: (m, d) float32.
        test_labels: m labels.
        steps: numbers of labels, each from 1 to n.
    """
    return [
        CurvePoint(step, _accuracy(train_vectors[:step], train_labels[:step], test_vectors, test_labels))
        for step in steps
    ]


def random_curve(
    pool_vectors: _Vectors,
    pool_labels: Sequence[str],
    test_vectors: _Vectors,
    test_labels: Sequence[str],
    steps: Sequence[int],
    seeds: Iterable[int] = range(10),
) -> list[CurvePoint]:
    """The mean learning curve of labelling the pool in random order, one order per seed.

    Args:
        pool_vectors: (n, d) float32.
        pool_labels: n labels.
        test_vectors: (m, d) float32.
        test_labels: m labels.
        steps: numbers of labels, each from 1 to n.
        seeds: one for each order that the mean is taken over.
    """
    curves = []
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(len(pool_labels))[: max(steps, default=0)]
        labels = [pool_labels[at] for at in order]
        curves.append(learning_curve(pool_vectors[order], labels, test_vectors, test_labels, steps))
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


def _accuracy(vectors: _Vectors, labels: Sequence[str], test_vectors: _Vectors, test_labels: Sequence[str]) -> float:
    truth = np.asarray(test_labels)
    classes, targets = np.unique(labels, return_inverse=True)
    # With one class there is nothing to fit: it would be the answer to every text.
    if len(classes) == 1:
        return float(np.mean(truth == classes[0]))
    probabilities = LogisticRegression(len(classes)).fit(vectors, targets).predict_proba(test_vectors)
    return float(np.mean(classes[probabilities.argmax(axis=1)] == truth))
