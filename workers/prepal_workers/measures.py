"""How good predictions are: figures with their intervals, and a temperature that makes confidences honest."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit, log_softmax, softmax
from scipy.stats import binomtest, chi2
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix, precision_recall_fscore_support

from prepal.learning.classifier import Labels

# A few texts that all happen to be right would otherwise make the model look infinitely sure.
_TEMPERATURES = (0.25, 10.0)
_BINS = 10
# How sure it must be that confidences are not too high.
_SURE = 0.9
# Of two models that are right equally often, the one whose wrong answers are less sure is better.
_LOSS_WEIGHT, _LARGEST_LOSS = 0.01, 5.0

# How many labels a text has: exactly one; one or more; or any number, none too.
HowMany = Literal["one", "some", "any"]


@dataclass(frozen=True)
class Share:
    """A part of n texts, with its 95 % interval.

    Wilson, Probable Inference, the Law of Succession, and Statistical Inference (1927).
    """

    estimate: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, right: int, n: int) -> "Share":
        """Share of `right` among `n` texts."""
        interval = binomtest(right, n).proportion_ci(method="wilson")
        return cls(right / n, float(interval.low), float(interval.high), n)


def how_many(labels: Labels) -> HowMany:
    """How many labels a text has, by what these texts have."""
    if labels.ndim == 1:
        return "one"
    return "some" if labels.any(axis=1).all() else "any"


def decide(logits: NDArray[np.float32], each: HowMany) -> NDArray[np.bool_]:
    """The labels `(n, k)` that texts are given, where each has so many.

    Of several, those that are more likely than not. Where every text has some but none is that likely, the likeliest.
    """
    if each == "one":
        return np.asarray(logits.argmax(axis=1)[:, None] == np.arange(logits.shape[1]))
    given = np.asarray(logits > 0)
    if each == "some":
        none = np.flatnonzero(~given.any(axis=1))
        given[none, logits[none].argmax(axis=1)] = True
    return given


def right(logits: NDArray[np.float32], labels: Labels, each: HowMany) -> NDArray[np.bool_]:
    """Which texts `(n,)` are given all of their labels, and no other."""
    return np.asarray((decide(logits, each) == marks(labels, logits.shape[1])).all(axis=1))


def confidences(logits: NDArray[np.float32], each: HowMany) -> NDArray[np.float64]:
    """How likely `(n,)` the model holds it that what a text is given is right."""
    z = logits.astype(np.float64)
    if each == "one":
        return np.asarray(softmax(z, axis=1).max(axis=1))
    likely = expit(np.where(decide(logits, each), z, -z)).prod(axis=1)
    if each == "any":
        return np.asarray(likely)
    # That a text has no label at all is ruled out.
    return np.asarray(likely / -np.expm1(-np.logaddexp(0, z).sum(axis=1)))


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


def macro_f1(logits: NDArray[np.float32], labels: Labels, each: HowMany) -> float:
    """Mean F1 over the classes that labels or predictions have."""
    truth, predicted = marks(labels, logits.shape[1]), decide(logits, each)
    mentions = truth.sum(axis=0) + predicted.sum(axis=0)
    used = mentions > 0
    return float((2 * (truth & predicted).sum(axis=0)[used] / mentions[used]).mean()) if used.any() else 1.0


def score(logits: NDArray[np.float32], labels: Labels, each: HowMany) -> float:
    """One number to choose by: the mean of accuracy and macro-F1, and of those alike the less surprised one."""
    agreed = (float(right(logits, labels, each).mean()) + macro_f1(logits, labels, each)) / 2
    return agreed - _LOSS_WEIGHT * min(log_loss(logits, labels), _LARGEST_LOSS)


def fit_temperature(logits: NDArray[np.float32], labels: Labels) -> float:
    """The number to divide logits by that makes the labels most likely.

    Guo et al., On Calibration of Modern Neural Networks (2017). One text of each class more, that the model finds as
    likely as any other, keeps a perfect score on few texts from looking like certainty.
    """
    low, high = np.log(_TEMPERATURES)
    found = minimize_scalar(lambda log: _surprise(logits, labels, log), bounds=(low, high), method="bounded")
    return float(np.exp(found.x))


def highest_temperature(logits: NDArray[np.float32], labels: Labels, fitted: float) -> float:
    """The highest temperature that the labels leave possible, one-sided, by the ratio of likelihoods.

    Divided by it, a model of few judged texts is not surer than they allow; with many it comes near the fitted one.
    Wilks, The Large-Sample Distribution of the Likelihood Ratio for Testing Composite Hypotheses (1938).

    Args:
        logits: `(n, k)`.
        labels: of these.
        fitted: what `fit_temperature` found.
    """
    least, most = np.log(fitted), np.log(_TEMPERATURES[1])
    limit = _surprise(logits, labels, least) + chi2.ppf(2 * _SURE - 1, 1) / 2

    def beyond(log_temperature: float) -> float:
        return float(_surprise(logits, labels, log_temperature) - limit)

    return float(np.exp(brentq(beyond, least, most) if beyond(most) > 0 else most))


def _surprise(logits: NDArray[np.float32], labels: Labels, log_temperature: float) -> float:
    k = logits.shape[1]
    scaled = logits / np.exp(log_temperature)
    uniform = -log_softmax(scaled, axis=1).mean() if labels.ndim == 1 else np.logaddexp(0, -scaled).mean()
    return log_loss(scaled, labels) * len(labels) + float(uniform) * min(k, len(labels)) / k


def calibration_error(logits: NDArray[np.float32], labels: Labels, each: HowMany) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart on average, over ten ranges."""
    sure, hit = confidences(logits, each), right(logits, labels, each)
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    parts = [bins == b for b in range(_BINS)]
    return float(sum(abs(hit[p].mean() - sure[p].mean()) * p.mean() for p in parts if p.any()))


def report(logits: NDArray[np.float32], labels: Labels, label_names: tuple[str, ...], each: HowMany) -> dict[str, Any]:
    """Accuracy, macro-F1, figures per class and the confusion matrix, as plain JSON."""
    truth, predicted = marks(labels, logits.shape[1]), decide(logits, each)
    precision, recall, f1, support = precision_recall_fscore_support(truth, predicted, average=None, zero_division=0)
    counts = truth.sum(axis=0)
    matrix = (
        multilabel_confusion_matrix(truth, predicted)
        if labels.ndim == 2
        else confusion_matrix(labels, logits.argmax(axis=1), labels=np.arange(len(label_names)))
    )
    return {
        "accuracy": asdict(Share.of(int(right(logits, labels, each).sum()), len(labels))),
        "macro_f1": macro_f1(logits, labels, each),
        "log_loss": log_loss(logits, labels),
        "per_class": {
            name: {
                "precision": float(precision[c]),
                "recall": float(recall[c]),
                "recall_interval": _interval(int((truth & predicted)[:, c].sum()), int(counts[c])),
                "f1": float(f1[c]),
                "examples": int(support[c]),
            }
            for c, name in enumerate(label_names)
        },
        "confusion": matrix.tolist(),
    }


def _interval(found: int, n: int) -> list[float] | None:
    if not n:
        return None
    share = Share.of(found, n)
    return [share.low, share.high]


def marks(labels: Labels, k: int) -> NDArray[np.bool_]:
    """Which of k labels each text has, `(n, k)`."""
    return np.asarray(labels, bool) if labels.ndim == 2 else np.asarray(labels[:, None] == np.arange(k))
