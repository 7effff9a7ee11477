"""Writes an encoder with other weights than its base has."""

from collections.abc import Mapping
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from prepal.errors import PrepalError
from prepal.vectors import encoders
from prepal_workers.encoder.weights import source

# Layers of a head for classification that a transformer may have besides, and no vector goes through.
_HEAD = "pooler."


def save_with(weights: Mapping[str, torch.Tensor], base: str, folder: Path) -> None:
    """Write a folder like an encoder's, in which its transformer has these weights.

    Args:
        weights: by the transformer's own names; what it does not know, such as a head, is left out.
        base: the encoder, by name or identity.
        folder: is made.

    Raises:
        PrepalError: the weights are those of another architecture.
    """
    model = SentenceTransformer(source(encoders.weights(base)), device="cpu")
    transformer = model.transformers_model
    assert transformer is not None
    own = {name: tensor for name, tensor in transformer.state_dict().items() if not name.startswith(_HEAD)}
    lacking = [name for name, tensor in own.items() if name not in weights or weights[name].shape != tensor.shape]
    if lacking:
        raise PrepalError(
            f"The encoder {base} cannot be adapted: what was trained has no {lacking[0]}; set PREPAL_ADAPT=off."
        )
    transformer.load_state_dict({name: weights[name].detach().cpu() for name in own}, strict=False)
    model.save(str(folder), create_model_card=False)
