"""What is beside meaning: vectors of the words of texts, in the directions in which a pool's own texts differ."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_array

from prepal.learning.numerics.threads import by_chunks, one_blas_thread

DIMENSION = 256
"""Numbers of a lexical vector."""
# How much words count beside an encoder's unit vectors. A lexical vector is as long as what it keeps of its text, so
# that words which have nothing in common count little by themselves; benchmarks/RESULTS.md has other weights.
_WEIGHT = 1.4
# A term of one text alone is like nothing.
_LEAST_TEXTS = 2
# So many texts show in which directions they differ; more say the same.
LEARNT_FROM = 2000
# Texts at a time: long ones have thousands of terms each.
_CHUNK = 1024
# Directions in which texts differ less than this are rounding.
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Basis:
    """Latent semantic analysis of a pool: Deerwester et al., Indexing by Latent Semantic Analysis (1990).

    Attributes:
        terms: `(t,)` int64, the terms that count, ascending.
        weights: `(t,)` float32, how rare each is (inverse document frequency).
        directions: `(t, d)` float32, orthogonal columns of length _WEIGHT; d is DIMENSION or what so few texts have.
    """

    terms: NDArray[np.int64]
    weights: NDArray[np.float32]
    directions: NDArray[np.float32]

    @classmethod
    def of(cls, terms: csr_array) -> Self:
        """Return the basis of texts with these terms `(n, all terms)`, of which LEARNT_FROM are enough."""
        texts = terms.shape[0]
        frequency = np.bincount(terms.indices, minlength=terms.shape[1])
        kept = np.flatnonzero((frequency >= _LEAST_TEXTS) & (frequency < texts))
        weights = (np.log((1 + texts) / (1 + frequency[kept])) + 1).astype(np.float32)
        basis = cls(kept, weights, np.empty((len(kept), 0), np.float32))
        if not len(kept):
            return basis
        weighted = basis._weighted(terms)
        # Of so few texts their likeness to each other is the smaller matrix.
        likeness = (weighted @ weighted.T).toarray()
        with one_blas_thread():
            values, texts_in = eigh(likeness, subset_by_index=(max(texts - DIMENSION, 0), texts - 1))
        wide = values > _LEAST_SPREAD
        directions = weighted.T @ (texts_in[:, wide] * (_WEIGHT / np.sqrt(values[wide]))).astype(np.float32)
        return cls(kept, weights, np.ascontiguousarray(directions))

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return self.terms.nbytes + self.weights.nbytes + self.directions.nbytes

    def vectors(self, terms: csr_array) -> NDArray[np.float16]:
        """Return the lexical vectors `(n, DIMENSION)` of texts with these terms `(n, all terms)`."""
        found = np.zeros((terms.shape[0], DIMENSION), np.float16)

        def fill(part: slice) -> None:
            found[part, : self.directions.shape[1]] = self._weighted(terms[part]) @ self.directions

        by_chunks(len(found), fill, _CHUNK)
        return found

    def _weighted(self, terms: csr_array) -> csr_array:
        """Unit rows `(n, t)` of the terms that count; zero where a text has none."""
        place = np.full(terms.shape[1], -1, np.int32)
        place[self.terms] = np.arange(len(self.terms))
        columns = place[terms.indices]
        there = columns >= 0
        ends = np.concatenate([[0], np.cumsum(there)])[terms.indptr]
        columns = columns[there]
        values = self.weights[columns]
        sums = np.add.reduceat(np.append(values**2, 0), np.minimum(ends[:-1], len(values))) * (np.diff(ends) > 0)
        lengths = np.sqrt(np.maximum(sums, np.finfo(np.float32).tiny)).astype(np.float32)
        values = values / np.repeat(lengths, np.diff(ends))
        return csr_array((values, columns, ends), shape=(terms.shape[0], len(self.terms)))
