"""Whether annotators decide, or accept what they are shown."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# With fewer tasks of either kind nothing is said.
LEAST_SHOWN, LEAST_HIDDEN = 20, 10
# Agreement with what is shown that goes so far beyond what is usual, and so many standard errors, is acceptance.
LEAST_EXCESS, LEAST_ERRORS = 0.1, 2.0


@dataclass(frozen=True)
class Agreement:
    """How often labels are what was predicted, for one kind of tasks.

    Attributes:
        tasks: how many there are.
        agreed: the part whose label is what was predicted.
        expected: the same by how sure the classifier was.
    """

    tasks: int
    agreed: float
    expected: float


@dataclass(frozen=True)
class Acceptance:
    """How often people agree with what they are shown, and with what they are not shown.

    Attributes:
        shown: of tasks whose prediction they saw.
        hidden: of tasks whose prediction they did not see.
        accepts: whether they agree with what is shown more often than can be explained by how sure the classifier was.
    """

    shown: Agreement
    hidden: Agreement
    accepts: bool


def acceptance(
    agreed: NDArray[np.bool_], confidence: NDArray[np.floating], hidden: NDArray[np.bool_]
) -> Acceptance | None:
    """Compare how often labels are what was predicted, with the prediction in sight and without.

    Tasks that a strategy chose are doubtful ones, where less agreement is expected: hence each kind is compared with
    the classifier's own confidence, and the two kinds by how far they go beyond it.

    Args:
        agreed: `(n,)`, whether a task's label is what was predicted when it was served.
        confidence: `(n,)`, how sure that prediction was.
        hidden: `(n,)`, whether it was hidden from the annotator.

    Returns:
        None while there are too few tasks of either kind.
    """
    if hidden.sum() < LEAST_HIDDEN or (~hidden).sum() < LEAST_SHOWN:
        return None
    beyond: NDArray[np.float64] = agreed - np.asarray(confidence, np.float64)
    excess = float(beyond[~hidden].mean() - beyond[hidden].mean())
    error = float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in (beyond[hidden], beyond[~hidden]))))
    accepts = bool(excess > LEAST_EXCESS and excess > LEAST_ERRORS * error)
    shown = ~hidden
    return Acceptance(
        _agreement(agreed[shown], confidence[shown]), _agreement(agreed[hidden], confidence[hidden]), accepts
    )


def _agreement(agreed: NDArray[np.bool_], confidence: NDArray[np.floating]) -> Agreement:
    return Agreement(len(agreed), float(agreed.mean()), float(confidence.mean()))
