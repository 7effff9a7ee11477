"""The accuracy on all texts, by how sure the classifier is of each and how far labels bear that out.

Few labels of texts that were drawn at random tell little by themselves. But the classifier says of every text how
likely it is right, and what is not known is by how much it is too sure, or not sure enough: an offset and a slope of
the logits of its confidences. Texts that were drawn tell both without bias, and in the end alone. Those that a strategy
chose are of another kind, but their offset and slope are seldom very different ones.

It is prediction-powered inference (Angelopoulos et al., 2023), with the likelihood of a calibration (Platt, 1999) in
place of a normal limit, which does not hold for few texts or near an accuracy of 1; and a commensurate prior (Hobbs et
al., 2011) for labels of another kind. Active testing (Kossen et al., 2021) and LURE (Farquhar et al., 2021) would weigh
these by how likely each text was to be chosen, of which a strategy that always takes the best says nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, logit, ndtri

# What is looked at: offsets, and the logarithms of slopes.
_OFFSETS, _LOG_SLOPES = np.linspace(-5, 5, 161), np.linspace(-2, 1, 22)
# What is believed of them before any label, by their scales, and of the differences between those of the chosen texts
# and those of all; with few degrees of freedom, so that labels that say something else are soon believed.
# `python -m benchmarks.loop.coverage` has how often the interval holds the truth.
_OFFSET, _LOG_SLOPE, _FREEDOM = 0.6, 0.4, 4
_OTHER_OFFSET, _OTHER_LOG_SLOPE = 0.3, 0.4
# Nothing is surer.
_SUREST = 1 - 1e-4
# So many texts stand for all.
_TEXTS = 200
_TAIL = 0.025  # on each side of the interval


@dataclass(frozen=True)
class Judged:
    """Texts with a label, as a classifier sees them that has not seen that.

    Attributes:
        confidence: `(n,)`, how sure it is of each.
        right: `(n,)` bool, whether it is right.
        weight: `(n,)`, as how many texts each counts, where some are equal.
    """

    confidence: NDArray[np.floating]
    right: NDArray[np.bool_]
    weight: NDArray[np.floating]


def accuracy_on_all(
    confidence: NDArray[np.floating], drawn: Judged, chosen: Judged, different: float
) -> tuple[float, float, float]:
    """Return the accuracy on all texts, and on others like them, and both ends of its 95 % interval.

    Args:
        confidence: `(p,)`, how sure the classifier is of each of all texts, p > 0.
        drawn: the texts that were drawn from all of them at random.
        chosen: others with a label.
        different: as how many different texts all of them count.
    """
    before = np.log(_t(_LOG_SLOPES, _LOG_SLOPE))[:, None] + np.log(_t(_OFFSETS, _OFFSET))
    believed = before + _log_likely(drawn) + _blurred(_log_likely(chosen))
    possible = np.array([expit(sure).mean(axis=-1) for sure in _calibrated(_some(confidence))]).ravel()
    order = np.argsort(possible)
    accuracy, chances = possible[order], np.exp(believed - believed.max()).ravel()[order]
    chances /= chances.sum()
    estimate = float(chances @ accuracy)
    low, high = np.interp([_TAIL, 1 - _TAIL], np.cumsum(chances) - chances / 2, accuracy)
    # All texts are a sample, too, which counts where they are few.
    sampled = ndtri(1 - _TAIL) * confidence.std() / np.sqrt(different)
    low, high = estimate - np.hypot(estimate - low, sampled), estimate + np.hypot(high - estimate, sampled)
    return estimate, max(0.0, float(low)), min(1.0, float(high))


def _calibrated(confidence: NDArray[np.floating]) -> Iterator[NDArray[np.float64]]:
    """The logits `(o, n)` with each offset, of one slope after the other."""
    logits = logit(np.clip(confidence.astype(np.float64), 1 - _SUREST, _SUREST))
    for slope in np.exp(_LOG_SLOPES):
        yield _OFFSETS[:, None] + slope * logits


def _log_likely(judged: Judged) -> NDArray[np.float64]:
    """The log likelihood `(s, o)` of each slope and offset."""
    sign = np.where(judged.right, 1.0, -1.0)
    return np.array([log_expit(sign * sure) @ judged.weight for sure in _calibrated(judged.confidence)])


def _blurred(log_likely: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same of the slope and offset of all texts, where this is of ones that may differ from these by so much."""
    likely = np.exp(log_likely - log_likely.max())
    slopes = _t(_LOG_SLOPES[:, None] - _LOG_SLOPES, _OTHER_LOG_SLOPE)
    slopes /= slopes.sum(axis=1, keepdims=True)
    blurred = slopes @ likely @ _t(_OFFSETS[:, None] - _OFFSETS, _OTHER_OFFSET)
    return np.asarray(np.log(blurred + np.finfo(float).tiny))


def _t(x: NDArray[np.floating], scale: float) -> NDArray[np.float64]:
    """Student's density, up to a factor."""
    return np.asarray((1 + (x / scale) ** 2 / _FREEDOM) ** (-(_FREEDOM + 1) / 2))


def _some(confidence: NDArray[np.floating]) -> NDArray[np.floating]:
    """Evenly spaced quantiles of what is known of many texts."""
    if len(confidence) <= _TEXTS:
        return confidence
    return np.asarray(np.quantile(confidence, (np.arange(_TEXTS) + 0.5) / _TEXTS))
