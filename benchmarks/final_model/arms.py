"""What learns from the labels of a trial, and answers for its test texts."""

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer
from transformers import TrainingArguments as Arguments

from benchmarks.final_model.trials import Trial
from benchmarks.labelled_sets import ENCODER
from benchmarks.storage import Record
from prepal_workers.encoder.weights import source
from prepal_workers.final_model.finetune import finetune
from prepal_workers.final_model.predict import Predictor
from prepal_workers.labelled.data import LabelledData
from prepal_workers.labelled.read import read_labelled
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.training import measures

MAJORITY, PLAIN, OURS, TUNED, DEFAULTS = ("majority", "logistic", "ours", "finetune", "trainer")
WANTED_ACCURACY = 0.95

Answer = tuple[NDArray[np.float32], Record]  # logits `(t, k)` of the test texts, and what else is told


def majority(trial: Trial) -> Answer:
    """Always the most frequent answer."""
    if trial.truth.ndim == 2:
        answers, counts = np.unique(trial.truth, axis=0, return_counts=True)
        row = np.where(answers[counts.argmax()], 1.0, -1.0)
    else:
        row = np.bincount(trial.truth, minlength=len(trial.names)).astype(float)
    return np.tile(row.astype(np.float32), (len(trial.tested), 1)), {}


def plain(trial: Trial) -> Answer:
    """scikit-learn's logistic regression on the encoder's vectors, C = 10."""
    seen, tested = trial.vectors.train[trial.picked], trial.vectors.test
    found = np.full((len(tested), len(trial.names)), -1e3, np.float32)
    if trial.truth.ndim == 1:
        model = LogisticRegression(C=10, max_iter=1000).fit(seen, trial.truth)
        found[:, model.classes_] = model.predict_log_proba(tested)
        return found, {}
    for column in np.flatnonzero(trial.truth.any(axis=0)):
        if trial.truth[:, column].all():
            found[:, column] = 1.0
        else:
            model = LogisticRegression(C=10, max_iter=1000).fit(seen, trial.truth[:, column])
            found[:, column] = model.decision_function(tested)
    return found, {}


def data_of(trial: Trial) -> LabelledData:
    """Return a trial's labels as `prepal finetune` reads them from a file."""
    label = (
        [[trial.names[c] for c in np.flatnonzero(row)] for row in trial.truth]
        if trial.truth.ndim == 2
        else [trial.names[c] for c in trial.truth]
    )
    fields = ("text_a", "text_b") if isinstance(trial.learnt[0], tuple) else ("text",)
    rows = [
        {**dict(zip(fields, text if isinstance(text, tuple) else (text,), strict=True)), "label": one}
        for text, one in zip(trial.learnt, label, strict=True)
    ]
    return read_labelled("".join(json.dumps(row) + "\n" for row in rows).encode(), trial.name)


def tuned(trial: Trial) -> Answer:
    """`prepal finetune` on a file of the labels, and `prepal predict --threshold 0.95`."""
    data = data_of(trial)
    with tempfile.TemporaryDirectory() as folder:
        began, cpu = time.perf_counter(), time.process_time()
        said = finetune(data, ENCODER, Path(folder) / "model", Console(quiet=True), seed=trial.seed)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        predictor = Predictor(Path(folder) / "model")
        logits = SequenceModel(str(Path(folder) / "model")).logits(trial.tested)
        sure = predictor.predict(trial.tested, WANTED_ACCURACY).sure
    assert sure is not None
    found = np.full((len(trial.tested), len(trial.names)), -1e3, np.float32)
    found[:, [trial.names.index(name) for name in data.label_names]] = logits
    right = measures.right(found, trial.test_truth, trial.each)
    return found, {
        "training_s": round(took, 1),
        "cpu_s": round(cpu, 1),
        "best_epoch": said.best_epoch,
        "recipe": asdict(said.recipe),
        "sure": int(sure.sum()),
        "sure_right": int((sure & right).sum()),
        "calibration": measures.calibration_error(found, trial.test_truth, trial.each),
        "own_estimate": asdict(said.accuracy),
    }


def defaults(trial: Trial) -> Answer:
    """Transformers' Trainer as it comes: 3 epochs, learning rate 5e-5, batches of 8."""
    tokenizer = AutoTokenizer.from_pretrained(source(ENCODER))
    torch.manual_seed(trial.seed)
    model = AutoModelForSequenceClassification.from_pretrained(source(ENCODER), num_labels=len(trial.names))
    encoded = tokenizer(list(trial.learnt), truncation=True)
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": int(label)}
        for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], trial.truth, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = Arguments(
            output_dir=folder,
            seed=trial.seed,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            logging_strategy="no",
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
        )
        Trainer(model, arguments, train_dataset=rows, data_collator=DataCollatorWithPadding(tokenizer)).train()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return SequenceModel(folder).logits(trial.tested), {}


def scores(logits: NDArray[np.float32], trial: Trial) -> Record:
    """Return accuracy and macro-F1 of logits `(t, k)` of the test texts."""
    return {
        "accuracy": round(float(measures.right(logits, trial.test_truth, trial.each).mean()), 4),
        "macro_f1": round(measures.macro_f1(logits, trial.test_truth, trial.each), 4),
    }
