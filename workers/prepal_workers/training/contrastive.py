"""Moves the vectors of texts with the same label together and those of others apart: SetFit's first step.

Tunstall et al., Efficient Few-Shot Learning Without Prompts (2022).
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class PairLoss:
    """Squared difference of the cosine of two texts to 1 or 0: whether they have the same label.

    All pairs of a batch count; like and unlike ones weigh the same, as if pairs of both kinds were drawn equally often.

    Args:
        head: the layer whose input is a text's vector.
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
