"""Adapted encoders, as files in the vector cache, where workers on any machine find them: whole, or not at all."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa

from prepal.errors import PrepalError
from prepal.files import told_of
from prepal.vectors import encoders
from prepal.vectors.ids import FILES, files_table
from prepal.vectors.table import explained

# Bytes of one row, and rows that are read in one go.
_PIECE_BYTES, _PIECES = 4 * 2**20, 4
# Nothing that runs: no pickles, no modules. Nor may a name lead out of the folder.
_FILE = re.compile(r"(\w[\w.+-]*/)*\w[\w.+-]*\.(json|txt|model|safetensors)")
_SCHEMA = pa.schema(
    [
        pa.field("encoder", pa.string()),
        pa.field("file", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("content", pa.large_binary()),
    ]
)


class LostEncoderError(PrepalError):
    """An adapted encoder is not in the vector cache, or not as it was put there."""


class AdaptedEncoders:
    """The files of adapted encoders, a table for each encoder, which is made, with all that is in it, in one commit.

    One table of all would have to be written anew, all of it in memory, whenever one of them is deleted.

    Args:
        uri: the vector cache, a folder or `s3://bucket/folder`; it is made when the first encoder comes.

    All methods raise PrepalError when what lies there cannot be read or written.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def put(self, folder: Path, base: str, project: int, labels: int) -> str:
        """Store the files of a folder, as `SentenceTransformer.save` writes them; returns the encoder's identity.

        What is there already is not stored again, whoever else stores it at the same time.

        Args:
            folder: has settings, tokenizer and weights, the latter as safetensors, and nothing else.
            base: the identity of the encoder that training started from.
            project: the number of the project on whose labels it was trained.
            labels: how many these were.

        Raises:
            PrepalError: the folder has no weights, or other files, or these change meanwhile.
        """
        try:
            names = _names(folder)
            content = _content(folder, names)
            identity = encoders.adapted_name(base, project, labels, content)
            if not self._has(identity):
                self._create(identity, pa.RecordBatchReader.from_batches(_SCHEMA, _pieces(identity, folder, names)))
            if _content(folder, names) == content:
                return identity
        except OSError as error:
            raise PrepalError(
                f"The encoder in {folder} cannot be read ({error.strerror}): mend what is there."
            ) from error
        self.delete(identity)
        raise PrepalError(f"The files in {folder} changed while they were stored: store them again.")

    def fetch(self, identity: str, folder: Path) -> None:
        """Write the files of an encoder into a folder that is not there yet, or is empty.

        Raises:
            LostEncoderError: it is not there, or damaged.
            PrepalError: the folder cannot be written.
        """
        partial = folder.with_name(f"{folder.name}.partial")
        try:
            with told_of(folder):
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
                names = set()
                for name, offset, content in self._read(identity):
                    names.add(name)
                    path = partial / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch()
                    with path.open("r+b") as file:
                        file.seek(offset)
                        file.write(content)
                if not identity.endswith(f"-{_content(partial, sorted(names))}"):
                    raise self._damaged(identity)
                partial.replace(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def names(self) -> list[str]:
        """Identities of all encoders."""
        found = (self._identity(table) for table in self.tables())
        return sorted(name for name in found if name is not None)

    def delete(self, identity: str) -> None:
        """Delete an encoder, if it is there."""
        self.drop(files_table(identity))

    def size(self) -> int:
        """How many bytes all of them take."""
        with explained("of adapted encoders", self._uri, "read"):
            # Typed as objects with attributes, and dicts.
            stats: list[Any] = [table.stats() for name in self.tables() if (table := self._open(name)) is not None]
            return sum(int(one["total_bytes"]) for one in stats)

    def tables(self) -> list[str]:
        """Names of their tables; also of those that whoever was killed left unfinished, which are no encoders."""
        if not self._exists:
            return []
        with explained("of adapted encoders", self._uri, "read"):
            listed = lancedb.connect(self._uri).list_tables().tables or []
            return sorted(str(name) for name in listed if str(name).endswith(FILES))

    def drop(self, table: str) -> None:
        """Delete one of their tables, if it is there."""
        if table in self.tables():
            with explained("of adapted encoders", self._uri, "written"):
                try:
                    lancedb.connect(self._uri).drop_table(table)
                except ValueError as error:
                    # Another process was quicker.
                    if "was not found" not in str(error):
                        raise

    def _has(self, identity: str) -> bool:
        return self._identity(files_table(identity)) == identity

    def _create(self, identity: str, pieces: pa.RecordBatchReader) -> None:
        with explained("of adapted encoders", self._uri, "written"):
            name = files_table(identity)
            mode = "create" if self._open(name) is None else "overwrite"
            try:
                lancedb.connect(self._uri).create_table(name, data=pieces, mode=mode)
            except (RuntimeError, OSError, ValueError):
                # Another process may have stored it just now.
                if not self._has(identity):
                    raise

    @property
    def _exists(self) -> bool:
        return "://" in self._uri or os.path.exists(self._uri)

    def _open(self, name: str) -> lancedb.Table | None:
        try:
            table = lancedb.connect(self._uri).open_table(name) if self._exists else None
        except ValueError as error:
            if "was not found" in str(error):
                return None
            raise
        return table if table is not None and table.schema.names == _SCHEMA.names else None

    def _identity(self, name: str) -> str | None:
        """Whose files a table holds; None where it is damaged."""
        with explained("of adapted encoders", self._uri, "read"):
            try:
                table = self._open(name)
                rows = [] if table is None else table.search().select(["encoder"]).limit(1).to_list()
            except (RuntimeError, OSError) as error:
                if not _is_gone(error):
                    raise
                return None
        return next((str(row["encoder"]) for row in rows if files_table(str(row["encoder"])) == name), None)

    def _read(self, identity: str) -> Iterator[tuple[str, int, bytes]]:
        """Pieces of all files, in any order: of which file, from which byte on, and what is there."""
        with explained("of adapted encoders", self._uri, "read"):
            table = self._open(files_table(identity))
            if table is None:
                raise LostEncoderError(
                    f"The adapted encoder {identity} is not in the vector cache {self._uri}: "
                    "set PREPAL_VECTORS to where it is, or go on until another one is trained."
                )
            try:
                for batch in table.search().select(_SCHEMA.names).to_batches(_PIECES):
                    for row in batch.to_pylist():
                        if not _FILE.fullmatch(row["file"]) or row["offset"] < 0:
                            raise self._damaged(identity)
                        yield row["file"], row["offset"], row["content"]
            except (RuntimeError, OSError) as error:
                if not _is_gone(error):
                    raise
                raise self._damaged(identity) from error

    def _damaged(self, identity: str) -> LostEncoderError:
        return LostEncoderError(
            f"The adapted encoder {identity} in the vector cache {self._uri} is damaged: "
            "`prepal vectors --prune` deletes it once no project uses it, and another one is trained."
        )


def _is_gone(error: RuntimeError | OSError) -> bool:
    """Whether a part of a table is not there, as where somebody was killed who deleted it."""
    return "not found" in str(error).lower()


def _names(folder: Path) -> list[str]:
    """Names of all files in a folder."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    strangers = [name for name in names if not _FILE.fullmatch(name)]
    if strangers:
        raise PrepalError(
            f"The encoder in {folder} cannot be stored with its file {strangers[0]}: "
            "leave only .json, .txt, .model and .safetensors files there."
        )
    if not any(name.endswith(".safetensors") for name in names):
        raise PrepalError(f"The folder {folder} has no .safetensors file: save an encoder there.")
    return names


def _content(folder: Path, names: list[str]) -> str:
    """A hash of the files."""
    whole = []
    for name in names:
        with Path(folder, name).open("rb") as file:
            whole.append((name, hashlib.file_digest(file, "sha256").digest()))
    return encoders.content_hash(whole)


def _pieces(identity: str, folder: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
    for name in names:
        with Path(folder, name).open("rb") as file:
            for offset in range(0, max(1, os.fstat(file.fileno()).st_size), _PIECE_BYTES):
                row = {"encoder": identity, "file": name, "offset": offset, "content": file.read(_PIECE_BYTES)}
                yield pa.RecordBatch.from_pylist([row], _SCHEMA)
