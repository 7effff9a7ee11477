"""How many tokens fit into memory at once while a model is trained."""

from typing import Any

import psutil
import torch

# Padded tokens of one part of a batch: fills two cores or a small GPU; more are not faster.
_ENOUGH = 8192
# Of all memory, so much is counted on; the rest is for other programs. What is free at the moment does not count, so
# that a training that is resumed goes on in the same parts.
_SHARE = 0.5
# Weights, gradients and AdamW's two moments, four bytes each.
_BYTES_A_PARAMETER = 16


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
        return max(_ENOUGH, longest)
    memory = _memory_bytes() if memory_bytes is None else memory_bytes
    token = 2 * layers * (34 * hidden + 5 * heads * longest)
    return max(longest, min(_ENOUGH, int((_SHARE * memory - _BYTES_A_PARAMETER * n_parameters) / token)))


def _memory_bytes() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return int(psutil.virtual_memory().total)
