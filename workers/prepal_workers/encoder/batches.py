"""Which texts go through an encoder together: of about one length, and so many that a device works well."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

# Texts that are tokenised in one go, while the device computes; and the most places of their padded array.
_WINDOW_TEXTS, _WINDOW_TOKENS = 1024, 2**20

Features = dict[str, Any]


def windows(texts: Sequence[str], most_tokens: int) -> Iterator[list[int]]:
    """Places of texts of similar length, longest first, for an encoder that reads `most_tokens` of a text."""
    order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    start = 0
    while start < len(order):
        # Prose has fewer tokens than characters.
        longest = min(len(texts[order[start]]) + 2, most_tokens)
        size = max(1, min(_WINDOW_TEXTS, _WINDOW_TOKENS // longest))
        yield order[start : start + size]
        start += size


def plan(lengths: NDArray[np.int64], tokens: int) -> list[NDArray[np.int64]]:
    """Which rows go together: sorted by length, longest first, and at most `tokens` places a batch with the padding.

    Args:
        lengths: (n,) int64, tokens of each row.
        tokens: places of one batch; a longer row is a batch of its own.

    Returns:
        Arrays (b,) int64; every row is in exactly one of them.
    """
    order = np.argsort(-lengths, kind="stable")
    parts, start = [], 0
    while start < len(order):
        size = max(1, int(tokens // max(1, lengths[order[start]])))
        parts.append(order[start : start + size])
        start += size
    return parts


def lengths(features: Mapping[str, Any]) -> NDArray[np.int64] | None:
    """(n,) int64, how many tokens each row has; None where an encoder's features do not tell."""
    mask = features.get("attention_mask")
    if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
        return None
    return np.asarray(mask.sum(dim=1).numpy(), np.int64)


def rows(features: Mapping[str, Any], places: NDArray[np.int64]) -> Features:
    """Some rows of padded features, without the columns in which all of them are padded."""
    mask = features["attention_mask"]
    index = torch.from_numpy(places)
    used = mask[index].any(dim=0).nonzero()
    first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
    return {
        name: value[index, first:last].contiguous()
        if isinstance(value, torch.Tensor) and value.shape[:2] == mask.shape
        else value
        for name, value in features.items()
    }


def halves(features: Mapping[str, Any]) -> tuple[Features, Features]:
    """The same rows in two batches."""
    count = len(features["attention_mask"])
    middle = count // 2
    return rows(features, np.arange(middle)), rows(features, np.arange(middle, count))
