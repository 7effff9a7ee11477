"""Which labels a text is given by its scores, and when that is right: one definition for the live loop and the rest."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifiers.labels import Labels

HowMany = Literal["one", "some", "any"]
"""How many labels a text has: exactly one; one or more; or any number, none too."""


def how_many(labels: Labels) -> HowMany:
    """Return how many labels a text has, by what these texts have.

    Args:
        labels: `(n,)` int64, or `(n, k)` bool where a text may have several.
    """
    if labels.ndim == 1:
        return "one"
    return "some" if labels.any(axis=1).all() else "any"


def marks(labels: Labels, k: int) -> NDArray[np.bool_]:
    """Return which of k labels each text has, `(n, k)`."""
    return np.asarray(labels, bool) if labels.ndim == 2 else np.asarray(labels[:, None] == np.arange(k))


def decide(scores: NDArray[np.floating], each: HowMany, boundary: float = 0.5) -> NDArray[np.bool_]:
    """Return the labels `(n, k)` that texts are given, where each has so many.

    Of several, those that are more likely than not. Where every text has some but none is that likely, the likeliest.

    Args:
        scores: `(n, k)` probabilities, or logits.
        each: how many labels a text has.
        boundary: the score of a label that is as likely as not: 0 for logits.
    """
    if each == "one":
        given = np.asarray(scores == scores.max(axis=1, keepdims=True))
        # Of equal ones the first. Columns are what lies together in memory, where there are many texts.
        taken = given[:, 0].copy()
        for column in given.T[1:]:
            column &= ~taken
            taken |= column
        return given
    given = np.asarray(scores > boundary)
    if each == "some":
        none = np.flatnonzero(~given.any(axis=1))
        given[none, scores[none].argmax(axis=1)] = True
    return given


def confidences(probabilities: NDArray[np.floating], each: HowMany) -> NDArray[np.floating]:
    """Return how likely `(n,)` it is that what `decide` gives a text is right, in the precision of the probabilities.

    Args:
        probabilities: `(n, k)`, of labels that do not depend on each other unless each text has one.
        each: how many labels a text has.
    """
    if each == "one":
        return np.asarray(probabilities.max(axis=1))
    return likely(decide(probabilities, each), probabilities, each)


def likely(given: NDArray[np.bool_], probabilities: NDArray[np.floating], each: HowMany) -> NDArray[np.floating]:
    """Return how likely `(n,)` it is that exactly the given labels are right, in the precision of the probabilities.

    Args:
        given: `(n, k)`, as `decide` gives them.
        probabilities: `(n, k)`, of labels that do not depend on each other unless each text has one.
        each: how many labels a text has.
    """
    if each == "one":
        return np.asarray(np.where(given, probabilities, 0).sum(axis=1))
    precision = np.finfo(probabilities.dtype)
    sure = np.clip(probabilities, precision.tiny, 1 - precision.eps)
    chance = np.where(given, sure, 1 - sure).prod(axis=1)
    if each == "any":
        return np.asarray(chance)
    # That a text has no label at all is ruled out.
    return np.asarray(np.minimum(1, chance / -np.expm1(np.log1p(-sure).sum(axis=1))))


def right(given: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which texts `(n,)` are given all of their labels, and no other; both are `(n, k)`."""
    return np.asarray((given == truth).all(axis=1))


def macro_f1(truth: NDArray[np.bool_], given: NDArray[np.bool_]) -> float:
    """Return the mean F1 over those of the k labels that a text has or is given; 1 if there is none.

    Args:
        truth: `(n, k)`, the labels that texts have.
        given: `(n, k)`, the ones that they are given.
    """
    mentions = truth.sum(axis=0) + given.sum(axis=0)
    used = mentions > 0
    return float((2 * (truth & given).sum(axis=0)[used] / mentions[used]).mean()) if used.any() else 1.0
