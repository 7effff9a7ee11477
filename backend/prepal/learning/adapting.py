"""When an encoder is trained on the labels so far, and what its vectors are worth."""

import numpy as np
from numpy.typing import NDArray

LEAST_LABELS = 50
"""Fewer do not tell whether an adapted encoder is better."""
_MORE = 2.0
# Where labels are so many nats likelier, e³ or twenty times, that is evidence.
_EVIDENCE = 3.0


def is_due(labels: int, before: int, after_s: float = 0.0, took_s: float = 0.0) -> bool:
    """Return whether an encoder is to be trained now.

    Args:
        labels: how many there are.
        before: how many there were when it was tried last; 0 when it never was.
        after_s: seconds since then.
        took_s: seconds that it took then.
    """
    return labels >= max(LEAST_LABELS, _MORE * before) and after_s >= took_s


def is_better(base: float, adapted: float, nothing: float, labels: int) -> bool:
    """Return whether an encoder that learns from all labels is better than the base, as far as half of them say.

    All labels teach it more than the half that was judged, so it is taken unless there is evidence against it, and if
    there is any that it tells texts apart.

    Args:
        base: the log loss of the labels, in nats, by a classifier of half of them on the base's vectors.
        adapted: the same on the vectors of an encoder that learnt from that half, too.
        nothing: the same by their frequencies alone.
        labels: how many there are.
    """
    return (base - adapted) * labels > -_EVIDENCE and (nothing - adapted) * labels > _EVIDENCE


def softened(probabilities: NDArray[np.float32], temperature: float, *, multilabel: bool) -> NDArray[np.float32]:
    """Return the probabilities `(n, k)` whose logits are those of the given ones, divided by a temperature.

    The vectors of the labels that an adapted encoder learnt from lie further apart than those of other texts, so that a
    classifier that learns from them is too sure of the others. (Guo et al., On Calibration of Modern Neural Networks,
    2017.)
    """
    if temperature == 1.0:
        return probabilities
    power = np.float32(1 / temperature)
    likely = probabilities**power
    whole = likely + (1 - probabilities) ** power if multilabel else likely.sum(axis=1, keepdims=True)
    return np.asarray(likely / whole, np.float32)
