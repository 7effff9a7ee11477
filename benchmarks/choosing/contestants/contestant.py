"""What a contestant is: a strategy of a library, which goes through an experiment batch by batch."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]

OURS = "PRepAL"


class Chooser(Protocol):
    """Goes through one experiment: learns from the labels so far and says what to label next."""

    def choose(self, labelled: Places, labels: NDArray[np.int64], n: int) -> Places:
        """Return n different places of texts that have no label.

        Args:
            labelled: `(m,)` places of the texts that have one; those of the call before come first, in the same order.
            labels: `(m,)`.
            n: how many.
        """
        ...


@dataclass(frozen=True, order=True)
class Contestant:
    """A strategy of a library."""

    library: str
    strategy: str

    def __str__(self) -> str:
        return f"{self.library} {self.strategy}"
