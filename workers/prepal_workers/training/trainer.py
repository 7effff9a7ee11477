"""What a trainer of `transformers` is given for one training: its arguments, what it learns from, and by which loss."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainingArguments

from prepal.learning.classifiers.decisions import marks
from prepal.learning.classifiers.labels import Labels
from prepal_workers.labelled.fields import Text
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.training.beliefs import Beliefs
from prepal_workers.training.recipe import Recipe, precision

_WARMUP, _WEIGHT_DECAY = 0.1, 0.01
# Batches of similar length save padding; of fewer texts, batches would be the same in every epoch.
_SORTED_FROM = 128
# Padded tokens of one part of a batch: fills two cores or a small GPU; more are not faster.
_ENOUGH_TOKENS = 8192
# Of all memory, so much is counted on; the rest is for other programs. What is free at the moment does not count, so
# that a training that is resumed goes on in the same parts.
_MEMORY_SHARE = 0.5
# Weights, gradients and AdamW's two moments, four bytes each.
_BYTES_A_PARAMETER = 16

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


def tokens_at_once(config: Any, n_parameters: int, longest: int, memory_bytes: int | None = None) -> int:  # noqa: ANN401
    """Padded tokens of one part of a batch; at least one text.

    For the backward pass a layer keeps 34 h + 5 a s bytes of a token in 16 bits, and twice that in 32: Korthikanti et
    al., Reducing Activation Recomputation in Large Transformer Models (2022).

    Args:
        config: the model's: hidden size h, attention heads a, layers.
        n_parameters: how many numbers are trained.
        longest: tokens of the longest text, s.
        memory_bytes: the GPU's memory, or the machine's without one; asked for when None.
    """
    hidden = getattr(config, "hidden_size", None) or getattr(config, "d_model", None)
    layers = getattr(config, "num_hidden_layers", None)
    heads = getattr(config, "num_attention_heads", None)
    if not (hidden and layers and heads):
        return max(_ENOUGH_TOKENS, longest)
    if memory_bytes is None:
        on_gpu = torch.cuda.is_available()
        memory_bytes = torch.cuda.get_device_properties(0).total_memory if on_gpu else psutil.virtual_memory().total
    token = 2 * layers * (34 * hidden + 5 * heads * longest)
    left = _MEMORY_SHARE * memory_bytes - _BYTES_A_PARAMETER * n_parameters
    return max(longest, min(_ENOUGH_TOKENS, int(left / token)))


def rows_of(model: SequenceModel, texts: Sequence[Text], targets: NDArray[Any]) -> list[Row]:
    """Texts as the model reads them, each with a row of the targets `(n, …)`: what the loss is told of it."""
    return [{**row, "labels": target} for row, target in zip(model.tokenize(texts), targets.tolist(), strict=True)]


def learnt_rows(
    model: SequenceModel, texts: Sequence[Text], labels: Labels, beliefs: Beliefs | None = None, repeats: int = 1
) -> list[Row]:
    """What is learnt from in one epoch: texts with labels, so many times, and beliefs, rare classes counting more."""
    several = labels.ndim == 2
    truth = marks(labels, model.n_classes).astype(np.float64)
    counts = repeats * truth.sum(axis=0)
    if beliefs is not None:
        counts = counts + beliefs.weights @ beliefs.targets
    of_class = np.ones((1, model.n_classes)) if several else class_weights(counts)[None]
    rows = repeats * rows_of(model, texts, masses(truth, of_class, several=several))
    if beliefs is not None:
        weights = beliefs.weights[:, None] * of_class
        rows += rows_of(model, beliefs.texts, masses(beliefs.targets, weights, several=several))
    return rows


def masses(targets: NDArray[np.floating], weights: NDArray[np.floating], *, several: bool) -> NDArray[np.float32]:
    """What `log_loss` is told of texts: how much it counts that a text has a class.

    Args:
        targets: `(n, k)`, how likely a text has a class; 0 or 1 for labels.
        weights: `(n, 1)` or `(n, k)`, how much that counts.
        several: whether a text may have several classes, so that not having one counts, too.

    Returns:
        `(n, k)` float32; `(n, 2, k)` where a text may have several classes: of having each, and of not having it.
    """
    counted = np.stack([targets, 1 - targets], axis=1) * weights[:, None] if several else targets * weights
    return counted.astype(np.float32)


def class_weights(counts: NDArray[np.floating]) -> NDArray[np.float64]:
    """How much each of k classes counts of which there are so many examples: rare ones more, examples 1 on average.

    By the root of how rare classes are: half-way to all classes counting the same.
    """
    weights = 1 / np.sqrt(np.maximum(counts, 1))
    return np.asarray(weights * counts.sum() / (weights * counts).sum(), np.float64)


def log_loss(outputs: Any, labels: torch.Tensor, **_: Any) -> torch.Tensor:  # noqa: ANN401
    """Mean log loss, or cross-entropy to what is only likely, weighted as `masses` say."""
    logits = outputs.logits.float()
    if labels.ndim == 2:
        logs = functional.log_softmax(logits, dim=1)
    else:
        logs = torch.stack([functional.logsigmoid(logits), functional.logsigmoid(-logits)], dim=1)
    return -(labels * logs).sum() / labels.sum().clamp(min=torch.finfo(torch.float32).tiny)


class InOrder(Trainer):
    """A trainer that judges texts in their order, also where it learns from them grouped by length."""

    def _get_eval_sampler(self, eval_dataset: Any) -> SequentialSampler:  # noqa: ANN401
        return SequentialSampler(eval_dataset)


class PairLoss:
    """Squared difference of the cosine of two texts to 1 or 0: whether they have the same label; SetFit's first step.

    All pairs of a batch count; like and unlike ones weigh the same, as if pairs of both kinds were drawn equally often.
    A text's vector is the input of `head`. Tunstall et al., Efficient Few-Shot Learning Without Prompts (2022).
    """

    def __init__(self, head: nn.Module) -> None:
        self._vectors: list[torch.Tensor] = []
        self._hook = head.register_forward_pre_hook(lambda _, inputs: self._vectors.append(inputs[0]))

    def __call__(self, outputs: Any, labels: torch.Tensor, **_: Any) -> torch.Tensor:  # noqa: ANN401
        """The loss of the batch that the model was just run on."""
        del outputs
        vectors = functional.normalize(self._vectors[-1].float(), dim=1)
        self._vectors.clear()
        alike = _alike(labels)
        others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        squares = (vectors @ vectors.T - alike) ** 2
        kinds = [kind for kind in (others & (alike > 0), others & (alike == 0)) if kind.any()]
        if not kinds:
            return squares.sum() * 0
        return torch.stack([squares[kind].mean() for kind in kinds]).mean()

    def close(self) -> None:
        """Stop listening to the model."""
        self._hook.remove()


def _alike(labels: torch.Tensor) -> torch.Tensor:
    """How alike the labels of each two texts are: 0 or 1, or the share of their classes that both have."""
    if labels.ndim == 1:
        return (labels[:, None] == labels).float()
    marks = labels.float()
    both = marks @ marks.T
    either = marks.sum(dim=1)[:, None] + marks.sum(dim=1) - both
    return torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(both))
