"""Label Studio's export → a fine-tuned model, with what there is to know of it."""

import hashlib
import json
import platform
import re
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from prepal.errors import PrepalError
from prepal.files import json_bytes
from prepal.learning.classifiers.labels import Labels
from prepal_workers.final_model.confusion import draw_confusion
from prepal_workers.final_model.judging import Judged, Training, judge
from prepal_workers.final_model.model_card import write_card
from prepal_workers.final_model.trust import Trust
from prepal_workers.labelled.crowd import overlaps_enough, settle_by_crowdlab
from prepal_workers.labelled.data import LabelledData
from prepal_workers.model import onnx_export
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.training import measures
from prepal_workers.training.bar import Bar
from prepal_workers.training.recipe import Method, Wishes, precision
from prepal_workers.training.training import Trained

METRICS = "metrics.json"
_CHECKPOINTS = "checkpoints"
# A list of numbers, written one a line; a line does not end within a string.
_NUMBERS = re.compile(rb"\[\n([\d.,eE+\-\s]*)\]")
# Up to so many labels every one counts, and training once more on all of them takes minutes.
_LEARN_FROM_ALL = 2000
# So many texts show whether an export is the same model, and how much surer one model is than another.
_CHECKED_TEXTS, _COMPARED_TEXTS = 64, 256


def finetune(
    data: LabelledData,
    model: str,
    out: Path,
    console: Console,
    *,
    wishes: Wishes | None = None,
    seed: int = 0,
    resume: bool = False,
    onnx: bool = False,
) -> dict[str, Any]:
    """Train, measure, and write the model's folder; returns what `metrics.json` has.

    Args:
        data: what was labelled.
        model: name on the Hugging Face hub, or a local folder.
        out: the folder; its `checkpoints` keep what `resume` goes on from.
        console: gets a line per epoch.
        wishes: hyperparameters that are given.
        seed: of everything that is drawn.
        resume: go on where the same command was ended.
        onnx: write `model.onnx`, too.

    Raises:
        PrepalError: the folder holds a model already, or one that was begun otherwise; or the model cannot be used.
    """
    wishes = wishes or Wishes()
    fingerprint = _fingerprint(data, model, wishes, seed)
    if onnx:
        onnx_export.check_installed()
    _prepare(out, fingerprint, resume=resume)
    if overlaps_enough(data):
        data = _weighed(data, model, seed, console)
    training = Training(data, model, out / _CHECKPOINTS, console, wishes, seed, resume)
    judged = judge(training)
    delivered, learnt_from, interrupted = _deliver(training, judged)
    temperature = measures.fit_temperature(judged.logits, data.labels[judged.held_back])
    surer = _how_much_surer(delivered, judged, data)
    delivered.model.soften(temperature)
    delivered.model.save(out, data.label_names)
    metrics = {
        **_measured(data, judged, temperature, surer),
        "learnt_from": learnt_from,
        "best_epoch": (judged.trained or delivered).best_epoch,
        "epochs": [asdict(epoch) for epoch in (judged.trained or delivered).epochs],
        "recipe": asdict((judged.trained or delivered).recipe),
        "interrupted": interrupted,
        "data": _said(data),
        "model": model,
        "parameters": delivered.model.parameters,
        "max_tokens": delivered.model.max_tokens,
        "seed": seed,
        "fingerprint": fingerprint,
        "precision": precision(),
        "versions": _versions(),
    }
    if onnx:
        console.print("Writing ONNX, and checking it against the original.")
        asked = [text for text, held in zip(data.texts, judged.held_back, strict=True) if held]
        metrics["onnx"] = onnx_export.export_onnx(delivered.model, out, asked[:_CHECKED_TEXTS])
    given = measures.given(judged.logits, data.how_many)
    draw_confusion(data.marks[judged.held_back], given, data.label_names, out / "confusion.png")
    write_card(out / "README.md", metrics, data.label_names)
    # What `predict` needs comes last: a folder that has it is whole.
    (out / METRICS).write_bytes(_NUMBERS.sub(_on_one_line, json_bytes(metrics, indent=1)))
    if not interrupted:
        shutil.rmtree(out / _CHECKPOINTS)
    return metrics


def _weighed(data: LabelledData, model: str, seed: int, console: Console) -> LabelledData:
    """The same data with labels by annotators who are weighed by how reliable they are."""
    reader = SequenceModel(model, len(data.label_names))
    with Bar(console) as bar:
        reader.on_read = bar.read
        vectors = reader.vectors(data.texts)
    settled = settle_by_crowdlab(data, vectors, seed)
    console.print(settled.notes[-1], markup=False)
    return settled


def _deliver(training: Training, judged: Judged) -> tuple[Trained, int, bool]:
    """The model to keep, from how many texts it learnt, and whether Ctrl-C ended anything."""
    texts = len(training.data.texts)
    if judged.trained is not None and (texts > _LEARN_FROM_ALL or judged.interrupted):
        return judged.trained, int(judged.learnt.sum()), judged.interrupted
    training.console.print(f"Once more, from all {texts} texts.")
    # After Ctrl-C, what takes no time.
    method: Method = "logistic" if judged.interrupted else judged.method
    final = training.run(np.arange(texts), "all", method)
    if judged.trained is not None and final.interrupted:
        return judged.trained, int(judged.learnt.sum()), True
    return final, texts, judged.interrupted or final.interrupted


def _measured(data: LabelledData, judged: Judged, temperature: float, surer: float) -> dict[str, Any]:
    """How good the judged model is, and how far its confidences, or those of a surer one, can be trusted."""
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
        "trust": Trust.of(softened, truth, each, groups).if_surer(surer).to_json(),
        "judged_by": {"texts": int(judged.held_back.sum()), "how": judged.how},
        "methods": judged.scores,
    }


def _said(data: LabelledData) -> dict[str, Any]:
    """What was read."""
    return {
        "kind": data.kind,
        "tasks": data.tasks,
        "texts": len(data.texts),
        "different_texts": len(np.unique(data.groups)),
        "contradictory": data.contradictory,
        "fields": list(data.fields),
        "pairs": data.pairs,
        "choice": data.choice,
        "how_many": data.how_many,
        "counts": data.counts,
        "disagreements": data.disagreements,
        "settled_by": data.settled_by,
        "left_out": data.left_out,
    }


def _on_one_line(numbers: re.Match[bytes]) -> bytes:
    return b"[" + b" ".join(numbers[1].split()) + b"]"


def _prepare(out: Path, fingerprint: str, *, resume: bool) -> None:
    """Make the folder ready; refuses to go on with something else than was begun there."""
    checkpoints = out / _CHECKPOINTS
    mark = checkpoints / "fingerprint"
    if not resume and (out / "config.json").exists():
        raise PrepalError(f"{out} holds a model already: choose another --out, or delete it.")
    if resume and mark.exists() and mark.read_text() != fingerprint:
        raise PrepalError(f"{out} was begun with other labels or options: give the same ones, or leave out --resume.")
    try:
        if not resume:
            shutil.rmtree(checkpoints, ignore_errors=True)
        checkpoints.mkdir(parents=True, exist_ok=True)
        mark.write_text(fingerprint)
    except OSError as error:
        raise PrepalError(f"{out} cannot be written ({error.strerror}): choose another --out.") from error


def _fingerprint(data: LabelledData, model: str, wishes: Wishes, seed: int) -> str:
    said = json.dumps([data.texts, data.labels.tolist(), data.label_names, model, asdict(wishes), seed])
    return hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _how_much_surer(delivered: Trained, judged: Judged, data: LabelledData) -> float:
    """By what factor the delivered model is surer than the judged one, of texts that both learnt from.

    It may have learnt for more epochs, and then the judged texts do not vouch for how sure it is.
    """
    if judged.trained is None or delivered is judged.trained:
        return 1.0
    texts = [data.texts[place] for place in np.flatnonzero(judged.learnt)[:_COMPARED_TEXTS]]
    return measures.how_much_surer(delivered.model.logits(texts), judged.trained.model.logits(texts))


def _majority(labels: Labels, truth: Labels) -> float:
    """Accuracy of always giving the most frequent answer."""
    answers, counts = np.unique(labels, axis=0, return_counts=True)
    alike = truth == answers[counts.argmax()]
    return float((alike.all(axis=1) if truth.ndim == 2 else alike).mean())


def _versions() -> dict[str, str]:
    names = ("prepal-label-studio", "torch", "transformers", "accelerate", "numpy", "scikit-learn")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {"python": platform.python_version(), "device": device, **{name: version(name) for name in names}}
