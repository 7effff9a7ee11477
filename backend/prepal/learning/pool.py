"""The pool as a strategy sees it, what a strategy is, and what those that give each text a score have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifiers.labels import Labels
from prepal.learning.classifiers.prior import Prior
from prepal.learning.numerics.float16 import Vectors
from prepal.learning.numerics.rows import AnyVectors


class Predicts(Protocol):
    """What a strategy may ask of a classifier."""

    def predict_proba(self, vectors: AnyVectors) -> NDArray[np.float32]:
        """Return the probability `(n, k)` of each choice for each vector `(n, d)`."""
        ...


@dataclass(frozen=True)
class Pool:
    """The texts without a label, with what the classifier says of them, and the labelled ones.

    Attributes:
        vectors: `(n, d)` float16 or float32, a row for each task without a label.
        probabilities: `(n, k)` float32, or None while there is no classifier.
        classifier: what gave the probabilities; None while there is none.
        labelled_vectors: `(m, d)` float32.
        labelled: the labels of those, `(m,)` int64, or `(m, k)` bool if multilabel.
        multilabel: whether a text may have several choices.
        prior: the shape of the space, for those who measure distances; None for the plain one.
        knows_names: whether the probabilities rest on the choices' names too.
    """

    vectors: AnyVectors
    probabilities: NDArray[np.float32] | None
    labelled_vectors: NDArray[np.float32]
    labelled: Labels
    multilabel: bool
    classifier: Predicts | None = None
    prior: Prior | None = None
    knows_names: bool = False

    def __len__(self) -> int:
        return len(self.vectors)

    def map(self, vectors: Vectors) -> NDArray[np.float32]:
        """Return vectors `(n, d)` in the space where distances count."""
        return vectors.astype(np.float32, copy=False) if self.prior is None else self.prior.map(vectors)


class Strategy(Protocol):
    """Decides which texts of a pool are labelled next."""

    @property
    def name(self) -> str:
        """What settings call it."""
        ...

    @property
    def multilabel(self) -> bool:
        """Whether it makes sense where a text may have several choices."""
        ...

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `(min(n, len(pool)),)` different places in the pool, best first; equal ones by lowest place.

        Who goes by probabilities draws at random while there are none.

        Raises:
            ValueError: if the pool is multilabel and the strategy cannot be.
        """
        ...


# From probabilities (n, k) and whether they are multilabel to how much each text is worth labelling, (n,) float32.
Score = Callable[[NDArray[np.float32], bool], NDArray[np.float32]]


@dataclass(frozen=True)
class ScoreStrategy:
    """Takes the texts of highest score, whichever others it takes."""

    name: str
    score: Score
    multilabel: bool = True

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        refuse_multilabel(self, pool)
        if pool.probabilities is None:
            return draw(len(pool), n, rng)
        return best(self.score(pool.probabilities, pool.multilabel), n)


def refuse_multilabel(strategy: Strategy, pool: Pool) -> None:
    """Raise a ValueError if the pool is multilabel and the strategy cannot be."""
    if pool.multilabel and not strategy.multilabel:
        raise ValueError(f'The strategy "{strategy.name}" needs a single choice per text; choose another one.')


def best(scores: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """Return the `(min(n, len(scores)),)` places of the highest scores, highest first; equal ones by lowest place."""
    n = min(n, len(scores))
    if n <= 0:
        return np.empty(0, np.int64)
    cut = len(scores) - n
    threshold = np.partition(scores, cut)[cut]
    above = np.flatnonzero(scores > threshold)
    equal = np.flatnonzero(scores == threshold)[: n - len(above)]
    chosen = np.concatenate([above, equal])
    return chosen[np.argsort(-scores[chosen], kind="stable")].astype(np.int64, copy=False)


def draw(size: int, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `(min(n, size),)` different places below `size`, uniformly at random."""
    return rng.choice(size, min(max(n, 0), size), replace=False).astype(np.int64, copy=False)


def by_confidence(confidence: NDArray[np.float32], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return places in the order of their confidences, none below zero; equal ones stay in their order.

    Their bits are in that order, too, and NumPy sorts 16 bits at a time in a third of the time that floats take.
    """
    bits = confidence.take(places).view(np.uint32)
    order = np.argsort(bits.astype(np.uint16), kind="stable")
    order = order.take(np.argsort((bits >> 16).astype(np.uint16).take(order), kind="stable"))
    return places.take(order)
