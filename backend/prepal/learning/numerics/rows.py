"""Some rows of a large array of vectors, without a copy of all of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.float16 import Vectors


class Rows:
    """Vectors `(n, d)` that lie somewhere in a larger array; as of an array, a part is asked for by its places.

    What is asked for is not to be written to.

    Args:
        vectors: `(m, d)` float16.
        rows: `(n,)` int64, the row of each vector.
    """

    ndim = 2

    def __init__(self, vectors: NDArray[np.float16], rows: NDArray[np.int64]) -> None:
        self._vectors = vectors
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, places: Any) -> NDArray[np.float16]:  # noqa: ANN401
        rows = self._rows[places]
        if isinstance(places, slice) and len(rows) and (np.diff(rows) == 1).all():
            # Texts mostly lie in the order in which they came.
            return self._vectors[rows[0] : rows[-1] + 1]
        part: NDArray[np.float16] = self._vectors.take(rows, axis=0)
        return part

    @property
    def shape(self) -> tuple[int, int]:
        """`(n, d)`."""
        return len(self), self._vectors.shape[1]

    @property
    def dtype(self) -> np.dtype[np.float16]:
        """That of the vectors."""
        return self._vectors.dtype


AnyVectors = Vectors | Rows
"""`(n, d)`, maybe too many to have a copy of: a part is looked at at a time."""
