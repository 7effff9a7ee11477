"""How many tokens fit into memory at once while a model is trained."""

from typing import Any

import psutil
import torch

# Padded tokens of one part of a batch: fills two cores or a small GPU; more are not faster.
_ENOUGH = 8192
# Of what is free, so much is counted on; the rest is for what other code takes for a moment.
_SHARE = 0.7
# Weights, gradients and AdamW's two moments, four bytes each.
_BYTES_A_PARAMETER = 16


def tokens_at_once(config: Any, n_parameters: int, longest: int, free_bytes: int | None = None) -> int:  # noqa: ANN401
    """Padded tokens of one part of a batch; at least one text.

    What a layer keeps of a token for the backward pass: (34 h + 5 a s) numbers of two bytes halved, after Korthikanti
    et al., Reducing Activation Recomputation in Large Transformer Models (2022), twice that in float32.

    Args:
        config: the model's: hidden size h, attention heads a, layers.
        n_parameters: that are trained.
        longest: tokens of the longest text, s.
        free_bytes: of memory; asked of the machine when None.
    """
    hidden = getattr(config, "hidden_size", None) or getattr(config, "d_model", None)
    layers = getattr(config, "num_hidden_layers", None)
    heads = getattr(config, "num_attention_heads", None)
    if not (hidden and layers and heads):
        return max(_ENOUGH, longest)
    free = _free_bytes() if free_bytes is None else free_bytes
    token = 2 * layers * (34 * hidden + 5 * heads * longest)
    return max(longest, min(_ENOUGH, int((_SHARE * free - _BYTES_A_PARAMETER * n_parameters) / token)))


def _free_bytes() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)
