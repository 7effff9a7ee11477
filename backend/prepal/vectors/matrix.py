"""The vectors of a project in memory, by text id; grows as vectors come, without being read anew."""

import numpy as np
from numpy.typing import NDArray

from prepal.vectors.ids import text_keys
from prepal.vectors.table import VectorTable

# When its room is used up it gets so many times as much. What is not filled yet takes no memory.
_GROWTH = 1.5


class VectorMatrix:
    """Vectors (m, d) float16, and in which row the vector of each text is.

    Args:
        beside: so many numbers more has each row, behind its vector: zeros, for whoever loads them to fill.
    """

    def __init__(self, beside: int = 0) -> None:
        self._beside = beside
        self._room: NDArray[np.float16] = np.empty((0, 0), np.float16)
        self._count = 0
        self._keys: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._rows: NDArray[np.int64] = np.empty(0, np.int64)

    @property
    def vectors(self) -> NDArray[np.float16]:
        """(m, d + beside) float16."""
        return self._room[: self._count]

    @property
    def beside(self) -> NDArray[np.float16]:
        """(m, beside) float16, a view: what stands behind the vectors."""
        return self.vectors[:, self._room.shape[1] - self._beside :]

    def without_vectors(self) -> "VectorMatrix":
        """A matrix of the same texts that has only what stands behind their vectors."""
        found = VectorMatrix(self._beside)
        found._room, found._count = self.beside.copy(), self._count
        found._keys, found._rows = self._keys, self._rows
        return found

    def shared(self, other: "VectorMatrix") -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows (s,) int64 of the texts that another matrix has, too: here, and there."""
        _, here, there = np.intersect1d(self._keys, other._keys, assume_unique=True, return_indices=True)
        return self._rows[here], other._rows[there]

    def rows(self, ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """(n,) int64: the row of each of the text ids (n,) S32, -1 where it has no vector yet."""
        if not len(self._keys):
            return np.full(len(ids), -1, np.int64)
        keys = text_keys(ids)
        at = np.searchsorted(self._keys, keys)
        at[at == len(self._keys)] = 0
        return np.where(self._keys[at] == keys, self._rows[at], -1)

    def load(self, table: VectorTable, ids: NDArray[np.bytes_]) -> int:
        """Read those vectors of the text ids (n,) S32 that are not here yet; returns how many were found."""
        lacking = np.unique(ids[self.rows(ids) < 0])
        rows, vectors = table.load(lacking)
        if not len(vectors):
            return 0
        self._take(vectors)
        there = rows >= 0
        keys, rows = text_keys(lacking[there]), rows[there] + self._count - len(vectors)
        order = np.argsort(keys)
        at = np.searchsorted(self._keys, keys[order])
        self._keys = np.insert(self._keys, at, keys[order])
        self._rows = np.insert(self._rows, at, rows[order])
        return len(vectors)

    def _take(self, vectors: NDArray[np.float16]) -> None:
        count, d = self._count + len(vectors), vectors.shape[1]
        if not self._count and not self._beside:
            # The table left room for all that was asked for.
            base = vectors.base
            self._room = base if isinstance(base, np.ndarray) and base.shape[1:] == vectors.shape[1:] else vectors
        else:
            if count > len(self._room):
                room = np.zeros((int(count * _GROWTH) if self._count else count, d + self._beside), np.float16)
                if self._count:
                    room[: self._count] = self.vectors
                self._room = room
            self._room[self._count : count, :d] = vectors
        self._count = count
