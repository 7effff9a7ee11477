"""What there is to know of a fine-tuned model: `metrics.json`, which is written last and which `predict` goes by."""

import platform
import re
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prepal.files import json_bytes, write_whole
from prepal.learning.classifiers.labels import Labels
from prepal_workers.final_model.choosing import Helped
from prepal_workers.final_model.judging import Judged
from prepal_workers.final_model.trust import Trust
from prepal_workers.labelled.data import LabelledData
from prepal_workers.training import measures
from prepal_workers.training.epochs import Epoch
from prepal_workers.training.recipe import Recipe, precision

FILE = "metrics.json"
# A list of numbers, written one a line; a line does not end within a string.
_NUMBERS = re.compile(rb"\[\n([\d.,eE+\-\s]*)\]")


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What `metrics.json` has, in its order.

    Measures are of the texts that the model was judged by. `best_epoch`, `epochs` and `recipe` are those of the judged
    model if there was one alone, else of the delivered one.

    Attributes:
        confusion: rows are labels that texts have, columns those that they are given; one matrix per label where a
            text may have several.
        trust: how far confidences can be trusted: a `Trust` as JSON.
        judged_by: how many texts, and how they were chosen.
        methods: the score of each method that was tried.
        learnt_from: how many texts the delivered model learnt from.
        max_tokens: how long texts may be; None where all of them counts.
        fingerprint: 32 hexadecimal digits that other labels or options would change.
        beliefs: whether beliefs of texts without a label helped; None if there were none to try.
        onnx: how far `model.onnx` differs from the model; None if it was not asked for.
    """

    accuracy: measures.Share
    macro_f1: float
    log_loss: float
    per_class: dict[str, Any]
    confusion: list[Any]
    majority_accuracy: float
    calibration: dict[str, float]
    trust: dict[str, Any]
    judged_by: dict[str, Any]
    methods: dict[str, float]
    learnt_from: int
    best_epoch: int
    epochs: list[Epoch]
    recipe: Recipe
    interrupted: bool
    data: dict[str, Any]
    model: str
    parameters: int
    max_tokens: int | None
    seed: int
    fingerprint: str
    precision: str = field(default_factory=precision)
    versions: dict[str, str] = field(default_factory=lambda: _versions())
    beliefs: Helped | None = None
    onnx: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def write(self, folder: Path) -> None:
        """Write it into a model's folder."""
        written = json_bytes(self.to_json(), indent=1)
        write_whole(folder / FILE, _NUMBERS.sub(lambda found: b"[" + b" ".join(found[1].split()) + b"]", written))


def figures(data: LabelledData, judged: Judged, temperature: float, surer: float) -> dict[str, Any]:
    """The fields of `Metrics` that say what was read, and how good the judged model is.

    The delivered model's logits are divided by `temperature`; it is `surer` by this factor than the judged one.
    """
    logits, truth, each = judged.logits, data.labels[judged.held_back], data.how_many
    softened, groups = logits / np.float32(temperature), data.groups[judged.held_back]
    return {
        **measures.report(logits, truth, data.label_names, each, groups),
        "majority_accuracy": _majority(data.labels[judged.learnt], truth),
        "calibration": {
            "temperature": temperature,
            "error_before": measures.calibration_error(logits, truth, each),
            "error_after": measures.calibration_error(softened, truth, each),
            "log_loss_before": measures.log_loss(logits, truth),
            "log_loss_after": measures.log_loss(softened, truth),
        },
        "trust": replace(Trust.of(softened, truth, each, groups), surer=surer).to_json(),
        "judged_by": {"texts": int(judged.held_back.sum()), "how": judged.how},
        "methods": judged.scores,
        "data": {
            "kind": data.kind,
            "tasks": data.tasks,
            "texts": len(data.texts),
            "different_texts": len(np.unique(data.groups)),
            "contradictory": data.contradictory,
            **data.reader.to_json(),
            "choice": data.choice,
            "how_many": data.how_many,
            "counts": data.counts,
            "disagreements": data.disagreements,
            "settled_by": data.settled_by,
            "left_out": data.left_out,
        },
    }


def _versions() -> dict[str, str]:
    """Versions of Python and the libraries, and what they run on."""
    names = ("prepal-label-studio", "torch", "transformers", "accelerate", "numpy", "scikit-learn", "skops")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {"python": platform.python_version(), "device": device, **{name: version(name) for name in names}}


def _majority(labels: Labels, truth: Labels) -> float:
    """Accuracy of always giving the most frequent answer."""
    answers, counts = np.unique(labels, axis=0, return_counts=True)
    alike = truth == answers[counts.argmax()]
    return float((alike.all(axis=1) if truth.ndim == 2 else alike).mean())
