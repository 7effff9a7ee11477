"""Vectors of texts from the vector cache; what it lacks is embedded and stored there."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.vectors import VectorTable, encoders, text_id

if TYPE_CHECKING:
    from prepal_workers.encoder.encoder import Encoder

_CUT = re.compile(r"^(?P<name>.+)@(?P<layers>[1-9]\d*)$")
# So many texts are embedded between two appends to the cache, and between two steps of the progress bar.
_CHUNK_TEXTS = 1024


def cut_name(encoder: str, layers: int) -> str:
    """Return the name of an encoder that is cut to its first layers."""
    return f"{encoder}@{layers}"


def identity(encoder: str) -> str:
    """Return the identity of an encoder, also of one that is cut."""
    cut = _CUT.match(encoder)
    return cut_name(encoders.identity(cut["name"]), int(cut["layers"])) if cut else encoders.identity(encoder)


def embed(
    texts: Sequence[str], encoder: str, cache: str, advance: Callable[[int], None] = lambda _: None
) -> NDArray[np.float32]:
    """Return the vectors `(n, d)` of texts; what the vector cache lacks is embedded and stored there.

    Args:
        texts: n texts.
        encoder: name on the hub or a folder; with `@3` at the end, its first three layers alone.
        cache: the vector cache.
        advance: told how many texts more have a vector.
    """
    table = VectorTable(cache, identity(encoder))
    ids = [text_id(text) for text in texts]
    text_of = dict(zip(ids, texts, strict=True))
    lacking = sorted(set(table.missing(list(text_of))), key=lambda key: len(text_of[key]))
    advance(len(texts) - len(lacking))
    if lacking:
        model = _load(encoder)
        for start in range(0, len(lacking), _CHUNK_TEXTS):
            chunk = lacking[start : start + _CHUNK_TEXTS]
            vectors = model.encode([text_of[key] for key in chunk])
            if not model.is_as_loaded() or identity(encoder) != table.encoder:
                raise PrepalError(f"The files of the encoder {encoder} changed meanwhile: run it again.")
            table.append(chunk, vectors)
            advance(len(chunk))
        table.compact()
    return table.find(ids)[1].astype(np.float32)


@lru_cache(maxsize=1)
def _load(encoder: str) -> "Encoder":
    # Here, because torch takes seconds to load, and what is in the cache needs none.
    from prepal_workers.encoder.encoder import Encoder

    cut = _CUT.match(encoder)
    if not cut:
        return Encoder(encoder)
    model = Encoder(cut["name"])
    model.cut(int(cut["layers"]))
    return model
