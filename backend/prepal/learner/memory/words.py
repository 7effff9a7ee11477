"""The lexical half of a project's vectors: it follows the texts, and its basis the pool as that grows."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.lexical import DIMENSION, LEARNT_FROM, Basis
from prepal.vectors import TermTable, text_id, text_ids, text_keys
from prepal.vectors.matrix import VectorMatrix
from prepal.vectors.terms import terms_of

# The basis is made of the first tasks, of so many times more when there are, so that it follows the pool: below the
# number that a basis looks at, and above, where others among them hardly change it.
_MORE, _MORE_OF_MANY = 1.5, 4.0
# Texts that are read at a time where their vectors are kept by nobody.
_AT_ONCE = 8192
# After an upgrade terms come little by little: they are looked for again when there are so many times more.
_MORE_TERMS = 1.1


@dataclass(frozen=True)
class Left:
    """The lexical vectors of a matrix whose other vectors were let go, and which rows (w,) int64 have one."""

    matrix: VectorMatrix
    rows: NDArray[np.int64]


class Words:
    """The basis of a project's lexical vectors, and which of its texts have theirs."""

    def __init__(self) -> None:
        self._basis: Basis | None = None
        self._sample: NDArray[np.bytes_] = np.empty(0, "S32")  # the texts that it is made of
        self._found = 0  # how many of them had terms
        # Which rows have their lexical vector, and of which no terms were found.
        self._there: NDArray[np.bool_] = np.empty(0, bool)
        self._in_vain: NDArray[np.bool_] = np.empty(0, bool)
        self._stored = 0, 0  # terms of how many texts there were when those were looked for, and the last time
        self.lacks = False
        """Whether some texts have no lexical vector yet."""

    @property
    def state(self) -> tuple[str, bool]:
        """What the directions of lexical vectors are, by a hash, and whether some are lacking.

        What was learnt in another state is to be learnt anew.
        """
        return hashlib.blake2b(self._sample.tobytes(), digest_size=16, key=b"%d" % self._found).hexdigest(), self.lacks

    @property
    def nbytes(self) -> int:
        """How much memory the basis takes."""
        return 0 if self._basis is None else self._basis.nbytes

    def leave(self, matrix: VectorMatrix) -> "Left":
        """Return what there is in a matrix whose vectors are let go, and begin anew; the basis stays."""
        left = Left(matrix.without_vectors(), np.flatnonzero(self._there))
        self._there, self._in_vain = np.empty(0, bool), np.empty(0, bool)
        return left

    def take(self, left: "Left", matrix: VectorMatrix) -> None:
        """Fill in what was left of another matrix, instead of computing it again."""
        here, there = matrix.shared(left.matrix)
        known = np.isin(there, left.rows)
        self._there, self._in_vain = np.zeros((2, len(matrix.vectors)), bool)
        if known.any():
            matrix.beside[here[known]] = left.matrix.beside[there[known]]
            self._there[here[known]] = True

    def follow(
        self,
        matrix: VectorMatrix,
        texts: NDArray[np.bytes_],
        rows: NDArray[np.int64],
        table: TermTable,
        *,
        again: bool = False,
    ) -> None:
        """Fill in what is new.

        Args:
            matrix: has the rows, with room beside their vectors.
            texts: (n,) S32, text ids of all tasks, in the order of these.
            rows: (n,) int64, their rows; -1 for those that have none.
            table: the terms of texts.
            again: whether to look for terms that were looked for in vain.
        """
        count = len(matrix.vectors)
        more = np.zeros(count - len(self._there), bool)
        self._there, self._in_vain = np.append(self._there, more), np.append(self._in_vain, more)
        ids: NDArray[np.bytes_] = np.zeros(count, "S32")
        ids[rows[rows >= 0]] = texts[rows >= 0]
        sample = _sample(texts)
        is_same = np.array_equal(sample, self._sample)
        if (not is_same or (again and self._found < len(sample))) and self._renew(sample, table, is_same=is_same):
            self._there[:] = False
            again = True
        lacking = ~self._there & (ids != b"")
        wanted = np.flatnonzero(lacking if again else lacking & ~self._in_vain)
        if self._basis is not None and len(wanted):
            for places, terms in table.stream(ids[wanted]):
                matrix.beside[wanted[places]] = self._basis.vectors(terms)
                self._there[wanted[places]] = True
            self._in_vain[wanted] = ~self._there[wanted]
        self.lacks = bool((lacking & ~self._there).any())

    def are_to_look_again(self, table: TermTable) -> bool:
        """Whether texts lack terms and it is worth a scan of the table: there are more, or no more are to come."""
        if not self.lacks:
            return False
        looked_at, last = self._stored
        now = len(table)
        again = now != looked_at and (now >= _MORE_TERMS * looked_at or now == last)
        self._stored = now if again else looked_at, now
        return again

    def of_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The lexical vectors (n, DIMENSION) of texts that are no tasks; zeros before there is a basis."""
        terms = terms_of(texts)
        basis = self._basis or Basis.of(terms[:0])
        return basis.vectors(terms).astype(np.float32)

    def _renew(self, sample: NDArray[np.bytes_], table: TermTable, *, is_same: bool) -> bool:
        """Make the basis of these texts; returns whether it is another one than before."""
        places, terms = table.load(sample)
        found = len(places)
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
    different, first = np.unique(ids, return_index=True)
    basis = Basis.of(terms_of([pool[place] for place in first[np.isin(different, _sample(ids))]]))

    def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
        parts = (basis.vectors(terms_of(texts[at : at + _AT_ONCE])) for at in range(0, len(texts), _AT_ONCE))
        return np.concatenate([np.empty((0, DIMENSION), np.float16), *parts]).astype(np.float32)

    return [vectors(texts) for texts in (pool, *others)]


def _sample(texts: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
    """Some different texts of the first tasks: which ones depends on nothing but what texts there are."""
    size = 2
    while (more := int(size * (_MORE if size < LEARNT_FROM else _MORE_OF_MANY))) <= len(texts):
        size = more
    first: NDArray[np.bytes_] = np.unique(texts[:size])
    return first if len(first) <= LEARNT_FROM else np.sort(first[np.argsort(text_keys(first))[:LEARNT_FROM]])
