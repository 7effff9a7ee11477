"""LanceDB tables with one row per text: the vectors of one encoder, and what else is known of texts."""

import fcntl
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import BTree
from lancedb.table import LanceTable
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.vectors import encoders
from prepal.vectors.ids import table_name, text_ids
from prepal.vectors.lookup import ID_ROWS, VECTOR_ROWS, Asked, contains, dimension_of, ids_of, read, where

# Rows from which an index on the ids is worth its upkeep: below, a scan of all ids takes about 10 ms.
_INDEXED_ROWS = 20_000
# No reader works on one version for longer than this, so older ones may go.
_KEPT_VERSIONS = timedelta(minutes=10)
# Lance itself tries a commit again that another one overtook; this is for the folder that is made or deleted meanwhile.
_APPEND_ATTEMPTS = 5
# Lance keeps a second row with the same key out of concurrent appends only when the schema names the key.
_KEY = {b"lance-schema:unenforced-primary-key": b"true"}


class TextTable:
    """What is known of texts, by text id; many processes may read and append at the same time.

    Args:
        uri: a folder, or `s3://bucket/folder`; it is made when the first rows come.
        name: of the table.
        column: what it has beside `id`.

    All methods raise PrepalError when what lies there cannot be read or written.
    """

    def __init__(self, uri: str, name: str, column: str) -> None:
        self.uri = uri
        self.name = name
        self.appends = 0
        """How often this process has appended since it last called `compact`; each time leaves one small piece."""
        self._column = column
        self._opened: LanceTable | None = None

    def __len__(self) -> int:
        with self._explained("read"):
            table = self._table()
            return 0 if table is None else int(table.count_rows())

    def contains(self, ids: NDArray[np.bytes_]) -> NDArray[np.bool_]:
        """(n,) bool: which of the text ids (n,) S32 have a vector."""
        with self._explained("read"):
            return contains(self._table(), ids)

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that have no vector, in the same order."""
        have = self.contains(text_ids(ids))
        return [key for key, there in zip(ids, have.tolist(), strict=True) if not there]

    def ids(self) -> NDArray[np.bytes_]:
        """(rows,) S32: the ids of all texts that have a vector."""
        with self._explained("read"):
            table = self._table()
            batches = [] if table is None else [ids_of(batch) for batch in read(table, None, ["id"], ID_ROWS)]
            return np.concatenate([np.empty(0, "S32"), *batches])

    def size(self) -> int:
        """How many bytes the table takes."""
        with self._explained("read"):
            table = self._table()
            # Typed as an object with attributes, and a dict.
            stats: Any = {"total_bytes": 0} if table is None else table.stats()
            return int(stats["total_bytes"])

    def pieces(self) -> int:
        """In how many pieces the table lies."""
        with self._explained("read"):
            table = self._table()
            stats: Any = None if table is None else table.stats()
            return 0 if stats is None else int(stats["fragment_stats"]["num_fragments"])

    def delete(self, ids: Sequence[str]) -> None:
        """Delete the rows of texts."""
        with self._explained("written"):
            table = self._table()
            if table is not None and len(ids):
                table.delete(where(ids))

    def drop(self) -> None:
        """Delete the table, if there is one."""
        with self._explained("written"):
            if self._table() is not None:
                self._opened = None
                with suppress(ValueError):  # another process was quicker
                    lancedb.connect(self.uri).drop_table(self.name)

    def compact(self) -> None:
        """Join small pieces and drop old versions; others may read and append meanwhile."""
        with self._explained("compacted"):
            table = self._table()
            if table is None:
                return
            if not table.list_indices() and table.count_rows() >= _INDEXED_ROWS:
                table.create_index("id", config=BTree())
            table.optimize(cleanup_older_than=_KEPT_VERSIONS)
            self.appends = 0

    def _store(self, ids: Sequence[str], values: pa.Array) -> None:
        """Store what is not stored yet of different ids; each has exactly one row afterwards, whoever appends too."""
        id_field = pa.field("id", pa.string(), nullable=False, metadata=_KEY)
        schema = pa.schema([id_field, pa.field(self._column, values.type)])
        rows = pa.Table.from_arrays([pa.array(ids, pa.string()), values], schema=schema)
        with self._explained("written"):
            for attempt in range(1, _APPEND_ATTEMPTS + 1):
                try:
                    return self._append(rows)
                except (RuntimeError, OSError):
                    self._opened = None
                    if attempt == _APPEND_ATTEMPTS:
                        raise
                    time.sleep(random.uniform(0, 0.2 * attempt))  # noqa: S311

    def _append(self, rows: pa.Table) -> None:
        table = self._table() or self._create(rows.schema)
        self._check(table, rows)
        with self._alone() as alone:
            if alone:
                # Nobody else appends, so looking first is as good as merging, and quicker by the index.
                table = self._table() or self._create(rows.schema)
                new = np.flatnonzero(~contains(table, text_ids(rows["id"].to_pylist())))
                if len(new):
                    table.add(rows if len(new) == len(rows) else rows.take(pa.array(new)))
            else:
                # With the index, Lance does not see that two appends at the same time hold the same id.
                table.merge_insert("id").when_not_matched_insert_all().use_index(False).execute(rows)
        self.appends += 1

    def _check(self, table: LanceTable, rows: pa.Table) -> None:
        """Raise a ValueError where rows do not fit the table."""

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Keep others from appending meanwhile; False where that cannot be done."""
        if "://" in self.uri:
            yield False
            return
        with open(os.path.join(self.uri, f"{self.name}.lock"), "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:
                # Some network file systems have no locks.
                yield False
                return
            yield True

    def _table(self) -> LanceTable | None:
        """The table in its newest state, or None when there is none yet."""
        if self._opened is not None:
            try:
                self._opened.checkout_latest()  # type: ignore[no-untyped-call]
                return self._opened
            except RuntimeError:
                # The folder was deleted, or made anew, under this handle.
                self._opened = None
        if "://" not in self.uri and not os.path.exists(self.uri):
            return None
        try:
            table = lancedb.connect(self.uri).open_table(self.name)
        except ValueError as error:
            if "was not found" in str(error):
                return None
            raise
        return self._keep(table)

    def _create(self, schema: pa.Schema) -> LanceTable:
        return self._keep(lancedb.connect(self.uri).create_table(self.name, schema=schema, exist_ok=True))

    def _keep(self, table: lancedb.Table) -> LanceTable:
        names = table.schema.names
        if not isinstance(table, LanceTable) or names != ["id", self._column]:
            raise PrepalError(
                f"Table {self.name} in {self.uri} is not a vector cache (its columns are {', '.join(names)}): "
                "name another folder in PREPAL_VECTORS."
            )
        self._opened = table
        return table

    def _explained(self, what: str) -> AbstractContextManager[None]:
        return explained(self.name, self.uri, what)


@contextmanager
def explained(name: str, uri: str, what: str) -> Iterator[None]:
    """Say of a table in one sentence why it cannot be read, written or compacted."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        cause = str(error).partition(", /")[0]
        raise PrepalError(
            f"The vector cache {name} in {uri} cannot be {what} ({cause}): repair it, "
            "or name another folder in PREPAL_VECTORS and all texts are embedded again."
        ) from error


class VectorTable(TextTable):
    """The vectors of one encoder, float16, by text id; see `TextTable`.

    Args:
        uri: a folder, or `s3://bucket/folder`; it is made when the first vectors come.
        encoder: its name or its identity; a folder that this machine has counts by what is in it.
        name: of the table, where it does not follow from the encoder.
    """

    def __init__(self, uri: str, encoder: str, name: str | None = None) -> None:
        self.encoder = encoders.identity(encoder) if name is None else encoder
        super().__init__(uri, name or table_name(self.encoder), "vector")

    def append(self, ids: Sequence[str], vectors: NDArray[np.float16]) -> None:
        """Store what is not stored yet; every id has exactly one row afterwards, whoever appends at the same time.

        Args:
            ids: text ids.
            vectors: (n, d) float16, a row per id.

        Raises:
            ValueError: shapes do not agree with each other or with the table, or a vector is not finite.
        """
        if vectors.ndim != 2 or len(ids) != len(vectors):
            raise ValueError(f"{len(ids)} text ids need as many vectors, not an array of shape {vectors.shape}.")
        if not len(ids):
            return
        if not np.isfinite(vectors).all():
            bad = ids[int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])]
            raise ValueError(f"The vector of text {bad} has values that are not finite.")
        first = {key: place for place, key in enumerate(ids)}
        values = vectors[list(first.values())].astype(np.float16, copy=False)
        self._store(list(first), pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), vectors.shape[1]))

    def find(self, ids: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.float16]]:
        """Look vectors up.

        Returns:
            (n,) bool: which ids have a vector; (found, d) float16: their vectors, in the order of the ids.
        """
        asked = text_ids(ids)
        different, place = np.unique(asked, return_inverse=True)
        rows, vectors = self.load(different)
        wanted = rows[place]
        return wanted >= 0, vectors[wanted[wanted >= 0]]

    def load(self, ids: NDArray[np.bytes_]) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """Read the vectors of different text ids (n,) S32, as they lie, into little more memory than they need.

        Returns:
            (n,) int64: the row of each text, -1 where it has no vector; (found, d) float16: the vectors.
        """
        rows: NDArray[np.int64] = np.full(len(ids), -1, np.int64)
        with self._explained("read"):
            table = self._table()
            if table is None or not len(ids):
                return rows, np.empty((0, 0 if table is None else dimension_of(table)), np.float16)
            asked = Asked(ids)
            # What is not filled takes no memory.
            vectors = np.empty((len(ids), dimension_of(table)), np.float16)
            count = 0
            for batch in read(table, ids, ["id", "vector"], VECTOR_ROWS):
                places, at = asked.places(ids_of(batch))
                values = batch.column("vector").flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1)
                vectors[count : count + len(at)] = values[at]
                rows[places] = np.arange(count, count + len(at))
                count += len(at)
        return rows, vectors[:count]

    def _check(self, table: LanceTable, rows: pa.Table) -> None:
        dimension = rows.schema.field("vector").type.list_size
        if dimension != dimension_of(table):
            raise ValueError(
                f"Vectors of {dimension} numbers do not fit table {self.name} in {self.uri}, where they have "
                f"{dimension_of(table)}: give the other encoder another name in PREPAL_ENCODER."
            )
