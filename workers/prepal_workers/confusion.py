"""Draws which classes a model takes for which."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prepal.learning.classifier import Labels

_INCHES_A_CLASS, _LEAST_INCHES, _MOST_INCHES = 0.45, 4.0, 20.0
# More numbers than this cannot be read.
_MOST_NUMBERED = 20


def draw_confusion(logits: NDArray[np.float32], labels: Labels, label_names: tuple[str, ...], path: Path) -> None:
    """Write a picture: of the texts with a label (row), the share that was given each label (column)."""
    k = len(label_names)
    classes = np.arange(k)
    truth = labels if labels.ndim == 2 else labels[:, None] == classes
    predicted = logits > 0 if labels.ndim == 2 else logits.argmax(axis=1)[:, None] == classes
    counts = truth.astype(np.int64).T @ predicted
    shares = counts / np.maximum(truth.sum(axis=0), 1)[:, None]
    inches = min(_MOST_INCHES, max(_LEAST_INCHES, _INCHES_A_CLASS * k))
    figure = Figure(figsize=(inches + 1.5, inches), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(classes, label_names, rotation=90)
    axes.set_yticks(classes, label_names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("labelled")
    if k <= _MOST_NUMBERED:
        for row, column in np.argwhere(counts):
            colour = "white" if shares[row, column] > 1 / 2 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    figure.savefig(path, dpi=120)
