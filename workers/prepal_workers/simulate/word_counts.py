"""A poor encoder for experiments: word counts."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from prepal.errors import PrepalError
from prepal_workers.model.word_counts import WORD_COUNTS, word_counter

_WORD_COUNT_DIMENSION = 128


def word_counts(train: Sequence[str], *others: Sequence[str], seed: int = 0) -> tuple[NDArray[np.float32], ...]:
    """Return unit vectors `(n, 128)` of word counts of each list of texts; the words are those of `train`.

    Raises:
        PrepalError: there are not two words that occur in two texts each.
    """
    counter = word_counter()
    with warnings.catch_warnings():
        # Of few texts with few words scikit-learn says that a share of no variance is explained.
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            counts = counter.fit_transform(train)
            dimension = min(_WORD_COUNT_DIMENSION, counts.shape[1] - 1)
            svd = TruncatedSVD(dimension, random_state=seed).fit(counts)
        except ValueError as error:
            raise PrepalError(
                f"{WORD_COUNTS} needs two words that occur in two texts each: take another --encoder."
            ) from error
    return tuple(normalize(svd.transform(counter.transform(texts))).astype(np.float32) for texts in (train, *others))
