"""The model card, in the Hugging Face hub's format."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from prepal.records import readable
from prepal_workers.final_model.metrics import Metrics
from prepal_workers.labelled.wording import named

_TASK = "text-classification"
_HOW_MANY = {
    "one": "one label",
    "some": "one label or more (those with a score above 0.5, or the highest one)",
    "any": "any number of labels (those with a score above 0.5)",
}


def write_card(path: Path, metrics: Metrics, label_names: Sequence[str]) -> None:
    """Write a model's README.md."""
    lines = [
        *("---", _header(metrics), "---"),
        *_use(metrics, label_names),
        *_data(metrics),
        *_quality(metrics),
        *_training(metrics),
        "## Limits",
        "It knows texts like those that were labelled, and only their labels; other texts get one of these too.",
        "",
    ]
    path.write_text(readable("\n".join(lines)), encoding="utf-8")


def _header(metrics: Metrics) -> str:
    results = [
        EvalResult(_TASK, "labelled-in-label-studio", "Labelled in Label Studio", kind, round(value, 4))
        for kind, value in (("accuracy", metrics.accuracy.estimate), ("f1", metrics.macro_f1))
    ]
    # A folder of this machine says nothing to others.
    base = metrics.model if not Path(metrics.model).exists() else None
    card = ModelCardData(
        model_name="Fine-tuned on labels from Label Studio",
        library_name="transformers",
        pipeline_tag=_TASK,
        base_model=base,
        tags=[_TASK, "label-studio", "prepal"],
        metrics=["accuracy", "f1"],
        eval_results=results,
    )
    return str(card.to_yaml())


def _use(metrics: Metrics, label_names: Sequence[str]) -> list[str]:
    data = metrics.data
    example = '{"text": "First text", "text_pair": "Second text"}' if data["pairs"] else '"A text."'
    more = "" if data["how_many"] == "one" else ", top_k=None"
    return [
        "# Text classification",
        "",
        f"Gives {_what(data)} {_HOW_MANY[data['how_many']]} of: {', '.join(map(_cell, label_names))}.",
        "",
        "```python",
        "from transformers import pipeline",
        "",
        'classify = pipeline("text-classification", "THIS_FOLDER")',
        f"classify({example}, truncation=True{more})",
        "```",
        "",
    ]


def _data(metrics: Metrics) -> list[str]:
    data = metrics.data
    left_out = ", ".join(f"{count} {reason}" for reason, count in data["left_out"].items()) or "none"
    source = f"{data['tasks']} rows of a {data['kind']} file"
    if data["choice"]:
        source = (
            f"{data['tasks']} tasks of a Label Studio export ({data['kind']}), tag {data['choice']!r}, "
            f"in {data['disagreements']} of which annotators chose differently: settled by {data['settled_by']}"
        )
    return [
        "## Data",
        f"{source}; {data['texts']} {_what(data)} with a label, from {' + '.join(data['fields'])}. "
        f"Left out: {left_out}.{_equal_texts(data)}",
        "",
        "| label | examples |",
        "| --- | --- |",
        *(f"| {_cell(label)} | {count} |" for label, count in data["counts"].items()),
        "",
    ]


def _quality(metrics: Metrics) -> list[str]:
    accuracy, calibration = metrics.accuracy, metrics.calibration
    return [
        "## How good it is",
        f"Measured on {metrics.judged_by['texts']} texts ({metrics.judged_by['how']}) that the measured model "
        f"did not learn from; they chose its epoch. The delivered model learnt from {metrics.learnt_from} texts.",
        "",
        "| | |",
        "| --- | --- |",
        f"| accuracy | {accuracy.estimate:.3f} (95 % interval {accuracy.low:.3f} to {accuracy.high:.3f}) |",
        f"| accuracy of the most frequent answer | {metrics.majority_accuracy:.3f} |",
        f"| macro-F1 | {metrics.macro_f1:.3f} |",
        f"| calibration error | {calibration['error_after']:.3f} (before temperature scaling "
        f"{calibration['error_before']:.3f}) |",
        "",
        "| label | precision | recall | F1 | examples |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {_cell(label)} | {c['precision']:.3f} | {c['recall']:.3f} | {c['f1']:.3f} | {c['examples']} |"
            for label, c in metrics.per_class.items()
        ),
        "",
        "![Confusion matrix](confusion.png)",
        "",
    ]


def _training(metrics: Metrics) -> list[str]:
    recipe = metrics.recipe
    return [
        "## Training",
        f"Learning rate {recipe.learning_rate:.1e}, at most {recipe.epochs} epochs, batches of {recipe.batch_size}, "
        f"seed {metrics.seed}, {metrics.precision}, texts of up to {metrics.max_tokens} tokens; "
        f"{', '.join(f'{name} {number}' for name, number in metrics.versions.items())}.",
        "",
    ]


def _what(data: Mapping[str, Any]) -> str:
    return "pairs of texts" if data["pairs"] else "texts"


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
