"""Whether more labels would still change the model: advice, and never a reason to stop by itself.

After Bloodgood & Vijay-Shanker, A Method for Stopping Active Learning Based on Stabilizing Predictions and the Need for
User-Adjustable Stopping (2009): models are compared by what they predict for the same texts, which needs no labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifiers.labels import Labels

WINDOW = 3  # comparisons that must agree, as in the paper
STABLE = 0.99  # each of them, as in the paper
NEARLY_STABLE = 0.97  # their mean
# With fewer labels a model agrees with the one before because neither knows the classes yet.
LEAST_LABELS_PER_CLASS = 10
# Models that differ by a few labels agree whatever they know, so they are compared so many labels apart, or this part
# of all labels where that is more.
LEAST_LABELS_APART, LEAST_PART_APART = 10, 0.05
# Accuracy that rose by more than this over the last fifth of the labels contradicts that labels change nothing.
STILL_RISING, LAST_PART = 0.02, 0.2
_REMEMBERED = 20  # more comparisons than anyone looks back on
# A choice that is predicted for less than this part of the pool is hardly ever predicted: how well models agree says
# next to nothing of it.
HARDLY_EVER = 0.001
_MOST_NAMED = 3


@dataclass(frozen=True)
class Advice:
    """What to tell those who label.

    Attributes:
        word: the advice.
        reason: one sentence with the figures that it rests on.
    """

    word: Literal["keep going", "close", "you can stop"]
    reason: str


@dataclass(frozen=True)
class Stability:
    """How well successive models agreed; its fields are plain JSON.

    Attributes:
        labels: how many there were at the last comparison.
        kappas: the `agreement` of the last models, oldest first.
    """

    labels: int = 0
    kappas: list[float] = field(default_factory=list)

    def due(self, labels: int, apart: int | None = None) -> bool:
        """Tell whether a model of so many labels is far enough from the last one that was compared.

        `apart` says how many labels only one of both has, or has otherwise; without it, their counts are compared.
        """
        apart = abs(labels - self.labels) if apart is None else apart
        return apart >= max(LEAST_LABELS_APART, LEAST_PART_APART * labels)

    def after(self, labels: int, kappa: float | None) -> "Stability":
        """Return what is known after one more comparison; `kappa` is None for the first model, which has no other."""
        return Stability(labels, [*self.kappas, *([] if kappa is None else [kappa])][-_REMEMBERED:])


def agreement(before: Labels, after: Labels) -> float | None:
    """Return Cohen's kappa between the predictions of two models: 1 where they are equal, 0 if only as by chance.

    A Coefficient of Agreement for Nominal Scales (1960). It is not defined where both models predict the same one
    choice for everything: that they agree then, chance alone explains. Where a text may have several choices it is the
    mean over those for which it is defined.

    Args:
        before: `(n,)` int64, n > 0, or `(n, k)` bool where a text may have several choices.
        after: of the same texts.

    Returns:
        None where it is not defined.

    Raises:
        ValueError: if the shapes differ or there are no texts.
    """
    if before.shape != after.shape or not before.size:
        raise ValueError(f"Predictions must be of the same texts, but they are {before.shape} and {after.shape}.")
    if before.ndim == 2:
        kappas = [kappa for pair in zip(before.T, after.T, strict=True) if (kappa := _kappa(*pair)) is not None]
        return float(np.mean(kappas)) if kappas else None
    return _kappa(before, after)


def _kappa(before: NDArray[np.generic], after: NDArray[np.generic]) -> float | None:
    choices, numbers = np.unique(np.concatenate([before, after]), return_inverse=True)
    if len(choices) == 1:
        return None
    first, second = (np.bincount(part, minlength=len(choices)) / len(before) for part in np.split(numbers, 2))
    by_chance = float(first @ second)
    return (float((before == after).mean()) - by_chance) / (1 - by_chance)


def hardly_predicted(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return which of k choices are predicted for hardly any text of a pool, `(m,)`.

    Args:
        chosen: `(n, k)`, the predicted choices.
    """
    return np.flatnonzero(chosen.sum(axis=0) < max(1.0, HARDLY_EVER * len(chosen)))


def advise(
    kappas: Sequence[float],
    labels_per_class: float,
    accuracies: Sequence[tuple[int, float]] = (),
    unseen: Sequence[str] = (),
) -> Advice:
    """Return whether to go on labelling.

    Args:
        kappas: the `agreement` of successive models, oldest first; see `Stability`.
        labels_per_class: labels divided by choices.
        accuracies: numbers of labels and the accuracy measured then, as a part of 1, oldest first.
        unseen: names of choices that are hardly ever predicted; see `hardly_predicted`.
    """
    if labels_per_class < LEAST_LABELS_PER_CLASS:
        return Advice(
            "keep going",
            f"There are {labels_per_class:.1f} labels per choice, and below {LEAST_LABELS_PER_CLASS} it is too early "
            "to tell.",
        )
    if len(kappas) < WINDOW:
        return Advice(
            "keep going",
            f"Successive models were compared {len(kappas)} times, and it takes {WINDOW} to tell whether they settle.",
        )
    last = kappas[-WINDOW:]
    mean = sum(last) / WINDOW
    finding = f"The last {WINDOW} models agree on {max(mean, 0.0):.1%} of predictions beyond chance".replace("%", " %")
    if mean < NEARLY_STABLE:
        return Advice("keep going", f"{finding}; labels still change them.")
    if min(last) < STABLE:
        return Advice("close", f"{finding}; labels change them less and less.")
    rise = _recent_rise(accuracies)
    if rise > STILL_RISING:
        return Advice("close", f"{finding}, but accuracy still rose by {rise * 100:.1f} points over the last labels.")
    if unseen:
        more = f" and {len(unseen) - _MOST_NAMED} others" if len(unseen) > _MOST_NAMED else ""
        names = ", ".join(map(repr, unseen[:_MOST_NAMED]))
        return Advice("close", f"{finding}, but hardly any text is predicted to be {names}{more}: label some that are.")
    return Advice("you can stop", f"{finding}; more labels hardly change them.")


def _recent_rise(accuracies: Sequence[tuple[int, float]]) -> float:
    """How much the accuracy rose since there were four fifths of the labels; 0 where that is not known."""
    if not accuracies:
        return 0.0
    labels, accuracy = accuracies[-1]
    earlier = [a for n, a in accuracies if n <= (1 - LAST_PART) * labels]
    return accuracy - earlier[-1] if earlier else 0.0
