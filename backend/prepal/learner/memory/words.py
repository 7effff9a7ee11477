"""The lexical half of a project's vectors: it follows the texts, and its basis the pool as that grows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prepal.learning.lexical import LEARNT_FROM, Basis
from prepal.vectors import TermTable, text_id, text_ids, text_keys
from prepal.vectors.matrix import VectorMatrix
from prepal.vectors.terms import terms_of

# The basis is made of the first tasks, of so many times more when there are, so that it follows the pool: below the
# number that a basis looks at, and above, where others among them hardly change it.
_MORE, _MORE_OF_MANY = 1.5, 4.0
# Texts whose terms are in memory at a time.
_AT_ONCE = 16_384


class Words:
    """The basis of a project's lexical vectors, and which of its texts have theirs."""

    def __init__(self) -> None:
        self._basis: Basis | None = None
        self._sample: NDArray[np.bytes_] = np.empty(0, "S32")  # the texts that it is made of
        self._found = 0  # how many of them had terms
        self._there: NDArray[np.bool_] = np.empty(0, bool)  # which rows have their lexical vector

    def follow(
        self, matrix: VectorMatrix, texts: NDArray[np.bytes_], rows: NDArray[np.int64], table: TermTable
    ) -> bool:
        """Fill in what is new; returns whether the basis is another one, and with it all lexical vectors.

        Args:
            matrix: has the rows, with room beside their vectors.
            texts: (n,) S32, text ids of all tasks, in the order of these.
            rows: (n,) int64, their rows; -1 for those that have none.
            table: the terms of texts.
        """
        count = len(matrix.vectors)
        self._there = np.append(self._there, np.zeros(count - len(self._there), bool))
        ids: NDArray[np.bytes_] = np.zeros(count, "S32")
        ids[rows[rows >= 0]] = texts[rows >= 0]
        is_new = self._renew(_sample(texts), table)
        if is_new:
            self._there[:] = False
        lacking = np.flatnonzero(~self._there & (ids != b""))
        if self._basis is None or not len(lacking):
            return is_new
        for start in range(0, len(lacking), _AT_ONCE):
            part = lacking[start : start + _AT_ONCE]
            places, terms = table.load(ids[part])
            matrix.beside[part[places]] = self._basis.vectors(terms)
            self._there[part[places]] = True
        return is_new

    def of_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The lexical vectors (n, DIMENSION) of texts that are no tasks; zeros before there is a basis."""
        terms = terms_of(texts)
        basis = self._basis or Basis.of(terms[:0])
        return basis.vectors(terms).astype(np.float32)

    def _renew(self, sample: NDArray[np.bytes_], table: TermTable) -> bool:
        """Make the basis of these texts, unless it is; returns whether it is another one than before."""
        is_same = np.array_equal(sample, self._sample)
        if is_same and self._found == len(sample):
            return False
        places, terms = table.load(sample)
        found = len(places)
        # After an upgrade terms come little by little.
        enough = found == len(sample) or found >= _MORE * self._found
        if found < 2 or (is_same and (found == self._found or not enough)):
            return False
        self._basis = Basis.of(terms[np.argsort(places)])
        self._sample, self._found = sample, found
        return True


def lexical_vectors(pool: Sequence[str], *others: Sequence[str]) -> list[NDArray[np.float32]]:
    """Return the lexical vectors `(n, DIMENSION)` of texts, as the project has them whose pool they are or come from.

    Args:
        pool: the texts of its tasks, in the order of these.
        others: texts that are no tasks, such as test texts and names; several lists of them.
    """
    ids = text_ids([text_id(text) for text in pool])
    terms = terms_of(pool)
    different, first = np.unique(ids, return_index=True)
    basis = Basis.of(terms[first[np.isin(different, _sample(ids))]])
    return [basis.vectors(found).astype(np.float32) for found in (terms, *map(terms_of, others))]


def _sample(texts: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
    """Some different texts of the first tasks: which ones depends on nothing but what texts there are."""
    size = 2
    while (more := int(size * (_MORE if size < LEARNT_FROM else _MORE_OF_MANY))) <= len(texts):
        size = more
    first: NDArray[np.bytes_] = np.unique(texts[:size])
    return first if len(first) <= LEARNT_FROM else np.sort(first[np.argsort(text_keys(first))[:LEARNT_FROM]])
