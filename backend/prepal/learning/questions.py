"""Which of several questions picks the next text, and how their picks become one order.

One annotation answers all questions, so each text that one question picks teaches the others, too. Strategies that take
turns, and such that rank together, are compared by Reichart, Tomanek, Hahn & Rappoport (Multi-Task Active Learning for
Linguistic Annotations, 2008). Here that question picks whose classifier expects to be wrong most often, which on trec6
was worth more than turns (`python -m benchmarks.choosing.questions`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def need(confidence: NDArray[np.float32], asked: NDArray[np.bool_]) -> float:
    """Return the share of texts of which a question is asked and its classifier expects to be wrong.

    Args:
        confidence: `(p,)`, of what it predicts of each text; NaN where it predicts nothing.
        asked: `(p,)`, of which of them the question is asked.
    """
    doubt = np.where(np.isnan(confidence), 1.0, 1.0 - confidence)
    return float((doubt * asked).mean()) if len(doubt) else 0.0


def merged(picks: Sequence[NDArray[np.int64]], turn: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the picks of all questions as one order, each text once.

    Args:
        picks: of each question, the best first; one that has none left leaves its place to the next one.
        turn: `(n,)`, which question picks for each place.
    """
    waiting = [list(dict.fromkeys(own.tolist()))[::-1] for own in picks]
    found: dict[int, None] = {}
    for first in turn.tolist():
        for own in (*waiting[first:], *waiting[:first]):
            while own and own[-1] in found:
                own.pop()
            if own:
                found[own.pop()] = None
                break
    return np.array(list(found), np.int64)
