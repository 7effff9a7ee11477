"""Texts to be labelled, as vectors, and made-up ones of any size."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.float16 import Vectors

# Of the made-up texts: each class is a few groups, and within a group directions differ in how much they vary, as the
# vectors of sentence encoders do.
_DIMENSIONS, _GROUPS_PER_CLASS, _GROUP_LENGTH = 384, 4, 0.7
_CHUNK_ROWS = 50_000


@dataclass(frozen=True)
class Texts:
    """Texts to be labelled.

    Attributes:
        vectors: `(n, d)` float16 or float32.
        n_classes: the number of classes, k.
        name_vectors: `(k, d)` float32, of the classes' names; None where they have none.
    """

    vectors: Vectors
    n_classes: int
    name_vectors: NDArray[np.float32] | None = None


def make_up(folder: Path, count: int, n_classes: int, seed: int = 0) -> None:
    """Write float16.npy and float32.npy `(count, 384)`, both of the same unit vectors, and labels.npy `(count,)`."""
    rng = np.random.default_rng(seed)
    widths = 1 / np.sqrt(np.arange(1, _DIMENSIONS + 1, dtype=np.float32))
    widths /= np.linalg.norm(widths)
    groups = rng.standard_normal((n_classes * _GROUPS_PER_CLASS, _DIMENSIONS), np.float32) * widths
    groups *= _GROUP_LENGTH / np.linalg.norm(groups, axis=1, keepdims=True)
    group = rng.integers(len(groups), size=count)
    np.save(folder / "labels.npy", group % n_classes)
    shape = (count, _DIMENSIONS)
    half = np.lib.format.open_memmap(folder / "float16.npy", "w+", np.float16, shape)
    single = np.lib.format.open_memmap(folder / "float32.npy", "w+", np.float32, shape)
    for start in range(0, count, _CHUNK_ROWS):
        rows = slice(start, min(start + _CHUNK_ROWS, count))
        vectors = groups[group[rows]]
        vectors += rng.standard_normal(vectors.shape, np.float32) * widths
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        half[rows] = vectors
        single[rows] = half[rows]
    half.flush()
    single.flush()
