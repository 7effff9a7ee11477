"""Fine-tunes a pretrained model on labelled texts."""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    TrainingArguments,
)

from prepal.errors import PrepalError
from prepal.learning.classifiers.decisions import HowMany, how_many
from prepal.learning.classifiers.labels import Labels
from prepal_workers.labelled.fields import Text
from prepal_workers.model.head import last_layer
from prepal_workers.model.loading import quiet
from prepal_workers.model.lora import add_lora, merge_lora
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.training.contrastive import PairLoss
from prepal_workers.training.epochs import Epoch, Measured, Progress, Watch, last_complete, start_score
from prepal_workers.training.measures import macro_f1, right, score
from prepal_workers.training.memory import tokens_at_once
from prepal_workers.training.recipe import Recipe, Wishes, choose_recipe, precision

log = logging.getLogger(__name__)

_WARMUP, _WEIGHT_DECAY = 0.1, 0.01
# Batches of similar length save padding; of fewer texts, batches would be the same in every epoch.
_SORTED_FROM = 128


@dataclass
class Trained:
    """A trained model.

    Attributes:
        model: the best that there was.
        recipe: how it was trained.
        best_epoch: the epoch that it is of; 0 for the logistic regression that training started from.
        epochs: what each gave.
        interrupted: whether Ctrl-C ended it.
        logits: `(v, k)` float32 of the texts to judge by: at the start, which is 0, and after each epoch; none without.
    """

    model: SequenceModel
    recipe: Recipe
    best_epoch: int
    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False
    logits: dict[int, NDArray[np.float32]] = field(default_factory=dict)

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
    label_names: Sequence[str] = (),
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
        label_names: of the k classes, if they say something.
        wishes: hyperparameters that are given; the others are chosen.
        resume: go on where a training with the same arguments was ended.
        watch: is told of progress.

    Raises:
        PrepalError: the model cannot be loaded, or its numbers overflow.
    """
    began = SequenceModel(model, n_classes, multilabel=labels.ndim == 2, seed=seed)
    if watch:
        began.on_read = watch.read
    recipe = choose_recipe(len(texts), began.parameters, wishes or Wishes())
    began.start_head(texts, labels, unlabelled, label_names)
    if recipe.method == "logistic":
        return Trained(began, recipe, 0)
    validation = validation if recipe.method == "fine-tune" else None
    start = {name: tensor.clone() for name, tensor in began.model.state_dict().items()} if validation else {}
    if recipe.lora:
        add_lora(began)
    with _folder(out) as folder, quiet():
        loss = PairLoss(last_layer(began.model)) if recipe.method == "contrast" else _loss(labels, n_classes)
        rows = _rows(began, texts, labels)
        each = how_many(labels)
        measured = Measured(_measure(each))
        trainer = _trainer(began, rows, validation, recipe, loss, measured, folder, seed, keeps=out is not None)
        checkpoint = last_complete(folder) if resume else None
        progress = Progress(watch, sum(len(row["input_ids"]) for row in rows), checkpoint, measured)
        trainer.add_callback(progress)
        interrupted = False
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except KeyboardInterrupt:
            interrupted = True
            if trainer.state.best_model_checkpoint:
                trainer._load_best_model()
        trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        epochs = progress.epochs(trainer.state.log_history)
        best = _best(epochs, trainer) if validation else len(epochs)
        merge_lora(began, keep=bool(best))
        if validation and not best:
            began.model.load_state_dict(start)
    if isinstance(loss, PairLoss):
        loss.close()
        began.start_head(texts, labels, unlabelled, label_names)
    if not all(torch.isfinite(p).all() for p in began.model.parameters()):
        raise PrepalError(
            f"The numbers of {model} overflowed at the learning rate {recipe.learning_rate:.1e}: choose a smaller one."
        )
    return Trained(began, recipe, best, epochs, interrupted, progress.logits)


def _best(epochs: Sequence[Epoch], trainer: Trainer) -> int:
    """The number of the best epoch; 0 if the model was better before the first one."""
    scores = [start_score(trainer.state.log_history), *(epoch.score or 0.0 for epoch in epochs)]
    return int(np.argmax(scores))


def _trainer(
    began: SequenceModel,
    rows: list[dict[str, Any]],
    validation: tuple[Sequence[Text], Labels] | None,
    recipe: Recipe,
    loss: Callable[..., torch.Tensor],
    measured: Measured,
    folder: Path,
    seed: int,
    *,
    keeps: bool,
) -> Trainer:
    longest = max(len(row["input_ids"]) for row in rows)
    trained = sum(p.numel() for p in began.model.parameters() if p.requires_grad)
    at_once = tokens_at_once(began.model.config, trained, longest)
    # Pairs are of one part; otherwise a batch may be taken in several where memory is short.
    parts = 1 if recipe.method == "contrast" else max(1, -(-recipe.batch_size * longest // at_once))
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
        per_device_eval_batch_size=max(1, at_once // longest),
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
        compute_loss_func=loss,
        compute_metrics=measured,
        callbacks=[EarlyStoppingCallback(recipe.patience)] if validation else None,
    )
    trainer.loss_is_scaled_for_ga = False
    trainer.remove_callback(PrinterCallback)
    return trainer


def _rows(model: SequenceModel, texts: Sequence[Text], labels: Labels) -> list[dict[str, Any]]:
    several = labels.ndim == 2
    targets = labels.astype(np.float32).tolist() if several else labels.tolist()
    return [{**row, "labels": target} for row, target in zip(model.tokenize(texts), targets, strict=True)]


def _loss(labels: Labels, n_classes: int) -> Callable[..., torch.Tensor]:
    """Log loss; where a text has one class, rare ones count more."""
    class_weights = None if labels.ndim == 2 else _class_weights(labels, n_classes)

    def loss(outputs: Any, labels: torch.Tensor, **_: Any) -> torch.Tensor:  # noqa: ANN401
        logits = outputs.logits.float()
        if class_weights is None:
            return functional.binary_cross_entropy_with_logits(logits, labels.float())
        return functional.cross_entropy(logits, labels, weight=class_weights.to(logits.device))

    return loss


def _class_weights(labels: Labels, n_classes: int) -> torch.Tensor:
    """Weights by the root of how rare classes are: half-way to all classes counting the same."""
    counts = np.bincount(labels, minlength=n_classes)
    weights = 1 / np.sqrt(np.maximum(counts, 1))
    return torch.tensor(weights * counts.sum() / (weights * counts).sum(), dtype=torch.float32)


def _measure(each: HowMany) -> Callable[[EvalPrediction], dict[str, float]]:
    """What is measured after an epoch, of texts that have so many labels each."""

    def measure(prediction: EvalPrediction) -> dict[str, float]:
        logits, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
        labels = labels > 0 if labels.ndim == 2 else labels
        accuracy, f1 = float(right(logits, labels, each).mean()), macro_f1(logits, labels, each)
        return {"accuracy": accuracy, "macro_f1": f1, "score": score(logits, labels, each)}

    return measure


@contextlib.contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="prepal-") as folder:
        yield Path(folder)
