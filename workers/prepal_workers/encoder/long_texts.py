"""Texts longer than an encoder reads: cut into windows, whose vectors' mean is the text's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What is longer than so many windows is cut: the mean hardly moves any more.
MOST_WINDOWS = 32


def windows_of(texts: Sequence[str], tokenizer: Any, most_tokens: int) -> tuple[list[str], NDArray[np.int64]]:  # noqa: ANN401
    """Pieces of texts, none longer than an encoder reads.

    Args:
        texts: the texts.
        tokenizer: the encoder's, a fast one of `transformers`.
        most_tokens: how many the encoder reads, without the marks around a text and its prompt.

    Returns:
        The pieces, and (pieces,) int64, of which text each is; texts that fit are one piece, as they are.
    """
    pieces: list[str] = []
    owners: list[int] = []
    for place, text in enumerate(texts):
        spans = _spans(text, tokenizer, most_tokens) if len(text) > most_tokens else []
        found = [text[begin:end] for begin, end in spans] if len(spans) > 1 else [text]
        pieces += found
        owners += [place] * len(found)
    return pieces, np.array(owners, np.int64)


def mean(vectors: NDArray[np.float16], owners: NDArray[np.int64], *, unit: bool) -> NDArray[np.float16]:
    """The mean of each text's pieces.

    Args:
        vectors: (pieces, d) float16.
        owners: (pieces,) int64, ascending: of which text each is; every text has one at least.
        unit: whether the encoder gives vectors of length one.
    """
    starts, counts = np.unique(owners, return_index=True, return_counts=True)[1:]
    if len(starts) == len(owners):
        return vectors
    sums = np.add.reduceat(vectors.astype(np.float32), starts)
    scale = np.linalg.norm(sums, axis=1, keepdims=True) if unit else counts[:, None]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        means: NDArray[np.float16] = (sums / scale).astype(np.float16)
    means[counts == 1] = vectors[starts[counts == 1]]
    return means


def _spans(text: str, tokenizer: Any, most_tokens: int) -> list[tuple[int, int]]:  # noqa: ANN401
    """Where each window begins and ends in the text."""
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    starts = [offsets[token][0] for token in range(0, len(offsets), most_tokens)][:MOST_WINDOWS]
    last = min(len(offsets), MOST_WINDOWS * most_tokens)
    return list(zip(starts, [*starts[1:], offsets[last - 1][1]], strict=True)) if starts else []
