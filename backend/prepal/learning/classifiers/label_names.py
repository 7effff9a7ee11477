"""What the names of the choices say about a text before anyone has labelled one."""

import math
import re

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.float16 import Vectors, as_float32
from prepal.learning.numerics.rows import AnyVectors

_WORD_BREAK = re.compile(r"[\s_\-/.:|&+]+|(?<=[a-z])(?=[A-Z])")
# So many texts nearest to a name stand for it: names are words, and texts are rarely like single words.
_NEAREST = 10
# An example says as much of its choice as so many texts of which the choice is only supposed.
_EXAMPLE_COUNTS = 3
# How sure the names alone make the classifier on average, from 0 (any choice is as likely) to 1.
_CONFIDENCE = 0.6
# The scale is found on so many texts, by halving an interval of its logarithm so often.
_SCALED_ON, _HALVINGS, _LOG_SCALES = 5000, 20, (-3.0, 9.0)
# Of larger pools so many texts tell what the names mean: more say the same.
_NAMED_ON = 20_000


def name_text(name: str) -> str:
    """Return the words of a choice's name as a text that an encoder can read: `SCIENCE_TECH` is "science tech"."""
    return " ".join(word for word in _WORD_BREAK.split(name) if word).lower() or name


class Names:
    """What the names say of a project's texts, told anew for each set of labels: a `Belief` for a `Prior`.

    The first labelled text of each choice is an example of what its name means. Whoever learns from some labels only,
    because others are held out, gets the weights that these labels alone suggest.

    Args:
        names: `(k, d)` float32 of the names, k > 1, by the encoder of the texts.
        pool: `(n, d)` of the texts without a label; a part of many is looked at.
    """

    def __init__(self, names: NDArray[np.float32], pool: AnyVectors) -> None:
        self._names = names
        # A copy: a view of a part would keep all of a large pool in memory.
        self._pool = pool[:: math.ceil(max(len(pool), 1) / _NAMED_ON)].copy()
        self._told: tuple[NDArray[np.floating], NDArray[np.float64]] | None = None

    def __call__(self, vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the weights `(d + 1, k)` for labels `(m,)` of vectors `(m, d)`, in the order in which they were given.

        As long as the examples are the same, so are the weights.
        """
        choices, first = np.unique(labels, return_index=True)
        examples = np.column_stack([choices, vectors[first]])
        # Another thread may ask for other labels meanwhile.
        told = self._told
        if told is None or not np.array_equal(told[0], examples):
            texts = [vectors[first], np.delete(vectors, first, axis=0), as_float32(self._pool)]
            told = self._told = (examples, name_weights(np.concatenate(texts), self._names, choices))
        return told[1]


def name_weights(
    vectors: Vectors,
    names: NDArray[np.float32],
    labels: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Return the weights of a classifier that knows the choices' names, and which texts are like each other.

    The texts nearest to a name stand for its choice, and so do its examples; every other text goes to the choice whose
    texts it is most like, and the choices' mean texts are the weights: one step of k-means that begins at the names.
    Without examples it is a zero-shot classifier after Chang et al., Importance of Semantic Representation: Dataless
    Classification (2008), with them seeded k-means after Basu et al., Semi-supervised Clustering by Seeding (2002).

    Args:
        vectors: `(n, d)` of the texts, n > 0.
        names: `(k, d)` of the names, k > 1, by the same encoder.
        labels: `(m,)`, the choices of the first m texts, which are examples.

    Returns:
        `(d + 1, k)`, the intercepts last; their probabilities are moderately sure on average.
    """
    texts = as_float32(vectors)
    centre = texts.mean(axis=0)
    moved = _unit(texts - centre)
    likeness = moved @ _unit(names - names.mean(axis=0)).T
    labels = np.empty(0, np.int64) if labels is None else labels
    m = len(labels)
    examples = np.float32(_EXAMPLE_COUNTS) * (labels == np.arange(len(names))[:, None]) @ moved[:m]
    few = min(_NEAREST, len(likeness) - m)
    nearest = m + np.argpartition(-likeness[m:], few - 1, axis=0)[:few] if few else np.empty((0, len(names)), np.int64)
    standing = _unit(moved[nearest].sum(axis=0) + examples)
    choice = (moved[m:] @ standing.T).argmax(axis=1)
    sums = np.stack([moved[m:][choice == c].sum(axis=0) for c in range(len(names))]) + examples
    weights = np.where(sums.any(axis=1, keepdims=True), _unit(sums), standing).T.astype(np.float64)
    whole = np.vstack([weights, -centre @ weights])
    # A part that is the same in whatever order the texts come.
    part = np.argsort(texts[:, 0], kind="stable")[:: math.ceil(len(texts) / _SCALED_ON)]
    logits = texts[part] @ whole[:-1] + whole[-1]
    wanted = 1 / len(names) + _CONFIDENCE * (1 - 1 / len(names))
    low, high = _LOG_SCALES
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean_confidence(logits * np.exp(middle)) < wanted else (low, middle)
    return np.asarray(whole * np.exp(low), np.float64)


def _mean_confidence(logits: NDArray[np.float64]) -> float:
    return float((1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)).mean())


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)
