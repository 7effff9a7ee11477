"""Successors: models that learn from the acquired labels alone, and never choose."""

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from prepal.errors import PrepalError
from prepal.learning.classifiers.decisions import how_many
from prepal.learning.numerics.threads import one_blas_thread
from prepal_workers.model.word_counts import WORD_COUNTS, word_counter
from prepal_workers.simulate.dataset import Dataset
from prepal_workers.simulate.experiment import Row, Setting, about, scores

LOGISTIC = "logistic"
OWN_NAMES = (LOGISTIC, WORD_COUNTS)
"""Successors that are no encoders: of the vectors, without words, of the encoder that is measured on, and of words."""
# scikit-learn's inverse regularisation, the same for every successor, and more steps than vectors of unit length need.
_C, _MOST_STEPS = 10, 1000
# The first count is where so much of the budget is labelled.
_FIRST_SHARE = 3


@dataclass(frozen=True)
class Features:
    """What a successor sees of the pool `(n, d)` and of the test texts `(m, d)`: arrays, or sparse matrices."""

    train: Any
    test: Any


def words(train: Sequence[str], test: Sequence[str]) -> Features:
    """Return counts of the words that occur in two texts of the pool, weighted by how rare they are: sparse matrices.

    Raises:
        PrepalError: there is no such word.
    """
    counter = word_counter()
    try:
        counted = counter.fit_transform(train)
    except ValueError as error:
        raise PrepalError(
            f"The successor {WORD_COUNTS} needs a word that occurs in two texts: leave it out of --successor."
        ) from error
    return Features(counted, counter.transform(test))


def counts(budget: int, batch_size: int, texts: int) -> list[int]:
    """Return after how many labels successors are taught: the batch that completes a third of the budget, and the last.

    Args:
        budget: labels in all.
        batch_size: labels between two retrainings.
        texts: of the pool, all of which may be labelled before the budget is.
    """
    last = min(budget, texts)
    third = -(-last // _FIRST_SHARE)
    return sorted({min(-(-third // batch_size) * batch_size, last), last})


def teach(
    successor: str, features: Features, setting: Setting, dataset: Dataset, picked: Sequence[int]
) -> Iterator[Row]:
    """Yield a row of phase `successor` for each of the counts: how good a successor of so many labels is.

    Args:
        successor: its name: one of `OWN_NAMES`, or an encoder.
        features: what it sees.
        setting: what asked for the labels.
        dataset: the texts.
        picked: places in the pool, in the order in which they were labelled.
    """
    known = about(setting, dataset, successor=successor)
    for count in counts(setting.budget, setting.batch_size, len(dataset.train.texts)):
        places = np.asarray(picked[:count], np.int64)
        labels = dataset.train.labels[places]
        began = time.perf_counter()
        probabilities = predicted(features.train[places], labels, features.test, len(dataset.choices))
        yield {
            **known,
            "phase": "successor",
            "labels": count,
            **scores(probabilities, dataset.test, how_many(labels)),
            "fit_s": round(time.perf_counter() - began, 6),
        }


def predicted(train: Any, labels: NDArray[np.int64] | NDArray[np.bool_], asked: Any, k: int) -> NDArray[np.float32]:  # noqa: ANN401  arrays or sparse matrices
    """Return what scikit-learn's logistic regression believes of other texts, `(m, k)`.

    Where a text may have several labels there is one regression for each. What alone was seen is believed for sure.

    Args:
        train: `(n, d)`, what was labelled; an array, or a sparse matrix.
        labels: `(n,)` int64 below k, or `(n, k)` bool.
        asked: `(m, d)`, the others.
        k: how many choices there are.
    """
    if labels.ndim == 2:
        each = [predicted(train, has.astype(np.int64), asked, 2)[:, 1] for has in labels.T]
        return np.column_stack(each)
    found = np.zeros((asked.shape[0], k), np.float32)
    seen = np.unique(labels)
    if len(seen) == 1:
        found[:, seen] = 1
        return found
    with warnings.catch_warnings(), one_blas_thread():
        # Of few labels of many choices scikit-learn suspects that they are numbers.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        # An encoder may make long vectors; where the steps end is how good its successor is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found[:, seen] = LogisticRegression(C=_C, max_iter=_MOST_STEPS).fit(train, labels).predict_proba(asked)
    return found
