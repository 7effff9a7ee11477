"""The default: texts that stand for many doubtful ones, and every fourth text for whatever none stands for yet."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.coverage import Coverage
from prepal.learning.pool import Pool, draw
from prepal.learning.strategies.doubt.margin import closeness

# Every so many-th text is chosen for what it covers, whatever the classifier believes: it is where doubt does not look,
# and labels that doubt alone chose teach other models less than random ones do.
_COVER_EVERY = 4
# Among so many texts of larger pools, half of them drawn by doubt; so many labelled ones say what is covered.
_MOST, _MOST_LABELLED = 1000, 2000

_DOUBT, _ALL = 0, 1


@dataclass(frozen=True)
class Auto:
    """Uncertainty herding: Bae, Oliveira & Sutherland, One Active Learning Method for All Label Budgets (2025).

    The next text is the one that covers most doubt: doubtful texts count, and those that a labelled one is near do not.
    Before the first label all texts count alike; while all labels are of one choice the next ones are drawn at random,
    because what is typical is of frequent choices.
    """

    name: str = "auto"
    multilabel: bool = True

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        n = min(n, len(pool))
        if n <= 0 or (pool.probabilities is None and len(pool.labelled)):
            return draw(len(pool), n, rng)
        doubt = _doubt(pool)
        places, counts = _sample(doubt, max(_MOST, 3 * n), rng)
        labelled = pool.labelled_vectors
        if len(labelled) > _MOST_LABELLED:
            labelled = labelled[draw(len(labelled), _MOST_LABELLED, rng)]
        weights = np.stack([doubt[places] * counts, counts])
        coverage = Coverage(pool.map(pool.vectors[places]), pool.map(labelled), weights)
        numbers = len(pool.labelled) + np.arange(min(n, len(places)))
        return places[[coverage.take(_ALL if number % _COVER_EVERY == 0 else _DOUBT) for number in numbers]]


def _doubt(pool: Pool) -> NDArray[np.float32]:
    """How much `(n,)` each text is doubted, from 0 to 1; all alike where there is no classifier."""
    if pool.probabilities is None:
        return np.ones(len(pool), np.float32)
    doubt = closeness(pool.probabilities, pool.multilabel)
    doubt -= doubt.min()
    highest = doubt.max()
    return np.asarray(doubt / highest if highest > 0 else np.ones_like(doubt), np.float32)


def _sample(
    doubt: NDArray[np.float32], most: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Places of at most so many texts, ascending, and for how many of all each stands: systematic sampling."""
    if len(doubt) <= most:
        return np.arange(len(doubt)), np.ones(len(doubt), np.float32)
    shares = doubt / doubt.sum(dtype=np.float64) + 1 / len(doubt)
    ends = np.cumsum(shares)
    drawn = np.searchsorted(ends, (np.arange(most) + rng.random()) * (ends[-1] / most), side="right")
    places, counts = np.unique(np.minimum(drawn, len(doubt) - 1), return_counts=True)
    return places, np.asarray(counts / shares[places], np.float32)


STRATEGY = Auto()
