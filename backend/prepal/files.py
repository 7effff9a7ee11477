"""Data files, whatever is in them: JSON, JSON lines, CSV and TSV as rows, and rows as files."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from prepal import records
from prepal.decoding import decoded
from prepal.errors import PrepalError
from prepal.records import readable

FileKind = Literal["JSON", "JSONL", "CSV", "TSV"]
Row = dict[str, Any]

# A text may be longer than csv's own limit of 131,072 characters.
_LONGEST_FIELD = 100_000_000
# Deeper values are nobody's data, and what walks through them by recursion ends some hundred levels down.
_DEEPEST = 100
_LINE_END = re.compile(r"\r\n|\r|\n")
_DELIMITERS = ",;\t|"
# Spreadsheets say so in a line before the header.
_SEP_LINE = re.compile(r'"?sep=(.)"?[^\S\r\n]*(?:\r\n|\r|\n)', re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"')
# What lists of rows are called in the object around them.
_ROWS = ("tasks", "data", "rows", "records", "examples", "items")
# Every export of Label Studio's has it.
_OF_LABEL_STUDIO = "annotation_id"


def parse_rows(content: bytes, name: str) -> tuple[FileKind, list[Row]]:
    """Rows of a file that is told by its content: a JSON array or object, JSON lines, or a table.

    Raises:
        PrepalError: the content is none of these, or is broken; says where.
    """
    text = decoded(content, name)
    start = text.lstrip()[:1]
    if not start:
        raise PrepalError(f"{name} is empty: give a Label Studio export, or a JSONL or CSV file.")
    if start == "<":
        raise PrepalError(f"{name} is XML or HTML: give a Label Studio export, or a JSONL or CSV file.")
    if start not in "[{":
        delimiter, rows = _table(text, name)
        return ("TSV" if delimiter == "\t" else "CSV"), [row for _, row in rows]
    try:
        value = records.loads(text)
    except ValueError as error:
        if start == "[" or text.strip().count("\n") == 0:
            raise PrepalError(f"{name} is not JSON ({error}): export it again.") from error
        return "JSONL", [row for _, row in json_lines(text, name)]
    if isinstance(value, dict):
        check_depth([value], name)
        # One row of such a file may have other rows in it.
        is_row = name.lower().endswith(".jsonl") and "\n" not in text.strip()
        inner = None if is_row else _rows_within(value)
        if inner is None:
            return ("JSON" if "annotations" in value or "completions" in value else "JSONL"), [value]
        value = inner
    strangers = [place for place, row in enumerate(value, start=1) if not isinstance(row, dict)]
    if strangers:
        raise PrepalError(f"{name} has something else than an object as its item {strangers[0]}: export it again.")
    check_depth(value, name)
    return "JSON", value


def numbered_rows(path: Path) -> list[tuple[int, Row]]:
    """Rows of a file that ends in .csv, .tsv or .jsonl, each with the number of the line that it ends in.

    Raises:
        PrepalError: the file cannot be read, is of another kind, or is broken; says where.
    """
    readers = {".csv": table_rows, ".tsv": table_rows, ".jsonl": json_lines}
    content = read_file(path)
    text = decoded(content, str(path))
    if path.suffix.lower() not in readers:
        raise PrepalError(f"{path} is of a kind that cannot be read: give a file ending in .csv or .jsonl.")
    return readers[path.suffix.lower()](text, str(path))


def read_file(path: Path) -> bytes:
    """What is in a file.

    Raises:
        PrepalError: it cannot be opened.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise PrepalError(f"{path} cannot be opened ({error.strerror}): check the path.") from error


def json_lines(text: str, name: str, remedy: str = "write one object per line") -> list[tuple[int, Row]]:
    """Rows of JSON lines, each with the number of its line; messages name the file and the remedy.

    Raises:
        PrepalError: a line is not a JSON object.
    """
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = records.loads(line)
        except ValueError as error:
            raise PrepalError(f"{name} line {number} is not JSON ({error}): {remedy}.") from error
        if not isinstance(row, dict):
            raise PrepalError(f"{name} line {number} is not an object: {remedy}.")
        rows.append((number, row))
    check_depth([row for _, row in rows], name)
    return rows


def table_rows(text: str, name: str) -> list[tuple[int, Row]]:
    """Rows of a table with a header, each with the number of the line that it ends in.

    Commas, semicolons, tabs or bars part its fields, whichever parts all rows as the header; a line `sep=;` says it.
    A line ends by a line feed, a carriage return or both; whatever else breaks lines in a text is text.

    Raises:
        PrepalError: it is not CSV, or a row has another number of fields than the header.
    """
    return _table(text, name)[1]


def _table(text: str, name: str) -> tuple[str, list[tuple[int, Row]]]:
    """What parts the fields, and the rows."""
    said = _SEP_LINE.match(text)
    if said:
        return said[1], _parted(text[said.end() :], name, said[1], before=1)
    header = _QUOTED.sub("", _LINE_END.split(text.lstrip("\r\n"), maxsplit=1)[0])
    found = sorted(filter(header.count, _DELIMITERS), key=lambda one: -header.count(one)) or [_DELIMITERS[0]]
    for delimiter in found:
        try:
            return delimiter, _parted(text, name, delimiter)
        except PrepalError:
            if delimiter == found[-1]:
                break
    return found[0], _parted(text, name, found[0])


def _parted(text: str, name: str, delimiter: str, before: int = 0) -> list[tuple[int, Row]]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[tuple[int, list[str]]] = []
    whole = before
    try:
        for row in reader:
            whole = reader.line_num + before
            found += [(whole, row)] if any(row) else []
    except csv.Error as error:
        raise PrepalError(f"{name} line {whole + 1} is not CSV ({error}): mend its quotes.") from error
    if not found:
        return []
    header = [column.strip() for column in found[0][1]]
    for place, (_, row) in enumerate(found[1:], start=1):
        if len(row) != len(header):
            remedy = _lost_quotes(header, delimiter) if len(row) > len(header) else "mend it."
            raise PrepalError(f"{name} row {place} has more or fewer fields than the header: {remedy}")
    used = [at for at, column in enumerate(header) if column or any(row[at] for _, row in found[1:])]
    twice = [header[at] for place, at in enumerate(used) if header[at] in {header[other] for other in used[:place]}]
    if twice:
        raise PrepalError(f"{name} has two columns with the name {twice[0]!r}: name each otherwise.")
    return [(line, {header[at]: row[at] for at in used}) for line, row in found[1:]]


def _lost_quotes(header: Sequence[str], delimiter: str) -> str:
    if _OF_LABEL_STUDIO in header:
        return "Label Studio 1.7.0 and 1.7.1 wrote texts without quotes, so export as JSON, or with another release."
    what = {",": "comma", ";": "semicolon", "\t": "tab"}.get(delimiter, f"{delimiter!r}")
    return f"mend it, with quotes around what has a {what} in it."


def _rows_within(value: Row) -> list[Any] | None:
    """Rows that lie in an object: under a name for them, or a column each, as pandas and datasets write them."""
    named = [inner for key in _ROWS if isinstance(inner := value.get(key), list) and inner]
    if len(named) == 1 and all(isinstance(row, dict) for row in named[0]):
        # The viewer of the Hugging Face hub puts each row into another object.
        return [row["row"] if isinstance(row.get("row"), dict) else row for row in named[0]]
    columns = list(value.values())
    if len(columns) < 2 or not all(columns):
        return None
    if all(isinstance(column, list) for column in columns) and len(set(map(len, columns))) == 1:
        return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    if all(isinstance(column, dict) for column in columns) and all(key.isdecimal() for key in value):
        return columns
    if all(isinstance(column, dict) and column.keys() == columns[0].keys() and "0" in column for column in columns):
        return [{name: column[place] for name, column in value.items()} for place in columns[0]]
    return None


def check_depth(rows: Iterable[Row], name: str) -> None:
    """Refuse rows with values in values in values without end.

    Raises:
        PrepalError: a value lies deeper than anybody's data.
    """
    level: list[Any] = list(rows)
    for _ in range(_DEEPEST):
        level = [
            part
            for value in level
            if isinstance(value, list | dict)
            for part in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise PrepalError(f"{name} has values that lie {_DEEPEST} deep in other ones: make its rows flat.")


def json_bytes(value: object, indent: int | None = None) -> bytes:
    """JSON in UTF-8; half a character, which UTF-8 does not know, is escaped as JSON does it."""
    # An escape of Python's is one of JSON's.
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace")


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write JSON lines, or CSV where the name ends so: in UTF-8, and the old file stays until the new one is whole.

    Raises:
        PrepalError: it cannot be written.
    """
    write_whole(
        path, _csv(rows) if path.suffix.lower() == ".csv" else b"".join(json_bytes(row) + b"\n" for row in rows)
    )


def json_array(rows: Iterable[object]) -> Iterator[bytes]:
    """A JSON array piece by piece, a line for each of its items."""
    before = b"["
    for row in rows:
        yield before + records.dumps(row)
        before = b",\n"
    yield b"[]\n" if before == b"[" else b"]\n"


def write_whole(path: Path, content: bytes | Iterable[bytes], mode: int = 0o666) -> None:
    """Write a file with these permissions at most, maybe piece by piece; the old one stays until the new one is whole.

    Raises:
        PrepalError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with told_of(path):
            # Whoever made what lies there could have it open, or have pointed it elsewhere.
            partial.unlink(missing_ok=True)
            partial.touch(mode, exist_ok=False)
            file = partial.open("wb")
        with closing(file):
            for piece in [content] if isinstance(content, bytes) else content:
                with told_of(path):
                    file.write(piece)
            with told_of(path):
                file.flush()
        with told_of(path):
            partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Say of a place in one sentence why it cannot be written."""
    try:
        yield
    except OSError as error:
        raise PrepalError(f"{path} cannot be written ({error.strerror}): choose another place.") from error


def _csv(rows: Sequence[Row]) -> bytes:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    written = StringIO(newline="")
    # With line feeds alone, csv would leave a carriage return in a text without quotes.
    writer = csv.DictWriter(written, columns, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {c: json.dumps(v, ensure_ascii=False) if isinstance(v, list | dict) else v for c, v in row.items()}
        )
    return readable(written.getvalue()).encode()
