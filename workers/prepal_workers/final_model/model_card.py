"""The model card, in the Hugging Face hub's format, and its picture of which labels a model takes for which."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prepal.files import write_whole
from prepal.records import readable
from prepal.vectors import encoders
from prepal_workers.final_model.metrics import Metrics
from prepal_workers.labelled.wording import named
from prepal_workers.model.word_counts import FILE, WORD_COUNTS

_INCHES_A_CLASS, _LEAST_INCHES, _MOST_INCHES = 0.45, 4.0, 20.0
# More numbers than this cannot be read.
_MOST_NUMBERED = 20
_TASK = "text-classification"
_HOW_MANY = {
    "one": "one label",
    "some": "one label or more (those with a score above 0.5, or the highest one)",
    "any": "any number of labels (those with a score above 0.5)",
}


def write_card(path: Path, metrics: Metrics, label_names: Sequence[str]) -> None:
    """Write a model's README.md."""
    data = metrics.data
    loader = PackageLoader("prepal_workers.final_model")
    pages = Environment(loader=loader, trim_blocks=True, keep_trailing_newline=True)  # noqa: S701  it is no HTML
    pages.filters |= {"cell": _cell, "short": "{:.3f}".format}
    card = pages.get_template("model_card.md").render(
        vars(metrics)
        | {
            "header": _header(metrics),
            "what": "pairs of texts" if data["pairs"] else "texts",
            "how_many": _HOW_MANY[data["how_many"]],
            "label_names": label_names,
            "counts_words": metrics.model == WORD_COUNTS,
            "words_file": FILE,
            "example": '{"text": "First text", "text_pair": "Second text"}' if data["pairs"] else '"A text."',
            "options": "" if data["how_many"] == "one" else ", top_k=None",
            "source": _source(data),
            "teacher": metrics.beliefs and _public(metrics.beliefs.teacher),
            "left_out": ", ".join(f"{count} {reason}" for reason, count in data["left_out"].items()) or "none",
            "equal_texts": _equal_texts(data),
            "versions": ", ".join(f"{name} {number}" for name, number in metrics.versions.items()),
        }
    )
    write_whole(path, readable(card).encode())


def draw_confusion(
    truth: NDArray[np.bool_], given: NDArray[np.bool_], label_names: tuple[str, ...], path: Path
) -> None:
    """Write a picture: of the texts with a label (row), the share that was given each label (column).

    `truth` and `given`, both `(n, k)`, are the labels that texts have and are given.
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


def _header(metrics: Metrics) -> str:
    results = [
        EvalResult(_TASK, "labelled-in-label-studio", "Labelled in Label Studio", kind, round(value, 4))
        for kind, value in (("accuracy", metrics.accuracy.estimate), ("f1", metrics.macro_f1))
    ]
    counts_words = metrics.model == WORD_COUNTS
    base = None if counts_words or Path(metrics.model).exists() else metrics.model
    card = ModelCardData(
        model_name="Fine-tuned on labels from Label Studio",
        library_name="sklearn" if counts_words else "transformers",
        pipeline_tag=_TASK,
        base_model=base,
        tags=[_TASK, "label-studio", "prepal"],
        metrics=["accuracy", "f1"],
        eval_results=results,
    )
    return str(card.to_yaml())


def _public(model: str) -> str:
    """What others may call a model: a folder of this machine says nothing to them."""
    return "another encoder" if Path(encoders.weights(model)).exists() else model


def _source(data: Mapping[str, Any]) -> str:
    if not data["choice"]:
        return f"{data['tasks']} rows of a {data['kind']} file"
    return (
        f"{data['tasks']} tasks of a Label Studio export ({data['kind']}), tag {data['choice']!r}, "
        f"in {data['disagreements']} of which annotators chose differently: settled by {data['settled_by']}"
    )


def _cell(name: str) -> str:
    """A name that is one line, and one cell of a table."""
    return " ".join(name.split()).replace("|", "\\|")


def _equal_texts(data: Mapping[str, Any]) -> str:
    if data["different_texts"] == data["texts"]:
        return ""
    said = f" {data['different_texts']} of them are different, and no copy of what measures was learnt from meanwhile."
    if not data["contradictory"]:
        return said
    return f"{said} Equal ones have different labels in the tasks {named([str(t) for t in data['contradictory']])}."
