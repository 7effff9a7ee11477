"""How many labels more a goal takes: the accuracy curve so far, continued in all ways in which such curves go.

After n labels a classifier has 1 − exp(−(n / ν)^κ) of the accuracy that it is heading for: a Weibull curve, as one of
the families of Viering & Loog, The Shape of Learning Curves (2023), with two numbers, of which PALM (arXiv 2507.15381)
has four. What ν and κ are is believed as curves of labelled sets had them, and by how much today's classifier thinks of
earlier ones: those that learnt from the first labels alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from prepal.learning.classifiers import decisions
from prepal.learning.classifiers.labels import Labels, NothingToLearn
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.classifiers.prior import Prior
from prepal.learning.numerics.rows import AnyVectors

# Classifiers of these parts of the labels are looked back on.
_PARTS = (0.2, 0.4, 0.6, 0.8)
# With fewer labels there is no curve yet.
LEAST_LABELS = 40
# What the logarithms of ν and κ are looked at, and what is believed of them: means, and their covariance.
# `python -m benchmarks.loop.coverage` has how often they hold.
_LOG_SCALE, _LOG_SHAPE = np.linspace(-3, 8, 89), np.linspace(-2.1, 0.5, 53)
_BELIEVED, _COVARIANCE = np.array([1.0, -1.2]), np.array([[5.0, 0.4], [0.4, 0.3]])
# By how much the logarithm of what an earlier classifier's choices are worth to today's differs from that of their
# accuracy, for each time that labels have doubled since.
_ERROR = 0.04
_TAIL = 0.05  # on each side of a band
# Accuracies that people aim at; and one that is hardly above today's is no goal.
_GOALS, _ABOVE = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99), 0.01
# So many accuracies stand for what it may be now, and so many texts for a pool.
_LEVELS, _POOL = 21, 5000
_LEAST = 1e-3


@dataclass(frozen=True)
class Band:
    """How many labels something takes, all together; infinite where it is never reached.

    Attributes:
        about: as likely more as less.
        low: lower end of the band that holds it nine times in ten.
        high: upper end.
    """

    about: float
    low: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """The next accuracy that people may aim at; its fields are plain JSON.

    Attributes:
        goal: the accuracy.
        about: how many labels it takes, all together, as likely more as less.
        low: lower end of the band that holds it nine times in ten.
        high: upper end; None: perhaps more than there are texts.
    """

    goal: float
    about: int
    low: int
    high: int | None


@dataclass(frozen=True)
class Curve:
    """The ways in which an accuracy curve may go on.

    Attributes:
        labels: how many there are now.
        scale: `(c,)`, ν of each way.
        shape: `(c,)`, κ.
        chances: `(c,)`, how likely each way is; their sum is 1.
    """

    labels: int
    scale: NDArray[np.float64]
    shape: NDArray[np.float64]
    chances: NDArray[np.float64]

    @classmethod
    def after(cls, labels: int, seen: Mapping[int, float]) -> Self:
        """Return the ways in which the curve of so many labels may go on, by `looking_back`."""
        grid = np.stack(np.meshgrid(_LOG_SCALE, _LOG_SHAPE, indexing="ij"), axis=-1).reshape(-1, 2)
        scale, shape = np.exp(grid).T
        away = grid - _BELIEVED
        likely = -0.5 * np.einsum("ci,ij,cj->c", away, np.linalg.inv(_COVARIANCE), away)
        for earlier, worth in seen.items():
            reached = np.log(_reached(earlier, scale, shape) / _reached(labels, scale, shape))
            likely -= 0.5 * ((np.log(worth) - reached) / (_ERROR * np.log2(labels / earlier))) ** 2
        chances = np.exp(likely - likely.max())
        return cls(labels, scale, shape, chances / chances.sum())

    def next_goal(self, accuracy: tuple[float, float, float], texts: int) -> Forecast | None:
        """Return the next accuracy that people may aim at; None where labelling all texts hardly reaches it.

        Args:
            accuracy: as of `until`.
            texts: how many there are, labelled or not.
        """
        goal = next((goal for goal in _GOALS if goal > accuracy[0] + _ABOVE), None)
        band = None if goal is None else self.until(goal, accuracy)
        if goal is None or band is None or not self.labels < band.about <= texts:
            return None
        about, low, high = (math.ceil(end) for end in (band.about, band.low, min(band.high, texts + 1)))
        return Forecast(goal, about, max(low, self.labels), high if high <= texts else None)

    def until_part(self, part: float, end: int) -> Band:
        """Return how many labels a part of the accuracy takes that there is with `end` labels."""
        wanted = part * _reached(end, self.scale, self.shape)
        return _band(self._needed(wanted), self.chances)

    def until(self, goal: float, accuracy: tuple[float, float, float]) -> Band:
        """Return how many labels an accuracy takes.

        Args:
            goal: the accuracy.
            accuracy: what it is now, with both ends of its 95 % interval, between 0 and 1.
        """
        now, low, high = logit(np.clip(accuracy, _LEAST, 1 - _LEAST))
        # Evenly likely ones, of a normal distribution on either side.
        quantiles = ndtri((np.arange(_LEVELS) + 0.5) / _LEVELS)
        levels = expit(now + quantiles / ndtri(0.975) * np.where(quantiles < 0, now - low, high - now))
        wanted = goal / levels[:, None] * _reached(self.labels, self.scale, self.shape)
        return _band(self._needed(wanted).ravel(), np.tile(self.chances / _LEVELS, _LEVELS))

    def _needed(self, part: NDArray[np.float64]) -> NDArray[np.float64]:
        """The labels after which each way has reached a part of what it is heading for."""
        left = np.log1p(-np.minimum(part, 1), where=part < 1, out=np.full(part.shape, -np.inf))
        return np.asarray(self.scale * (-left) ** (1 / self.shape))


def looking_back(
    vectors: NDArray[np.float32],
    labels: Labels,
    pool: AnyVectors,
    n_classes: int,
    *,
    multilabel: bool = False,
    prior: Prior | None = None,
) -> dict[int, float]:
    """Return what earlier classifiers' choices are worth to today's, as a part of its own, by their numbers of labels.

    Args:
        vectors: `(n, d)`, in the order in which they were labelled.
        labels: `(n,)` int64, or `(n, k)` bool if multilabel.
        pool: `(p, d)`, of the texts without a label.
        n_classes: the number of choices, k.
        multilabel: whether a text may have several choices.
        prior: the classifiers'.

    Returns:
        Nothing with fewer than `LEAST_LABELS` labels, without a pool, or of what had nothing to learn from.
    """
    if len(labels) < LEAST_LABELS or not len(pool):
        return {}
    each, pool = decisions.how_many(labels), pool[:: -(-len(pool) // _POOL)]
    classifier = LogisticRegression(n_classes, multilabel=multilabel, prior=prior)
    found: dict[int, float] = {}
    try:
        today = classifier.fit(vectors, labels).predict_proba(pool)
    except NothingToLearn:
        return {}
    own = decisions.confidences(today, each).mean()
    for part in _PARTS:
        count = round(part * len(labels))
        try:
            chosen = decisions.decide(classifier.fit(vectors[:count], labels[:count]).predict_proba(pool), each)
        except NothingToLearn:
            continue
        found[count] = float(decisions.likely(chosen, today, each).mean() / own)
    return found


def _reached(labels: float, scale: NDArray[np.float64], shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which part of the accuracy that it is heading for each way has."""
    return np.asarray(-np.expm1(-((labels / scale) ** shape)))


def _band(labels: NDArray[np.float64], chances: NDArray[np.float64]) -> Band:
    order = np.argsort(labels)
    below = np.cumsum(chances[order])
    at = np.searchsorted(below, np.array([0.5, _TAIL, 1 - _TAIL]) * below[-1])
    return Band(*labels[order][at].tolist())
