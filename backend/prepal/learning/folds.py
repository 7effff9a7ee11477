"""Deals texts to parts that take turns in being held out: equal texts to one part, and each class to all alike."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def equal(texts: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return a number `(n,)` for each text, the same for equal ones only, in the order of their first ones."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int64)


def deal(
    marks: NDArray[np.bool_], groups: NDArray[np.int64], parts: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return a part from 0 on for each text `(n,)`: all parts get alike many of each class, and of all texts.

    A group goes whole to the part that has the fewest texts of the group's rarest class so far: rare classes first, so
    that the frequent ones even out what they left, and large groups before small ones.

    Args:
        marks: `(n, k)`, which of k classes each text has.
        groups: `(n,)`, what must not be parted has the same number, as of `equal`.
        parts: how many.
        rng: decides among what is alike.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    frequency = np.append(marks.sum(axis=0), len(marks) + 1)
    has = np.zeros((len(sizes), len(frequency)), bool)
    np.logical_or.at(has[:, :-1], group, marks)
    # Texts without any class are a class of their own, dealt last.
    has[:, -1] = ~has.any(axis=1)
    rarest = np.where(has, frequency, len(marks) + 2).argmin(axis=1)
    shuffled = rng.permutation(len(sizes))
    order = shuffled[np.lexsort((-sizes[shuffled], rarest[shuffled], frequency[rarest[shuffled]]))]
    # A part that comes first wherever all are alike would get more than others.
    turns = [rng.permutation(parts) for _ in frequency]
    of_class = np.zeros((len(frequency), parts), np.int64)
    of_all = np.zeros(parts, np.int64)
    part = np.empty(len(sizes), np.int64)
    for number in order:
        own = rarest[number]
        chosen = np.lexsort((turns[own], of_all, of_class[own]))[0]
        of_class[own, chosen] += sizes[number]
        of_all[chosen] += sizes[number]
        part[number] = chosen
    return part[group]
