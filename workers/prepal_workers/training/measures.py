"""How good predictions are: figures with their intervals, and a temperature that makes confidences honest."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix, precision_recall_fscore_support

from prepal.learning.classifiers import decisions
from prepal.learning.classifiers.decisions import HowMany, marks
from prepal.learning.classifiers.labels import Labels
from prepal.learning.quality.interval import independent, share_interval

# A few texts that all happen to be right would otherwise make the model look infinitely sure.
_TEMPERATURES = (0.25, 10.0)
_BINS = 10
LEAST_PROBABILITY = 1e-9
"""What is less likely counts as likely as this."""
# Of two models that are right equally often, the one whose wrong answers are less sure is better.
_LOSS_WEIGHT, _LARGEST_LOSS = 0.01, 5.0


@dataclass(frozen=True)
class Share:
    """A part of n texts, with its 95 % interval."""

    estimate: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, right: int, n: int, independent: float | None = None) -> "Share":
        """Share of `right` among `n` texts, of which so many are `independent`: all, unless it is said."""
        share, different = right / n, independent or n
        return cls(share, *share_interval(share * different, different), n)


def logits_of(probabilities: NDArray[np.float32], *, several: bool) -> NDArray[np.float32]:
    """Logits `(n, k)` of probabilities, each against its contrary where a text may have `several` labels."""
    logs = np.log(np.maximum(probabilities, LEAST_PROBABILITY))
    against = np.log(np.maximum(1 - probabilities, LEAST_PROBABILITY)) if several else 0.0
    return np.asarray(logs - against, np.float32)


def given(logits: NDArray[np.float32], each: HowMany) -> NDArray[np.bool_]:
    """The labels `(n, k)` that texts are given, where each has so many."""
    return decisions.decide(logits, each, boundary=0)


def confidences(logits: NDArray[np.float32], each: HowMany) -> NDArray[np.float64]:
    """How likely `(n,)` the model holds it that what a text is given is right."""
    z = logits.astype(np.float64)
    return np.asarray(decisions.confidences(softmax(z, axis=1) if each == "one" else expit(z), each))


def right(logits: NDArray[np.float32], labels: Labels, each: HowMany) -> NDArray[np.bool_]:
    """Which texts `(n,)` are given all of their labels, and no other."""
    return decisions.right(given(logits, each), marks(labels, logits.shape[1]))


def macro_f1(logits: NDArray[np.float32], labels: Labels, each: HowMany) -> float:
    """Mean F1 over the labels that texts have or are given."""
    return decisions.macro_f1(marks(labels, logits.shape[1]), given(logits, each))


def how_much_surer(logits: NDArray[np.float32], than: NDArray[np.float32]) -> float:
    """By what factor logits of the same texts lie further from their text's mean than others do; at least 1."""
    spread, other = (float(np.square(z - z.mean(axis=1, keepdims=True)).mean()) for z in (logits, than))
    return max(1.0, (spread / other) ** 0.5) if other else 1.0


def log_loss(logits: NDArray[np.floating], labels: Labels) -> float:
    """Mean negative log likelihood of the labels, per class where a text may have several."""
    z = logits.astype(np.float64)
    if labels.ndim == 2:
        return float(np.logaddexp(0, np.where(labels, -z, z)).mean())
    return float(-log_softmax(z, axis=1)[np.arange(len(labels)), labels].mean())


def score(logits: NDArray[np.float32], labels: Labels, each: HowMany) -> float:
    """One number to choose by: the mean of accuracy and macro-F1, and of those alike the less surprised one."""
    agreed = (float(right(logits, labels, each).mean()) + macro_f1(logits, labels, each)) / 2
    return agreed - _LOSS_WEIGHT * min(log_loss(logits, labels), _LARGEST_LOSS)


def fit_temperature(logits: NDArray[np.float32], labels: Labels) -> float:
    """The number to divide logits by that makes the labels most likely.

    Guo et al., On Calibration of Modern Neural Networks (2017). One text of each class more, that the model finds as
    likely as any other, keeps a perfect score on few texts from looking like certainty.
    """
    k = logits.shape[1]

    def surprise(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        uniform = -log_softmax(scaled, axis=1).mean() if labels.ndim == 1 else np.logaddexp(0, -scaled).mean()
        return log_loss(scaled, labels) * len(labels) + float(uniform) * min(k, len(labels)) / k

    return float(np.exp(minimize_scalar(surprise, bounds=np.log(_TEMPERATURES), method="bounded").x))


def calibration_error(logits: NDArray[np.float32], labels: Labels, each: HowMany) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart on average, over ten ranges."""
    sure, hit = confidences(logits, each), right(logits, labels, each)
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    parts = [bins == b for b in range(_BINS)]
    return float(sum(abs(hit[p].mean() - sure[p].mean()) * p.mean() for p in parts if p.any()))


def report(
    logits: NDArray[np.float32],
    labels: Labels,
    label_names: tuple[str, ...],
    each: HowMany,
    groups: NDArray[np.int64],
) -> dict[str, Any]:
    """Accuracy, macro-F1, figures per class and the confusion matrix, by name; equal texts are a group `(n,)`."""
    truth, predicted = marks(labels, logits.shape[1]), given(logits, each)
    precision, recall, f1, support = precision_recall_fscore_support(truth, predicted, average=None, zero_division=0)
    matrix = (
        multilabel_confusion_matrix(truth, predicted)
        if labels.ndim == 2
        else confusion_matrix(labels, predicted.argmax(axis=1), labels=np.arange(len(label_names)))
    )
    return {
        "accuracy": Share.of(int(right(logits, labels, each).sum()), len(labels), independent(groups)),
        "macro_f1": macro_f1(logits, labels, each),
        "log_loss": log_loss(logits, labels),
        "per_class": {
            name: {
                "precision": float(precision[c]),
                "recall": float(recall[c]),
                "recall_interval": _interval(predicted[truth[:, c], c], groups[truth[:, c]]),
                "f1": float(f1[c]),
                "examples": int(support[c]),
            }
            for c, name in enumerate(label_names)
        },
        "confusion": matrix.tolist(),
    }


def _interval(found: NDArray[np.bool_], groups: NDArray[np.int64]) -> list[float] | None:
    if not len(found):
        return None
    share = Share.of(int(found.sum()), len(found), independent(groups))
    return [share.low, share.high]
