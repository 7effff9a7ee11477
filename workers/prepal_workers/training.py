"""Fine-tunes a pretrained model on labelled texts."""

import contextlib
import json
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils import logging as transformers_logging

from prepal.errors import PrepalError
from prepal.learning.classifier import Labels
from prepal_workers.measures import log_loss, macro_f1, right
from prepal_workers.recipe import Recipe, Wishes, choose_recipe, precision
from prepal_workers.sequence_model import SequenceModel
from prepal_workers.text_fields import Text

log = logging.getLogger(__name__)

# Padded tokens of one part of a batch: fills two cores or a small GPU, and needs little memory.
_TOKENS_AT_ONCE = 8192
_WARMUP, _WEIGHT_DECAY = 0.1, 0.01
# Of two epochs that are right equally often, the one whose wrong answers are less sure is better.
_LOSS_WEIGHT, _LARGEST_LOSS = 0.01, 5.0
# Sorting texts by length saves padding, and makes batches of few labels all the same.
_SORTED_FROM = 2000
_COMPLETE = "complete.json"


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave; the measures are None where there are no texts to judge by."""

    number: int
    loss: float
    seconds: float
    accuracy: float | None = None
    macro_f1: float | None = None
    score: float | None = None


class Watch(Protocol):
    """Is told of what happens."""

    def step(self, done: int, total: int) -> None:
        """After each step: how many of how many are done."""

    def epoch(self, epoch: Epoch) -> None:
        """After each epoch: what it gave."""


@dataclass
class Trained:
    """A trained model.

    Attributes:
        model: the best that there was.
        recipe: how it was trained.
        best_epoch: the epoch that it is of; 0 for the logistic regression that training started from.
        epochs: what each gave.
        interrupted: whether Ctrl-C ended it.
    """

    model: SequenceModel
    recipe: Recipe
    best_epoch: int
    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False

    def predict_proba(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """Probabilities `(n, k)` float32; rows sum to 1 unless several classes may be right."""
        return self.model.predict_proba(texts)


def train(
    model: str,
    texts: Sequence[Text],
    labels: Labels,
    n_classes: int,
    *,
    seed: int = 0,
    out: Path | None = None,
    validation: tuple[Sequence[Text], Labels] | None = None,
    unlabelled: Sequence[Text] = (),
    wishes: Wishes | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> Trained:
    """Fine-tune a model. It starts as the logistic regression on its own vectors, so it can only become better.

    Args:
        model: name on the Hugging Face hub, or a local folder.
        texts: n texts, or pairs of texts.
        labels: `(n,)` int64, or `(n, k)` bool where a text may have several classes.
        n_classes: k.
        seed: of everything that is drawn.
        out: keeps what `resume` goes on from; nothing is kept when None.
        validation: texts and labels to judge by: training stops when it no longer becomes better for them, and the best
            epoch is taken. Without them all epochs are run and the last one is taken.
        unlabelled: texts without a label, in any order, which make the logistic regression better.
        wishes: hyperparameters that are given; the others are chosen.
        resume: go on where a training with the same arguments was ended.
        watch: is told of progress.

    Raises:
        PrepalError: the model cannot be loaded, or its numbers overflow.
    """
    began = SequenceModel(model, n_classes, multilabel=labels.ndim == 2, seed=seed)
    recipe = choose_recipe(len(texts), began.parameters, wishes or Wishes())
    began.start_head(texts, labels, unlabelled)
    if recipe.epochs == 0:
        return Trained(began, recipe, 0)
    start = {name: tensor.clone() for name, tensor in began.model.state_dict().items()} if validation else {}
    with _folder(out) as folder, _quiet():
        trainer = _trainer(began, texts, labels, validation, recipe, folder, seed, keeps=out is not None)
        progress = _Progress(watch)
        trainer.add_callback(progress)
        checkpoint = str(_last_complete(folder) or "") if resume else ""
        interrupted = False
        try:
            trainer.train(resume_from_checkpoint=checkpoint or None)
        except KeyboardInterrupt:
            interrupted = True
            if trainer.state.best_model_checkpoint:
                trainer._load_best_model()
        trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        epochs = _epochs(trainer.state.log_history, progress.seconds)
        best = len(epochs)
        if validation:
            best, score = max(
                enumerate((e.score or 0.0 for e in epochs), start=1), key=lambda b: b[1], default=(0, 0.0)
            )
            if not epochs or _start_score(trainer.state.log_history) >= score:
                best = 0
                began.model.load_state_dict(start)
    if not all(torch.isfinite(p).all() for p in began.model.parameters()):
        raise PrepalError(
            f"The numbers of {model} overflowed at the learning rate {recipe.learning_rate:.1e}: choose a smaller one."
        )
    return Trained(began, recipe, best, epochs, interrupted)


class _Progress(TrainerCallback):
    """Tells the watch; marks checkpoints that are whole."""

    def __init__(self, watch: Watch | None) -> None:
        self.seconds: dict[int, float] = {}
        self._watch = watch
        self._began = time.monotonic()

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
        self._began = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ANN401, ARG002
        if self._watch:
            self._watch.step(state.global_step, state.max_steps)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ANN401, ARG002
        number = round(state.epoch or 0)
        waits_for = "eval_loss" if args.eval_strategy != "no" else "loss"
        if number and waits_for in state.log_history[-1]:
            self.seconds.setdefault(number, time.monotonic() - self._began)
            if self._watch:
                self._watch.epoch(_epochs(state.log_history, self.seconds)[-1])

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ANN401, ARG002
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        (folder / _COMPLETE).write_text(json.dumps({"seconds": self.seconds}))


def _trainer(
    began: SequenceModel,
    texts: Sequence[Text],
    labels: Labels,
    validation: tuple[Sequence[Text], Labels] | None,
    recipe: Recipe,
    folder: Path,
    seed: int,
    *,
    keeps: bool,
) -> Trainer:
    rows = _rows(began, texts, labels)
    longest = max(len(row["input_ids"]) for row in rows)
    parts = max(1, -(-recipe.batch_size * longest // _TOKENS_AT_ONCE))
    arithmetic = precision()
    saves = keeps or validation is not None
    arguments = TrainingArguments(
        output_dir=str(folder),
        seed=seed,
        data_seed=seed,
        learning_rate=recipe.learning_rate,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=-(-recipe.batch_size // parts),
        gradient_accumulation_steps=parts,
        per_device_eval_batch_size=max(1, _TOKENS_AT_ONCE // longest),
        warmup_steps=_WARMUP,
        weight_decay=_WEIGHT_DECAY,
        bf16=arithmetic == "bf16",
        fp16=arithmetic == "fp16",
        use_cpu=not torch.cuda.is_available(),
        train_sampling_strategy="group_by_length" if len(rows) >= _SORTED_FROM else "random",
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        logging_strategy="epoch",
        eval_strategy="epoch" if validation else "no",
        eval_on_start=validation is not None,
        save_strategy="epoch" if saves else "no",
        save_total_limit=2,
        save_only_model=not keeps,
        load_best_model_at_end=validation is not None,
        metric_for_best_model="score" if validation else None,
        greater_is_better=True if validation else None,
        restore_callback_states_from_checkpoint=True,
        disable_tqdm=True,
        report_to="none",
    )
    trainer = Trainer(
        model=began.model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=_rows(began, *validation) if validation else None,
        data_collator=DataCollatorWithPadding(began.tokenizer),
        compute_loss_func=partial(_loss, _class_weights(labels, began.n_classes)),
        compute_metrics=_metrics,
        callbacks=[EarlyStoppingCallback(recipe.patience)] if validation else None,
    )
    trainer.loss_is_scaled_for_ga = False
    trainer.remove_callback(PrinterCallback)
    return trainer


def _rows(model: SequenceModel, texts: Sequence[Text], labels: Labels) -> list[dict[str, Any]]:
    several = labels.ndim == 2
    targets = labels.astype(np.float32).tolist() if several else labels.tolist()
    return [{**row, "labels": target} for row, target in zip(model.tokenize(texts), targets, strict=True)]


def _loss(class_weights: torch.Tensor | None, outputs: Any, labels: torch.Tensor, **_: Any) -> torch.Tensor:  # noqa: ANN401
    logits = outputs.logits.float()
    if labels.ndim == 2:
        return functional.binary_cross_entropy_with_logits(logits, labels.float())
    weights = None if class_weights is None else class_weights.to(logits.device)
    return functional.cross_entropy(logits, labels, weight=weights)


def _class_weights(labels: Labels, n_classes: int) -> torch.Tensor | None:
    """Rare classes count more, by the root of how rare they are: half-way to all classes counting the same."""
    if labels.ndim == 2:
        return None
    counts = np.bincount(labels, minlength=n_classes)
    weights = 1 / np.sqrt(np.maximum(counts, 1))
    return torch.tensor(weights * counts.sum() / (weights * counts).sum(), dtype=torch.float32)


def _metrics(prediction: EvalPrediction) -> dict[str, float]:
    logits, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    labels = labels > 0 if labels.ndim == 2 else labels
    accuracy, f1 = float(right(logits, labels).mean()), macro_f1(logits, labels)
    score = (accuracy + f1) / 2 - _LOSS_WEIGHT * min(log_loss(logits, labels), _LARGEST_LOSS)
    return {"accuracy": accuracy, "macro_f1": f1, "score": score}


def _epochs(history: Sequence[dict[str, Any]], seconds: dict[int, float]) -> list[Epoch]:
    found: dict[int, dict[str, Any]] = {}
    for entry in history:
        found.setdefault(round(entry.get("epoch") or 0), {}).update(entry)
    return [
        Epoch(
            number=number,
            loss=entry.get("loss", float("nan")),
            seconds=seconds.get(number, 0.0),
            accuracy=entry.get("eval_accuracy"),
            macro_f1=entry.get("eval_macro_f1"),
            score=entry.get("eval_score"),
        )
        for number, entry in sorted(found.items())
        if number and "loss" in entry
    ]


def _start_score(history: Sequence[dict[str, Any]]) -> float:
    return next((entry["eval_score"] for entry in history if "eval_score" in entry and not entry.get("epoch")), -1.0)


def _last_complete(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_COMPLETE}")]
    return max(whole, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)


@contextlib.contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="prepal-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what transformers tells of itself."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
