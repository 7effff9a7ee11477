"""The vector cache: one LanceDB table per encoder, one row per text."""

import hashlib
import os
import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import BTree
from lancedb.table import LanceTable
from numpy.typing import NDArray

from prepal.errors import PrepalError

# Up to this many ids, or this share of the rows, are looked up one by one (2,000 take 0.02 s of 100,000 rows);
# for more, one scan is quicker (0.15 s).
_FEW, _FEW_OF_ROWS = 2000, 0.01
# Rows from which an index on the ids is worth its upkeep: below, a scan of all ids takes about 10 ms.
_INDEXED_ROWS = 20_000
# No reader works on one version for longer than this, so older ones may go.
_KEPT_VERSIONS = timedelta(minutes=10)
# Lance itself tries a commit again that another one overtook; this is for the folder that is made or deleted meanwhile.
_APPEND_ATTEMPTS = 5
# Lance keeps a second row with the same key out of concurrent appends only when the schema names the key.
_KEY = {b"lance-schema:unenforced-primary-key": b"true"}


def text_id(text: str) -> str:
    """Name of a text, in any project: 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def table_name(encoder: str) -> str:
    """Name of an encoder's table: readable, and different for every encoder."""
    slug = re.sub(r"[^a-z0-9]+", "-", encoder.lower()).strip("-")[-60:].strip("-")
    return f"{slug}-{hashlib.blake2b(encoder.encode(), digest_size=4).hexdigest()}"


class VectorTable:
    """The vectors of one encoder, float16, by text id; many processes may read and append at the same time.

    Args:
        uri: a folder, or `s3://bucket/folder`; it is made when the first vectors come.
        encoder: name of the encoder.

    All methods raise PrepalError when what lies there cannot be read or written.
    """

    def __init__(self, uri: str, encoder: str) -> None:
        self.uri = uri
        self.encoder = encoder
        self.name = table_name(encoder)
        self.appends = 0
        """How often this process has appended since it last called `compact`; each time leaves one small piece."""
        self._opened: LanceTable | None = None

    def __len__(self) -> int:
        with self._explained("read"):
            table = self._table()
            return 0 if table is None else int(table.count_rows())

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
        rows = _rows(list(first), vectors[list(first.values())].astype(np.float16, copy=False))
        with self._explained("written"):
            for attempt in range(1, _APPEND_ATTEMPTS + 1):
                try:
                    return self._append(rows, vectors.shape[1])
                except (RuntimeError, OSError):
                    self._opened = None
                    if attempt == _APPEND_ATTEMPTS:
                        raise
                    time.sleep(random.uniform(0, 0.2 * attempt))  # noqa: S311

    def find(self, ids: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.float16]]:
        """Look vectors up.

        Returns:
            (n,) bool: which ids have a vector; (found, d) float16: their vectors, in the order of the ids.
        """
        with self._explained("read"):
            table = self._table()
            if table is None or not len(ids):
                return np.zeros(len(ids), bool), np.empty((0, 0 if table is None else _dimension(table)), np.float16)
            place_of = {key: place for place, key in enumerate(dict.fromkeys(ids))}
            found = np.zeros(len(place_of), bool)
            vectors = np.empty((len(place_of), _dimension(table)), np.float16)
            for batch in _read(table, list(place_of), ["id", "vector"]):
                keys = batch.column("id").to_pylist()
                places = np.fromiter((place_of.get(key, -1) for key in keys), np.int64, len(keys))
                values = batch.column("vector").flatten().to_numpy(zero_copy_only=False).reshape(len(keys), -1)
                vectors[places[places >= 0]] = values[places >= 0]
                found[places[places >= 0]] = True
            if len(place_of) == len(ids) and found.all():
                return found, vectors
            places = np.fromiter((place_of[key] for key in ids), np.int64, len(ids))
            return found[places], vectors[places[found[places]]]

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that have no vector, in the same order."""
        with self._explained("read"):
            table = self._table()
            if table is None or not len(ids):
                return list(ids)
            there: set[str] = set()
            for batch in _read(table, ids, ["id"]):
                there.update(batch.column("id").to_pylist())
            return [key for key in ids if key not in there]

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

    def _append(self, rows: pa.Table, dimension: int) -> None:
        table = self._table() or self._create(rows.schema)
        if dimension != _dimension(table):
            raise ValueError(
                f"Vectors of {dimension} numbers do not fit table {self.name} in {self.uri}, where they have "
                f"{_dimension(table)}: give the other encoder another name in PREPAL_ENCODER."
            )
        # With the index, Lance does not see that two appends at the same time hold the same id.
        table.merge_insert("id").when_not_matched_insert_all().use_index(False).execute(rows)
        self.appends += 1

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
        if not isinstance(table, LanceTable) or names != ["id", "vector"]:
            raise PrepalError(
                f"Table {self.name} in {self.uri} is not a vector cache (its columns are {', '.join(names)}): "
                "name another folder in PREPAL_VECTORS."
            )
        self._opened = table
        return table

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, OSError) as error:
            cause = str(error).partition(", /")[0]
            raise PrepalError(
                f"The vector cache {self.name} in {self.uri} cannot be {what} ({cause}): repair it, "
                "or name another folder in PREPAL_VECTORS and all texts are embedded again."
            ) from error


def _rows(ids: list[str], vectors: NDArray[np.float16]) -> pa.Table:
    dimension = vectors.shape[1]
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False, metadata=_KEY),
            pa.field("vector", pa.list_(pa.float16(), dimension)),
        ]
    )
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dimension)
    return pa.Table.from_arrays([pa.array(ids, pa.string()), values], schema=schema)


def _dimension(table: LanceTable) -> int:
    return int(table.schema.field("vector").type.list_size)


def _read(table: LanceTable, ids: Sequence[str], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Rows of the ids; of many ids, all rows of the table."""
    query = table.search().select(columns)
    if len(ids) <= max(_FEW, _FEW_OF_ROWS * table.count_rows()):
        quoted = (key.replace("'", "''") for key in ids)
        query = query.where("id IN (" + ", ".join(f"'{key}'" for key in quoted) + ")")
    yield from query.to_batches()
