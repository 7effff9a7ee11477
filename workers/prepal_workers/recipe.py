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


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of one training.

    Attributes:
        learning_rate: the largest, after warming up.
        epochs: at most so many.
        batch_size: texts a step, in several parts where memory is short.
        patience: epochs without a better one before training stops, where there are texts to judge by.
    """

    learning_rate: float
    epochs: int
    batch_size: int
    patience: int = _PATIENCE


@dataclass(frozen=True)
class Wishes:
    """What somebody wants otherwise than it would be chosen; no epochs leave the logistic regression."""

    learning_rate: float | None = None
    epochs: int | None = None
    batch_size: int | None = None


def choose_recipe(n_labels: int, n_parameters: int, wishes: Wishes) -> Recipe:
    """The recipe for so many labels and so large a model."""
    fewest, most = _EPOCHS
    epochs = max(fewest, min(most, round(_TEXTS_SEEN / n_labels)))
    return Recipe(
        learning_rate=wishes.learning_rate or _LEARNING_RATE * (_MEASURED_PARAMETERS / n_parameters) ** _SIZE_POWER,
        epochs=epochs if wishes.epochs is None else wishes.epochs,
        batch_size=wishes.batch_size or max(size for least, size in _BATCH_SIZES.items() if n_labels >= least),
    )


def precision() -> Literal["bf16", "fp16", "fp32"]:
    """The fastest arithmetic that the hardware has and that keeps the result."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if fast else "fp32"
