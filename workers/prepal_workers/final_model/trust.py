"""How far a model's confidences can be trusted: what the texts that it was judged by leave possible, and how likely.

A model can be too sure of everything alike, which another temperature puts right; and texts can be of other labels than
they look, as where labels are wrong, which no confidence shows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from prepal.learning.classifiers.decisions import HowMany
from prepal.learning.classifiers.labels import Labels
from prepal_workers.training.measures import confidences, right

# How many times the fitted temperature it may be, and which share of texts may be of other labels than they look, with
# small steps where it is small.
_TEMPERATURES = 2.0 ** np.linspace(-2, 2, 33)
_SHARE_EDGES = np.linspace(0, 1, 61) ** 2
_SHARES = np.append(0, (_SHARE_EDGES[:-1] + _SHARE_EDGES[1:]) / 2)
# Before any text is judged: that confidence shows all errors, and else each share of others alike.
_SHOWN = 1 / 2
_PRIOR = np.append(_SHOWN, (1 - _SHOWN) * np.diff(_SHARE_EDGES))
# Temperatures and shares that are less likely are not kept.
_NOT_KEPT = 1e-5
# So much doubt may be left at most, however few texts were judged, and at least, however many.
_MOST_DOUBT, _LEAST_DOUBT = 0.1, 0.0002
# Judged texts that are not sure tell something too: so large a part of all is counted where fewer are.
_TELLING = 1 / 3
_POSSIBLE = ("temperatures", "shares", "chances")


@dataclass(frozen=True)
class Trust:
    """What m different judged texts say, and which of t temperatures and s shares they leave possible.

    Attributes:
        sure: `(m,)`, how sure the judged model was of each, ascending.
        hits: `(m,)`, whether it was right; equal texts with different labels are right in part.
        temperatures: `(t,)`, what the logits may have to be divided by.
        shares: `(s,)`, which share of texts may be of another label than they look, ascending.
        chances: `(t, s)`, how likely both are together; their sum is 1.
        surer: by what factor a model is surer than the judged one.
    """

    sure: NDArray[np.float64]
    hits: NDArray[np.float64]
    temperatures: NDArray[np.float64]
    shares: NDArray[np.float64]
    chances: NDArray[np.float64]
    surer: float = 1.0

    @classmethod
    def of(cls, logits: NDArray[np.float32], labels: Labels, each: HowMany, groups: NDArray[np.int64]) -> "Trust":
        """What judged texts say.

        Args:
            logits: `(n, k)` float32, divided by the fitted temperature.
            labels: these texts' labels.
            each: how many labels a text has.
            groups: `(n,)`, the same number for equal texts, which together count as one.
        """
        _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        weights = 1 / sizes[group]
        sure = np.bincount(group, weights * confidences(logits, each)).astype(np.float64)
        hits = np.bincount(group, weights * right(logits, labels, each)).astype(np.float64)
        scores = np.array([_log_likelihood(logits / np.float32(t), labels, each, weights) for t in _TEMPERATURES])
        posterior = np.exp(scores - scores.max()) * _PRIOR
        likely = [posterior.sum(axis=axis) > _NOT_KEPT * posterior.sum() for axis in (1, 0)]
        chances = posterior[np.ix_(*likely)]
        order = np.argsort(sure, kind="stable")
        return cls(sure[order], hits[order], _TEMPERATURES[likely[0]], _SHARES[likely[1]], chances / chances.sum())

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "Trust":
        """What `to_json` gave."""
        sure, hits = np.array(said["judged"], np.float64).T
        temperatures, shares, chances = (np.array(said[name], np.float64) for name in _POSSIBLE)
        return cls(sure, hits, temperatures, shares, chances / chances.sum(), float(said["surer"]))

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON: `judged` has a text's confidence, and whether it was right."""
        judged = np.column_stack([self.sure.round(6), self.hits.round(3)])
        possible = {name: getattr(self, name).round(6).tolist() for name in _POSSIBLE}
        return {"judged": judged.tolist(), **possible, "surer": self.surer}

    def enough(
        self, logits: NDArray[np.float32], each: HowMany, order: NDArray[np.int64], accuracy: float
    ) -> NDArray[np.bool_]:
        """Whether `(n,)` of the first one, the first two, and so on, of texts as many as wanted can be taken for right.

        They cannot where the judged texts that are as sure speak against it, nor where these leave more doubt than they
        would if all that are sure by their confidences alone were right. So few judged texts, or hard ones, leave
        something sure; and many must speak for it.

        Args:
            logits: `(n, k)` float32 of any texts.
            each: how many labels a text has.
            order: `(n,)` int64, the texts' places, the surest first.
            accuracy: the share that is wanted to be right.
        """
        expected = np.cumsum(self.sure[::-1]) >= accuracy * np.arange(1, len(self.sure) + 1)
        telling = max(expected.sum(), _TELLING * len(self.sure))
        doubt = np.clip((1 - _SHOWN) * accuracy**telling, _LEAST_DOUBT, _MOST_DOUBT)
        as_judged = confidences(logits / np.float32(self.surer), each)[order]
        counts = len(self.sure) - np.searchsorted(self.sure, as_judged)
        contradicted = np.append(0, np.cumsum(self.hits[::-1]))[counts] < accuracy * counts
        return np.asarray(~contradicted & (self._chance(logits, each, order, accuracy) >= 1 - doubt))

    def _chance(
        self, logits: NDArray[np.float32], each: HowMany, order: NDArray[np.int64], accuracy: float
    ) -> NDArray[np.float64]:
        """How likely `(n,)` it is that of the first one, the first two, and so on, as many as wanted are right."""
        found = np.zeros(len(order))
        for temperature, chances in zip(self.temperatures, self.chances, strict=True):
            believed = confidences(logits / np.float32(temperature * self.surer), each)[order]
            mean = np.cumsum(believed) / np.arange(1, len(order) + 1)
            # Of texts of other labels than they look, none is taken to be right.
            below = np.searchsorted(self.shares, 1 - accuracy / np.maximum(mean, accuracy / 2), side="right")
            found += np.append(0, np.cumsum(chances))[below]
        return found


def _log_likelihood(
    logits: NDArray[np.float32], labels: Labels, each: HowMany, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of each share that texts of other labels than they look may have, given the temperature.

    Where a text has one label, that is any other one alike. Where it may have several, it is only looked at whether all
    are right, because nothing says how several go wrong together.
    """
    if each == "one":
        k = logits.shape[1]
        log_likely = log_softmax(logits.astype(np.float64), axis=1)
        likely = np.exp(log_likely[np.arange(len(labels)), labels])
        unlikely = (1 - likely) / (k - 1)
        # As a temperature is fitted: with one text of each label more, of which the model knows nothing.
        unknown = log_likely.mean() * min(k, len(logits)) / k
    else:
        sure, hit = confidences(logits, each), right(logits, labels, each)
        likely, unlikely, unknown = np.where(hit, sure, 1 - sure), np.where(hit, 0, 1), 0.0
    mixed = (1 - _SHARES[:, None]) * likely + _SHARES[:, None] * unlikely
    return np.asarray(np.log(np.maximum(mixed, np.finfo(float).tiny)) @ weights + unknown)
