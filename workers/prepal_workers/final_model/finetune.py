"""Label Studio's export → a fine-tuned model, with what there is to know of it."""

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from prepal.errors import PrepalError
from prepal.learner.memory.words import lexical_vectors
from prepal_workers.final_model.judging import Judged, judge
from prepal_workers.final_model.metrics import Metrics, figures
from prepal_workers.final_model.model_card import draw_confusion, write_card
from prepal_workers.final_model.trainings import LEARN_FROM_ALL, Training
from prepal_workers.labelled.crowd import overlaps_enough, settle_by_crowdlab
from prepal_workers.labelled.data import LabelledData
from prepal_workers.labelled.raw_texts import others
from prepal_workers.model import onnx_export
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.model.word_counts import WORD_COUNTS, WordCounts
from prepal_workers.training import measures
from prepal_workers.training.bar import Bar
from prepal_workers.training.counting import check_wishes
from prepal_workers.training.recipe import Method, Wishes
from prepal_workers.training.training import Trained

_CHECKPOINTS = "checkpoints"
# So many texts show whether an export is the same model, and how much surer one model is than another.
_CHECKED_TEXTS, _COMPARED_TEXTS = 64, 256
# Of so many texts a teacher is asked where embedding them would take long.
_MOST_ASKED = 4000


def finetune(
    data: LabelledData,
    model: str,
    out: Path,
    console: Console,
    *,
    wishes: Wishes | None = None,
    encoder: str | None = None,
    seed: int = 0,
    resume: bool = False,
    onnx: bool = False,
) -> Metrics:
    """Train, measure, and write the model's folder.

    Args:
        data: what was labelled.
        model: name on the Hugging Face hub, a local folder, or `WORD_COUNTS`.
        out: the folder; its `checkpoints` keep what `resume` goes on from.
        console: gets a line per epoch.
        wishes: hyperparameters that are given.
        encoder: the project's, which teaches what texts without a label may be once it learnt from the labels; None to
            learn from labels alone.
        seed: decides everything that is drawn.
        resume: go on where the same command was ended.
        onnx: write `model.onnx`, too.

    Raises:
        PrepalError: the folder holds a model already, or one that was begun otherwise; or the model cannot be used.
    """
    wishes = wishes or Wishes()
    if model == WORD_COUNTS:
        check_wishes(wishes)
    data = replace(data, unlabelled=others(data.unlabelled, data, _most_asked(data), seed))
    fingerprint = _fingerprint(data, model, encoder, wishes, seed)
    if onnx:
        onnx_export.check_installed(words=model == WORD_COUNTS)
    _prepare(out, fingerprint, resume=resume)
    if overlaps_enough(data):
        data = _weighed(data, model, seed, console)
    training = Training(data, model, out / _CHECKPOINTS, console, wishes, seed, resume, encoder)
    judged = judge(training)
    delivered, learnt_from, interrupted = _deliver(training, judged)
    temperature = measures.fit_temperature(judged.logits, data.labels[judged.held_back])
    surer = _how_much_surer(delivered, judged, data)
    # What learnt from all has no texts that could say how its epochs went.
    told = judged.trained or delivered
    delivered.model.soften(temperature)
    delivered.model.save(out, data.label_names)
    metrics = Metrics(
        **figures(data, judged, temperature, surer),
        learnt_from=learnt_from,
        best_epoch=told.best_epoch,
        epochs=told.epochs,
        recipe=told.recipe,
        interrupted=interrupted,
        model=model,
        parameters=delivered.model.parameters,
        max_tokens=delivered.model.max_tokens,
        seed=seed,
        fingerprint=fingerprint,
        beliefs=judged.helped,
        onnx=_export_onnx(delivered, data, judged, out, console) if onnx else None,
    )
    _describe(out, metrics, data, judged)
    if not interrupted:
        shutil.rmtree(out / _CHECKPOINTS)
    return metrics


def _most_asked(data: LabelledData) -> int:
    return len(data.unlabelled) if torch.cuda.is_available() else _MOST_ASKED


def _describe(out: Path, metrics: Metrics, data: LabelledData, judged: Judged) -> None:
    """Write what tells of the model; what `predict` needs comes last, so that a folder that has it is whole."""
    given = measures.given(judged.logits, data.how_many)
    draw_confusion(data.marks[judged.held_back], given, data.label_names, out / "confusion.png")
    write_card(out / "README.md", metrics, data.label_names)
    metrics.write(out)


def _weighed(data: LabelledData, model: str, seed: int, console: Console) -> LabelledData:
    """The same data with labels by annotators who are weighed by how reliable they are."""
    if model == WORD_COUNTS:
        (vectors,) = lexical_vectors([text if isinstance(text, str) else "\n".join(text) for text in data.texts])
    else:
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
    if judged.trained is not None and (texts > LEARN_FROM_ALL or judged.interrupted):
        return judged.trained, int(judged.learnt.sum()), judged.interrupted
    # After Ctrl-C, what takes no time.
    method: Method = "logistic" if judged.interrupted else judged.method
    believes = judged.helped is not None and judged.helped.helped and not judged.interrupted
    everything = np.arange(texts)
    believed = f", and beliefs of {training.most_beliefs} others" if believes else ""
    training.console.print(f"Once more, from all {texts} texts{believed}.")
    if believes:
        final, _ = training.believing(everything, "all")
    else:
        final = training.run(everything, "all", method)
    if judged.trained is not None and final.interrupted:
        return judged.trained, int(judged.learnt.sum()), True
    return final, texts, judged.interrupted or final.interrupted


def _export_onnx(delivered: Trained, data: LabelledData, judged: Judged, out: Path, console: Console) -> dict[str, Any]:
    """Write `model.onnx`; returns how far it differs, of some texts that the model was judged by."""
    console.print("Writing ONNX, and checking it against the original.")
    asked = data.texts_at(np.flatnonzero(judged.held_back)[:_CHECKED_TEXTS])
    if isinstance(delivered.model, WordCounts):
        return onnx_export.export_words(delivered.model, out, asked)
    return onnx_export.export_onnx(delivered.model, out, asked)


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


def _fingerprint(data: LabelledData, model: str, encoder: str | None, wishes: Wishes, seed: int) -> str:
    learnt = [data.texts, data.labels.tolist(), data.label_names, data.unlabelled]
    said = json.dumps([*learnt, model, encoder, asdict(wishes), seed])
    return hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _how_much_surer(delivered: Trained, judged: Judged, data: LabelledData) -> float:
    """By what factor the delivered model is surer than the judged one, of texts that both learnt from.

    It may have learnt for more epochs, and then the judged texts do not vouch for how sure it is.
    """
    if judged.trained is None or delivered is judged.trained:
        return 1.0
    texts = data.texts_at(np.flatnonzero(judged.learnt)[:_COMPARED_TEXTS])
    return measures.how_much_surer(delivered.model.logits(texts), judged.trained.model.logits(texts))
