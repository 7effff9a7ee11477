"""The vectors that an experiment goes by."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Vectors:
    """What an encoder makes of the pool `(n, d)`, the test texts `(m, d)` and the choices' names `(k, d)`, float32."""

    train: NDArray[np.float32]
    test: NDArray[np.float32]
    names: NDArray[np.float32]

    def beside(self, words: "Vectors | None") -> "Vectors":
        """Return these with others beside them, if there are any."""
        if words is None:
            return self
        both = ((self.train, words.train), (self.test, words.test), (self.names, words.names))
        return Vectors(*(np.hstack(parts) for parts in both))
