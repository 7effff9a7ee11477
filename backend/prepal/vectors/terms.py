"""The words of a text as numbers: the parts of its words, hashed, whichever encoder there is."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from prepal.errors import PrepalError
from prepal.records import readable
from prepal.vectors.ids import TERMS_TABLE
from prepal.vectors.lookup import Asked, ids_of, read
from prepal.vectors.table import TextTable

log = logging.getLogger(__name__)

TERMS = 1 << 16
"""So many different terms are told apart: two of a text's few hundred are seldom the same."""
# Names share parts of words with texts, and every language has them.
_PARTS = (3, 5)
# Each append leaves a small piece; more of them are joined, as reading many takes long.
_MOST_PIECES = 256
# Rows that are read in one go; they come in smaller pieces.
_SCANNED_ROWS = 65_536
# What comes later in a text says less of it, and few encoders read as far.
_LETTERS = 2000


def terms_of(texts: Sequence[str]) -> csr_array:
    """Return which terms each text has, `(n, TERMS)` float32 of zeros and ones.

    A term is a part of a word, of three to five letters, a space where the word begins and ends (McNamee & Mayfield,
    Character N-Gram Tokenization for European Language Text Retrieval, 2004), hashed (Weinberger et al., Feature
    Hashing for Large Scale Multitask Learning, 2009).
    """
    if not texts:
        return csr_array((0, TERMS), dtype=np.float32)
    # It takes a second to load, for which only who reads texts waits.
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        analyzer="char_wb", ngram_range=_PARTS, n_features=TERMS, alternate_sign=False, norm=None, binary=True,
        dtype=np.float32,
    )  # fmt: skip
    return csr_array(hashing.transform([readable(text[:_LETTERS]) for text in texts]))


class TermTable(TextTable):
    """The terms of texts, by text id; see `TextTable`.

    Args:
        uri: the vector cache, beside whose tables of vectors it lies.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri, TERMS_TABLE, "terms")

    def append(self, texts: dict[str, str]) -> None:
        """Store the terms of texts, by their ids, that are not stored yet."""
        if not texts:
            return
        found = terms_of(list(texts.values()))
        numbers = pa.array(found.indices.astype(np.uint16))
        self._store(list(texts), pa.ListArray.from_arrays(pa.array(found.indptr.astype(np.int32)), numbers))
        if self.pieces() > _MOST_PIECES:
            try:
                self.compact()
            except PrepalError as error:
                # Another process may do the same right now.
                log.info("%s", error)

    def load(self, ids: NDArray[np.bytes_]) -> tuple[NDArray[np.int64], csr_array]:
        """Read the terms of different text ids (n,) S32.

        Returns:
            (m,) int64: places of the ids that have terms, in any order; (m, TERMS) float32: their terms.
        """
        parts = [*self.stream(ids)]
        places = np.concatenate([np.empty(0, np.int64), *(part for part, _ in parts)])
        return places, csr_array(vstack([csr_array((0, TERMS), dtype=np.float32), *(terms for _, terms in parts)]))

    def stream(self, ids: NDArray[np.bytes_]) -> Iterator[tuple[NDArray[np.int64], csr_array]]:
        """Yield what `load` returns part by part, for whoever has no room for the terms of all texts."""
        with self._explained("read"):
            table = self._table()
            if table is None or not len(ids):
                return
            asked = Asked(ids)
            for batch in read(table, ids, ["id", "terms"], _SCANNED_ROWS):
                places, at = asked.places(ids_of(batch))
                if len(places):
                    found = batch.column("terms").take(pa.array(at))
                    ends = np.concatenate([[0], np.cumsum(found.value_lengths().to_numpy())])
                    indices = found.flatten().to_numpy().astype(np.int32)
                    ones = np.ones(len(indices), np.float32)
                    yield places, csr_array((ones, indices, ends), shape=(len(places), TERMS))
