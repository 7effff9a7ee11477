"""Looks texts up in a table, one by one or by a scan, whichever is quicker."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from lancedb.table import LanceTable
from numpy.typing import NDArray

from prepal.vectors.ids import text_ids, text_keys

# Up to this many ids, or this share of the rows, are looked up one by one (2,000 take 0.02 s of 100,000 rows);
# for more, one scan is quicker (0.15 s).
_FEW, _FEW_OF_ROWS = 2000, 0.01
# Rows that are read in one go: of ids alone, and with vectors, of which Lance would otherwise hold many pieces at once.
ID_ROWS, VECTOR_ROWS = 4_194_304, 8192
# Rows of one piece.
_PIECE_ROWS = 16_384


def dimension_of(table: LanceTable) -> int:
    """How many numbers a vector has."""
    return int(table.schema.field("vector").type.list_size)


def contains(table: LanceTable | None, ids: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    """(n,) bool: which of the text ids (n,) S32 have a vector; none where there is no table yet."""
    there = np.zeros(len(ids), bool)
    if table is None or not len(ids):
        return there
    asked = Asked(ids)
    for batch in read(table, ids, ["id"], ID_ROWS):
        there[asked.places(ids_of(batch))[0]] = True
    return np.asarray(there[asked.same])


def read(table: LanceTable, ids: NDArray[np.bytes_] | None, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Rows of the ids (n,) S32, or all rows of the table where that is quicker or none are named, so many in one go."""
    if ids is not None and len(ids) <= max(_FEW, _FEW_OF_ROWS * table.count_rows()):
        yield from table.search().select(columns).where(where(ids.astype(str).tolist())).to_batches(_PIECE_ROWS)
        return
    for start in range(0, table.count_rows(), rows):
        yield from table.search().select(columns).offset(start).limit(rows).to_batches(_PIECE_ROWS)


def where(ids: Sequence[str]) -> str:
    """The filter that lets the rows of these texts through."""
    quoted = (key.replace("'", "''") for key in ids)
    return "id IN (" + ", ".join(f"'{key}'" for key in quoted) + ")"


def ids_of(batch: pa.RecordBatch) -> NDArray[np.bytes_]:
    """(rows,) S32, the ids of a piece."""
    column = batch.column("id")
    _, offsets, letters = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    if (np.diff(ends) == 32).all():
        return np.frombuffer(letters, "S32", count=len(column), offset=int(ends[0]))
    return text_ids(column.to_pylist())


class Asked:
    """Text ids that are looked for in the pieces of a table."""

    def __init__(self, ids: NDArray[np.bytes_]) -> None:
        self._ids = ids
        keys = text_keys(ids)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    @property
    def same(self) -> NDArray[np.int64]:
        """(n,) int64: of each id, the place of the first that is equal to it."""
        first = np.append(True, self._keys[1:] != self._keys[:-1])
        same = np.empty(len(self._ids), np.int64)
        same[self._order] = self._order[np.maximum.accumulate(np.where(first, np.arange(len(same)), 0))]
        return same

    def places(self, ids: NDArray[np.bytes_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(m,) int64: places of those asked for that are among `ids`; and (m,) int64, where among `ids`."""
        keys = text_keys(ids)
        at = np.searchsorted(self._keys, keys)
        at[at == len(self._keys)] = 0
        places = self._order[at]
        equal = np.flatnonzero(self._ids[places] == ids)
        return places[equal], equal
