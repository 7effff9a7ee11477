"""What a focus puts first: texts that are likely of one choice, or like one text, by what is labelled so far."""

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.float16 import as_float32
from prepal.learning.numerics.rows import AnyVectors
from prepal.learning.numerics.threads import by_chunks
from prepal.learning.pool import best

# Every so many-th text of a choice is the one of which it is doubted most: without them only what is known of the
# choice would be asked for again and again.
_DOUBT_EVERY = 4
# How much likeness to a text counts beside the belief that both have one label: the log odds of the likest texts.
_LIKENESS_COUNTS = 10.0
# Of nothing the logarithm is not taken.
_LEAST = 1e-9


def likeness(vectors: AnyVectors, query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine `(n,)` of vectors `(n, d)` and a text's, `(d,)`; 0 where either is zero.

    With lexical vectors behind the encoder's, that is likeness in meaning and in words at once.
    """
    found = np.zeros(len(vectors), np.float32)
    wanted = query / max(float(np.linalg.norm(query)), _LEAST)

    def compare(rows: slice) -> None:
        chunk = as_float32(vectors[rows])
        lengths = np.sqrt(np.einsum("ij,ij->i", chunk, chunk))
        found[rows] = (chunk @ wanted) / np.maximum(lengths, _LEAST)

    by_chunks(len(vectors), compare)
    return found


def like(
    vectors: AnyVectors,
    query: NDArray[np.float32],
    probabilities: NDArray[np.float32] | None,
    belief: NDArray[np.floating] | None,
) -> NDArray[np.float32]:
    """Return how much `(n,)` texts are like one, the more the higher: likely of the same label, and near.

    That is relevance feedback (Rocchio, Relevance Feedback in Information Retrieval, 1971) by the classifier: each
    label near the text tells it which choices the text has, and which of its neighbours do not.

    Args:
        vectors: `(n, d)` of the texts.
        query: `(d,)` float32, of the one.
        probabilities: `(n, k)` of each choice for the texts; None while there is no classifier.
        belief: `(k,)`, of each choice for the one: 1 and 0 where its label is known; None while there is none.
    """
    near = likeness(vectors, query)
    if probabilities is None or belief is None or not belief.any():
        return near
    same = probabilities @ np.asarray(belief / belief.sum(), np.float32)
    return np.asarray(np.log(same + _LEAST) + _LIKENESS_COUNTS * near, np.float32)


def surest(likely: NDArray[np.float32], labels: int, n: int) -> NDArray[np.int64]:
    """Return `(min(n, len(likely)),)` different places: the likeliest, and every fourth one the most doubtful.

    Args:
        likely: `(n,)`, how likely each text is what is asked for.
        labels: how many there are, so that rounds go on where the last one ended.
        n: how many to choose.
    """
    first, doubtful = best(likely, n), best(-np.abs(likely - 0.5), n)
    chosen: list[int] = []
    for number in range(labels, labels + min(n, len(likely))):
        order = doubtful if number % _DOUBT_EVERY == _DOUBT_EVERY - 1 else first
        chosen.append(int(order[~np.isin(order, chosen)][0]))
    return np.array(chosen, np.int64)
