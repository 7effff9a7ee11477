"""How well annotators agree, with each other and with ground truth, and how long they take."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

# Of two people who labelled fewer tasks both, chance says more than their agreement.
LEAST_SHARED = 5


@dataclass(frozen=True)
class Concordance:
    """How often labels of the same tasks are the same.

    Attributes:
        tasks: how many both labelled.
        agreed: the part of these with the same label.
        kappa: Cohen's, the same beyond what chance would give; None where chance alone would always agree.
    """

    tasks: int
    agreed: float
    kappa: float | None


def agreement(one: NDArray[np.int64], other: NDArray[np.int64]) -> Concordance:
    """Return how well two people agree by their labels `(n,)` of the same n tasks; equal labels have equal numbers.

    Cohen, A coefficient of agreement for nominal scales (1960).
    """
    agreed = float((one == other).mean())
    labels = np.union1d(one, other)
    by_chance = float(((one[:, None] == labels).mean(axis=0) * (other[:, None] == labels).mean(axis=0)).sum())
    return Concordance(len(one), agreed, None if by_chance == 1 else (agreed - by_chance) / (1 - by_chance))


def pairs(
    tasks: NDArray[np.int64], people: NDArray[np.int64], labels: NDArray[np.int64]
) -> dict[tuple[int, int], Concordance]:
    """Return how well every two people agree who both labelled `LEAST_SHARED` tasks or more, by their numbers.

    Args:
        tasks: `(n,)`, of each label.
        people: `(n,)`, who gave it; the last label that one gave a task counts.
        labels: `(n,)`; equal labels have equal numbers.
    """
    given: dict[int, dict[int, int]] = {}
    for task, person, label in zip(tasks.tolist(), people.tolist(), labels.tolist(), strict=True):
        given.setdefault(person, {})[task] = label
    found = {}
    for one, other in combinations(sorted(given), 2):
        shared = sorted(given[one].keys() & given[other].keys())
        if len(shared) >= LEAST_SHARED:
            both = (np.array([given[person][task] for task in shared], np.int64) for person in (one, other))
            found[one, other] = agreement(*both)
    return found


def usual_seconds(seconds: Sequence[float]) -> float | None:
    """Return the median of the seconds that annotations took; None of none.

    Who goes for lunch with a task open takes an hour for it, which moves a mean and no median.
    """
    return float(np.median(seconds)) if seconds else None
