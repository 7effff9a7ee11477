"""Label Studio's export → a fine-tuned model, with what there is to know of it."""

import hashlib
import json
import logging
import platform
import shutil
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, TaskID

from prepal.errors import PrepalError
from prepal.learning.classifier import Labels
from prepal_workers import measures
from prepal_workers.confusion import draw_confusion
from prepal_workers.labelled_data import LabelledData
from prepal_workers.model_card import write_card
from prepal_workers.recipe import Recipe, Wishes, precision
from prepal_workers.sequence_model import SequenceModel
from prepal_workers.training import Epoch, Trained, train

log = logging.getLogger(__name__)

METRICS = "metrics.json"
_CHECKPOINTS = "checkpoints"
# One text in five is held back to judge by.
_HELD_BACK = 5
# With fewer audit tasks, or when hardly anything would be left to learn from, texts are drawn instead.
_LEAST_AUDITS, _MOST_AUDIT_SHARE = 30, 0.5
# Up to so many labels every one counts, and training once more on all of them takes minutes.
_LEARN_FROM_ALL = 2000


def finetune(
    data: LabelledData,
    model: str,
    out: Path,
    console: Console,
    *,
    wishes: Wishes | None = None,
    seed: int = 0,
    resume: bool = False,
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

    Raises:
        PrepalError: the folder holds a model already, or one that was begun otherwise; or the model cannot be used.
    """
    wishes = wishes or Wishes()
    held_back, how = split(data, seed)
    fingerprint = _fingerprint(data, model, wishes, seed)
    _prepare(out, fingerprint, resume=resume)
    console.print(f"Judged by {int(held_back.sum())} texts ({how}), learning from {int((~held_back).sum())}.")
    judged, logits = _judge(data, model, out / _CHECKPOINTS, console, wishes, held_back, seed=seed, resume=resume)
    truth = data.labels[held_back]
    temperature = measures.fit_temperature(logits, truth)
    delivered, learnt_from = judged, int((~held_back).sum())
    if not judged.interrupted and len(data.texts) <= _LEARN_FROM_ALL:
        console.print(f"Once more, from all {len(data.texts)} texts.")
        final = _train(data, model, out / _CHECKPOINTS / "all", console, wishes, judged, seed=seed, resume=resume)
        if not final.interrupted:
            delivered, learnt_from = final, len(data.texts)
    interrupted = judged.interrupted or learnt_from < len(data.texts) <= _LEARN_FROM_ALL
    delivered.model.soften(temperature)
    delivered.model.save(out, data.label_names)
    metrics = {
        **measures.report(logits, truth, data.label_names),
        "majority_accuracy": _majority(data.labels[~held_back], truth),
        "calibration": {
            "temperature": temperature,
            "error_before": measures.calibration_error(logits, truth),
            "error_after": measures.calibration_error(logits / np.float32(temperature), truth),
            "log_loss_before": measures.log_loss(logits, truth),
            "log_loss_after": measures.log_loss(logits / temperature, truth),
        },
        "judged_by": {"texts": int(held_back.sum()), "how": how},
        "learnt_from": learnt_from,
        "best_epoch": judged.best_epoch,
        "epochs": [asdict(epoch) for epoch in judged.epochs],
        "recipe": asdict(judged.recipe),
        "interrupted": interrupted,
        "data": {
            "kind": data.kind,
            "tasks": data.tasks,
            "texts": len(data.texts),
            "fields": list(data.fields),
            "pairs": data.pairs,
            "choice": data.choice,
            "multilabel": data.multilabel,
            "counts": data.counts,
            "disagreements": data.disagreements,
            "left_out": data.left_out,
        },
        "model": model,
        "parameters": delivered.model.parameters,
        "max_tokens": delivered.model.max_tokens,
        "seed": seed,
        "fingerprint": fingerprint,
        "precision": precision(),
        "versions": _versions(),
        "sureness": _sureness(logits / np.float32(temperature), truth),
    }
    (out / METRICS).write_text(json.dumps(metrics, indent=1, ensure_ascii=False), encoding="utf-8")
    draw_confusion(logits, truth, data.label_names, out / "confusion.png")
    write_card(out / "README.md", metrics, data.label_names)
    if not interrupted:
        shutil.rmtree(out / _CHECKPOINTS)
    return metrics


def split(data: LabelledData, seed: int) -> tuple[NDArray[np.bool_], str]:
    """Which texts `(n,)` are held back to judge by, and how they were chosen.

    Audit tasks were drawn at random, so what they say holds for all texts. Where they are too few, a fifth of every
    class is drawn, and no class is left without an example to learn from.
    """
    marks = data.labels if data.labels.ndim == 2 else data.labels[:, None] == np.arange(len(data.label_names))
    if _LEAST_AUDITS <= data.is_audit.sum() <= _MOST_AUDIT_SHARE * len(marks):
        held_back, how = data.is_audit.copy(), "the audit tasks"
    else:
        rarest = np.where(marks, marks.sum(axis=0), len(marks) + 1).argmin(axis=1)
        order = np.random.default_rng(seed).permutation(len(marks))
        order = order[np.argsort(rarest[order], kind="stable")]
        held_back, how = np.zeros(len(marks), bool), "drawn at random within each class"
        held_back[order[_HELD_BACK // 2 :: _HELD_BACK]] = True
    for missing in np.flatnonzero(~marks[~held_back].any(axis=0)):
        held_back[np.flatnonzero(marks[:, missing])] = False
    if not held_back.any():
        raise PrepalError(f"{len(marks)} labels are too few to hold some back to judge by: label more.")
    return held_back, how


def _judge(
    data: LabelledData,
    model: str,
    checkpoints: Path,
    console: Console,
    wishes: Wishes,
    held_back: NDArray[np.bool_],
    *,
    seed: int,
    resume: bool,
) -> tuple[Trained, NDArray[np.float32]]:
    """Train without the texts that were held back; returns what the model says of them, too."""
    done, kept = checkpoints / "judged.json", checkpoints / "judged"
    texts = [text for text, held in zip(data.texts, held_back, strict=True) if held]
    if resume and done.exists():
        said = json.loads(done.read_text())
        epochs = [Epoch(**epoch) for epoch in said["epochs"]]
        found = Trained(SequenceModel.load(kept), Recipe(**said["recipe"]), said["best_epoch"], epochs)
        return found, np.array(said["logits"], np.float32)
    learnt = [text for text, held in zip(data.texts, held_back, strict=True) if not held]
    with _Bar(console) as bar:
        found = train(
            model,
            learnt,
            data.labels[~held_back],
            len(data.label_names),
            seed=seed,
            out=checkpoints / "part",
            validation=(texts, data.labels[held_back]),
            unlabelled=data.unlabelled,
            wishes=wishes,
            resume=resume,
            watch=bar,
        )
    if found.interrupted:
        console.print("Ended early: the best so far is kept.")
    elif found.best_epoch == 0:
        console.print("No epoch was better than the logistic regression that training started from: it is taken.")
    logits = found.model.logits(texts)
    if not found.interrupted:
        found.model.save(kept, data.label_names)
        partial = done.with_suffix(".partial")
        said = {"epochs": [asdict(e) for e in found.epochs], "recipe": asdict(found.recipe), "logits": logits.tolist()}
        partial.write_text(json.dumps({**said, "best_epoch": found.best_epoch}))
        partial.replace(done)
    return found, logits


def _train(
    data: LabelledData,
    model: str,
    checkpoints: Path,
    console: Console,
    wishes: Wishes,
    judged: Trained,
    *,
    seed: int,
    resume: bool,
) -> Trained:
    """Train on all texts, in the way that was judged: not at all where that was best."""
    same = wishes if judged.best_epoch else replace(wishes, epochs=0)
    with _Bar(console) as bar:
        return train(
            model,
            data.texts,
            data.labels,
            len(data.label_names),
            seed=seed,
            out=checkpoints,
            unlabelled=data.unlabelled,
            wishes=same,
            resume=resume,
            watch=bar,
        )


class _Bar:
    """A progress bar, with a line per epoch above it."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(console=console, transient=True)
        self._task: TaskID | None = None

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self, done: int, total: int) -> None:
        if self._task is None:
            self._task = self._progress.add_task("training", total=total)
        self._progress.update(self._task, completed=done)

    def epoch(self, epoch: Epoch) -> None:
        line = f"epoch {epoch.number:2}  loss {epoch.loss:.3f}"
        if epoch.accuracy is not None:
            line += f"  accuracy {epoch.accuracy:.3f}  macro-F1 {epoch.macro_f1:.3f}"
        self._progress.console.print(f"{line}  {epoch.seconds:.0f} s")


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


def _majority(labels: Labels, truth: Labels) -> float:
    """Accuracy of always giving the most frequent answer."""
    answers, counts = np.unique(labels, axis=0, return_counts=True)
    alike = truth == answers[counts.argmax()]
    return float((alike.all(axis=1) if truth.ndim == 2 else alike).mean())


def _sureness(logits: NDArray[np.float32], truth: Labels) -> dict[str, list[Any]]:
    """How sure each judgement was, surest first, and whether it was right: what thresholds are found on."""
    sure, hit = measures.confidences(logits, multilabel=truth.ndim == 2), measures.right(logits, truth)
    order = np.argsort(-sure, kind="stable")
    return {"confidence": [round(float(c), 6) for c in sure[order]], "right": [bool(h) for h in hit[order]]}


def _versions() -> dict[str, str]:
    names = ("prepal-label-studio", "torch", "transformers", "accelerate", "numpy", "scikit-learn")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {"python": platform.python_version(), "device": device, **{name: version(name) for name in names}}
