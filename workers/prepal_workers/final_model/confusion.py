"""Draws which labels a model takes for which."""

import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prepal_workers.labelled.wording import named

_INCHES_A_CLASS, _LEAST_INCHES, _MOST_INCHES = 0.45, 4.0, 20.0
# More numbers than this cannot be read.
_MOST_NUMBERED = 20


def draw_confusion(
    truth: NDArray[np.bool_], given: NDArray[np.bool_], label_names: tuple[str, ...], path: Path
) -> None:
    """Write a picture: of the texts with a label (row), the share that was given each label (column).

    Args:
        truth: `(n, k)`, the labels that texts have.
        given: `(n, k)`, the ones that they are given.
        label_names: the k labels' names.
        path: the picture's file.
    """
    classes = np.arange(len(label_names))
    counts = truth.astype(np.int64).T @ given
    shares = counts / np.maximum(truth.sum(axis=0), 1)[:, None]
    inches = min(_MOST_INCHES, max(_LEAST_INCHES, _INCHES_A_CLASS * len(classes)))
    figure = Figure(figsize=(inches + 1.5, inches), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    # A name is no formula, whatever dollars it has.
    shown = [named([name]) or repr(name) for name in label_names]
    axes.set_xticks(classes, shown, rotation=90, parse_math=False)
    axes.set_yticks(classes, shown, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("labelled")
    if len(classes) <= _MOST_NUMBERED:
        for row, column in np.argwhere(counts):
            colour = "white" if shares[row, column] > 1 / 2 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    with warnings.catch_warnings():
        # A script that the font does not have is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(path, dpi=120)
