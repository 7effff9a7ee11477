"""The head of a model for classification: its last layer, and how it comes to see the encoder's own vector."""

import copy
from typing import Any

import torch
from torch import nn

# Models whose layers are BERT's and whose head looks at the first token.
_BERT_LIKE = ("bert", "roberta", "xlm-roberta", "camembert")
# A layer that averages all tokens adds the average to the first token, so it must outweigh that.
_POOL_GAIN = 100.0
# Heads of such models squash by tanh; this far inside it a number stays what it was.
_TANH_SCALE = 0.1


def last_layer(model: nn.Module) -> nn.Linear:
    """The layer that gives the logits."""
    classes = model.config.num_labels  # type: ignore[union-attr]
    linear = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == classes]
    return linear[-1]


def pool_like_the_encoder(model: Any, pooling: str) -> None:  # noqa: ANN401
    """Make the head see the encoder's own vector, in the architecture's own form.

    Heads of such models see the first token. A last layer whose queries and keys are zero attends to all tokens alike,
    so that its first token is their mean; its normalisation gives all vectors one length. It stays as it is.
    """
    config = model.config
    if config.model_type not in _BERT_LIKE or pooling == "other":
        return
    base = model.base_model
    size = config.hidden_size
    dense = base.pooler.dense if config.model_type == "bert" else model.classifier.dense
    with torch.no_grad():
        dense.weight.copy_(_TANH_SCALE * torch.eye(size))
        dense.bias.zero_()
        if pooling == "mean":
            layer = copy.deepcopy(base.encoder.layer[-1])
            for parameter in layer.parameters():
                parameter.zero_()
            layer.attention.self.value.weight.copy_(torch.eye(size))
            layer.attention.output.dense.weight.copy_(_POOL_GAIN * torch.eye(size))
            layer.attention.output.LayerNorm.weight.fill_(1)
            layer.output.LayerNorm.weight.fill_(1)
            base.encoder.layer.append(layer)
            config.num_hidden_layers += 1
    for module in (dense, *base.encoder.layer[config.num_hidden_layers - (pooling == "mean") :]):
        module.requires_grad_(False)
