"""How a model is trained, chosen from how many labels there are and how large the model is."""

from dataclasses import dataclass
from typing import Literal

import torch

# Measured with all-MiniLM-L6-v2 on 20 to 1,000 labels; docs/finetune.md has figures.
_LEARNING_RATE, _MEASURED_PARAMETERS = 5e-5, 22_700_000
# Larger models move further with the same steps: a base model gets 3.4e-5 and a large one 2.6e-5.
_SIZE_POWER = 0.25
# Few labels are seen often, many seldom.
_TEXTS_SEEN, _EPOCHS = 1800, (3, 12)
# Small batches where there are few labels, so that there are steps enough to move; by the fewest labels of each.
_BATCH_SIZES = {0: 8, 128: 16, 1024: 32}
_PATIENCE = 3
# A model of this size with its gradients and moments takes 16 GB; larger ones are trained by LoRA, which wants a
# learning rate ten times as large (Schulman & Thinking Machines, LoRA Without Regret, 2025).
_LORA_PARAMETERS, _LORA_GAIN = 1_000_000_000, 10.0
# Contrast sees so many batches, in which as many pairs as possible meet.
_CONTRAST_STEPS, _CONTRAST_BATCH_SIZE = 40, 32
# Beliefs are so many that one pass is enough, in which labels, which are surer, come more than once.
_REPEATS, _BELIEF_EPOCHS, _BELIEF_BATCH_SIZE = 3, 1, 32

Method = Literal["logistic", "fine-tune", "contrast"]


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of one training.

    Attributes:
        method: `logistic` leaves the model as it is and only fits its head; `contrast` first brings texts with the same
            label together.
        learning_rate: the largest, after warming up.
        epochs: at most so many.
        batch_size: texts a step, in several parts where memory is short.
        lora: whether low-rank matrices are trained in place of the model's own numbers.
        patience: epochs without a better one before training stops, where there are texts to judge by.
        repeats: how often an epoch has each text with a label, beside beliefs of other texts.
    """

    learning_rate: float
    epochs: int
    batch_size: int
    method: Method = "fine-tune"
    lora: bool = False
    patience: int = _PATIENCE
    repeats: int = 1


@dataclass(frozen=True)
class Wishes:
    """What somebody wants otherwise than it would be chosen; no epochs leave the logistic regression."""

    learning_rate: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    method: Method | None = None
    lora: bool | None = None


def choose_recipe(n_labels: int, n_parameters: int, wishes: Wishes, *, believed: bool = False) -> Recipe:
    """The recipe for so many labels and so large a model; `believed`: beliefs of other texts are learnt from, too."""
    method: Method = "logistic" if wishes.epochs == 0 else wishes.method or "fine-tune"
    lora = n_parameters > _LORA_PARAMETERS if wishes.lora is None else wishes.lora
    rate = _LEARNING_RATE * (_MEASURED_PARAMETERS / n_parameters) ** _SIZE_POWER * (_LORA_GAIN if lora else 1.0)
    if method == "contrast":
        batch_size = min(wishes.batch_size or _CONTRAST_BATCH_SIZE, n_labels)
        epochs = round(_CONTRAST_STEPS / -(-n_labels // batch_size))
    elif believed:
        batch_size, epochs = wishes.batch_size or _BELIEF_BATCH_SIZE, _BELIEF_EPOCHS
    else:
        batch_size = wishes.batch_size or max(size for least, size in _BATCH_SIZES.items() if n_labels >= least)
        fewest, most = _EPOCHS
        epochs = max(fewest, min(most, round(_TEXTS_SEEN / n_labels)))
    return Recipe(
        learning_rate=wishes.learning_rate or rate,
        epochs=epochs if wishes.epochs is None else wishes.epochs,
        batch_size=batch_size,
        method=method,
        lora=lora,
        repeats=_REPEATS if believed and method == "fine-tune" else 1,
    )


def precision() -> Literal["bf16", "fp16", "fp32"]:
    """The fastest arithmetic that the hardware has and that keeps the result."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if fast else "fp32"
