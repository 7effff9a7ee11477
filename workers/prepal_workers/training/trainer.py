"""What a trainer of `transformers` is given for one training: its arguments, what it learns from, and by which loss."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import TrainingArguments

from prepal.learning.classifiers.labels import Labels
from prepal_workers.labelled.fields import Text
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.training.memory import tokens_at_once
from prepal_workers.training.recipe import Recipe, precision

_WARMUP, _WEIGHT_DECAY = 0.1, 0.01
# Batches of similar length save padding; of fewer texts, batches would be the same in every epoch.
_SORTED_FROM = 128

Loss = Callable[..., torch.Tensor]
Row = dict[str, Any]


def arguments_of(
    model: SequenceModel, recipe: Recipe, rows: list[Row], folder: Path, seed: int, *, judges: bool, keeps: bool
) -> TrainingArguments:
    """What `transformers` is told: whether texts judge each epoch, and whether checkpoints may be gone on from."""
    longest = max(len(row["input_ids"]) for row in rows)
    trained = sum(p.numel() for p in model.model.parameters() if p.requires_grad)
    at_once = tokens_at_once(model.model.config, trained, longest)
    # Pairs are of one part; otherwise a batch may be taken in several where memory is short.
    parts = 1 if recipe.method == "contrast" else max(1, -(-recipe.batch_size * longest // at_once))
    arithmetic = precision()
    return TrainingArguments(
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
        eval_strategy="epoch" if judges else "no",
        eval_on_start=judges,
        save_strategy="epoch" if keeps or judges else "no",
        save_total_limit=2,
        save_only_model=not keeps,
        load_best_model_at_end=judges,
        metric_for_best_model="score" if judges else None,
        greater_is_better=True if judges else None,
        restore_callback_states_from_checkpoint=True,
        disable_tqdm=True,
        report_to="none",
    )


def rows_of(model: SequenceModel, texts: Sequence[Text], labels: Labels) -> list[Row]:
    """Texts as the model reads them, with their labels."""
    several = labels.ndim == 2
    targets = labels.astype(np.float32).tolist() if several else labels.tolist()
    return [{**row, "labels": target} for row, target in zip(model.tokenize(texts), targets, strict=True)]


def log_loss(labels: Labels, n_classes: int) -> Loss:
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
