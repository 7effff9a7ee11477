"""Audit tasks: the lot they are drawn by, their share and places; who can be drawn is in `learner/ranking.py`."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Head:
    """The first places of an order, with audit tasks in theirs.

    Attributes:
        places: `(min(n, head),)` places in the pool, no two the same.
        is_audit: which of them are audit tasks.
        found: how many texts that have a label already were drawn as audit tasks on the way.
    """

    places: NDArray[np.int64]
    is_audit: NDArray[np.bool_]
    found: int


def interleave_audit(
    order: NDArray[np.int64],
    drawn: NDArray[np.int64],
    *,
    labels: int,
    audits: int,
    fraction: float,
    head: int,
) -> Head:
    """Put audit tasks in their places among the first of an order.

    A place is an audit task as soon as fewer audit tasks than `fraction` of all tasks up to it would have been served.
    Its task is the next one that was drawn, whether the strategy wants it too or not: it loses its place in the
    strategy's order, so that a task's being an audit task never depends on the strategy. A text that was drawn after
    the strategy had it labelled is an audit task all the same: otherwise those would come from what the strategy left,
    and where that is little, from another kind of texts.

    Args:
        order: `(n,)` places in the pool, as the strategy ranks them.
        drawn: `(m,)` places in the pool of the texts that are drawn next, and -1 for texts that have a label already;
            in a uniformly random order of all texts, which stays the same between rounds.
        labels: how many tasks have a label.
        audits: how many of these were audit tasks.
        fraction: of all tasks served, which part are to be audit tasks, 0 to 1.
        head: how many places to fill.
    """
    is_audit = np.zeros(min(len(order), head), bool)
    chosen: list[int] = []
    found, at = 0, 0
    for place in range(len(is_audit)):
        wanted = math.floor(fraction * (labels + place + 1))
        while at < len(drawn) and audits + found + len(chosen) < wanted and not is_audit[place]:
            if drawn[at] < 0:
                found += 1
            else:
                is_audit[place] = True
                chosen.append(int(drawn[at]))
            at += 1
    places = np.empty(len(is_audit), np.int64)
    places[is_audit] = chosen
    places[~is_audit] = order[~np.isin(order, chosen)][: len(places) - len(chosen)]
    return Head(places, is_audit, found)


def by_lot(priority: NDArray[np.uint64], fraction: float) -> NDArray[np.bool_]:
    """Return which texts `(n,)` are among the part of all that audit tasks are drawn from first.

    What is predicted of these is never shown to who labels them, whatever had them served.
    """
    return np.asarray(priority < np.uint64(min(fraction, 1 - 2**-53) * 2.0**64))


def audit_priority(task_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """Return a fixed pseudo-random number for each task id `(n,)`.

    The task of a pool that has the smallest one is a uniform draw from it, and stays the one until it leaves the pool.
    """
    # The seed is mixed before it meets the ids: otherwise seeds 0 and 1 would only swap neighbours.
    mixed_seed = _splitmix64(np.array([seed % 2**64], np.uint64))
    return _splitmix64(task_ids.astype(np.uint64) ^ mixed_seed)


def _splitmix64(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of each number: Steele, Lea & Flood, Fast Splittable Pseudorandom Number Generators (2014)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
