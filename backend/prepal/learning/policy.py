"""The order in which a pool is labelled: what the strategy picks, with audit tasks in their places."""

import math

import numpy as np
from numpy.typing import NDArray


def interleave_audit(
    order: NDArray[np.int64],
    audit_candidates: NDArray[np.int64],
    *,
    labels: int,
    audits: int,
    fraction: float,
    head: int,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Put audit tasks in their places among the first of an order.

    A place is an audit task as soon as fewer audit tasks than `fraction` of all tasks up to it would have been served.
    Its task is the next candidate, whether the strategy wants it too or not: it loses its place in the strategy's
    order, so that a task's being an audit task never depends on the strategy.

    Args:
        order: `(n,)` places in the pool, as the strategy ranks them.
        audit_candidates: `(m,)` places in the pool, in a uniformly random order that stays the same between rounds.
        labels: how many tasks have a label.
        audits: how many of these were audit tasks.
        fraction: of all tasks served, which part are to be audit tasks, 0 to 1.
        head: how many places to fill.

    Returns:
        `(min(n, head),)` places in the pool, no two the same, and which of them are audit tasks.
    """
    is_audit = np.zeros(min(len(order), head), bool)
    placed = 0
    for place in range(len(is_audit)):
        if placed < len(audit_candidates) and audits + placed < math.floor(fraction * (labels + place + 1)):
            is_audit[place] = True
            placed += 1
    chosen = np.empty(len(is_audit), np.int64)
    chosen[is_audit] = audit_candidates[:placed]
    chosen[~is_audit] = order[~np.isin(order, audit_candidates[:placed])][: len(chosen) - placed]
    return chosen, is_audit


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
