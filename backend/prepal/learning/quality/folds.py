"""Deals texts to parts that take turns in being held out: equal texts to one part, and each class to all alike."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Vectors of the same words, which an encoder read with or without capitals and spaces, lie as far apart as float16 and
# the order of sums have it: up to 0.008 at a length of 1. Those of texts that differ in a word lie 0.1 apart.
_ALIKE = 0.015
_COMPARED_ROWS = 1024


def equal(texts: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return a number `(n,)` for each text, the same for equal ones only, in the order of their first ones."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int64)


def alike(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return a number `(n,)` for each vector `(n, d)`, the same for those of texts that an encoder takes for equal."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    # Those that are alike are so in each number, and are looked for where the number that differs most is.
    widest = units[:, units.var(axis=0).argmax()] if len(units) else np.empty(0, np.float32)
    order = np.argsort(widest, kind="stable")
    units, ends = units[order], np.searchsorted(widest[order], widest[order] + _ALIKE, side="right")
    pairs: list[NDArray[np.int64]] = [np.empty((2, 0), np.int64)]
    for start in range(0, len(units), _COMPARED_ROWS):
        part = units[start : start + _COMPARED_ROWS]
        found = np.nonzero(part @ units[start : ends[start + len(part) - 1]].T >= 1 - _ALIKE**2 / 2)
        pairs.append(start + np.array(found))
    one, other = order[np.concatenate(pairs, axis=1)]
    links = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(order), len(order)))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


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
