"""Bytes of a file → its text, or why it has none: what is not text is called by its name."""

import codecs

from prepal.errors import PrepalError

_CSV = "save the sheet as 'CSV UTF-8'"
_JSONL = "write its rows as JSONL or CSV"
_UNPACK = "unpack it, and give what is in it"
# What files begin with that people have in place of a text file, what it is, and the remedy.
_BINARIES = (
    (b"PAR1", "a Parquet file", _JSONL),
    (b"ARROW1", "an Arrow file", _JSONL),
    (b"\xff\xff\xff\xff", "an Arrow file", _JSONL),
    (b"Obj\x01", "an Avro file", _JSONL),
    (b"SQLite format 3\x00", "an SQLite database", _JSONL),
    (b"\x89HDF\r\n", "an HDF5 file", _JSONL),
    (b"\x93NUMPY", "a NumPy array", _JSONL),
    *(
        (b"\x80" + bytes([protocol]), "a Python pickle", f"{_JSONL}, as nothing here opens what can run code")
        for protocol in range(2, 6)
    ),
    (b"\xd0\xcf\x11\xe0", "an old Office file", _CSV),
    (b"PK\x05\x06", "an empty zip archive", "export again"),
    (b"\x1f\x8b", "compressed by gzip", _UNPACK),
    (b"BZh91AY&SY", "compressed by bzip2", _UNPACK),
    (b"\xfd7zXZ\x00", "compressed by xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a", "a rar archive", _UNPACK),
    (b"%PDF-", "a PDF", _JSONL),
    (b"{\\rtf", "an RTF document", "save it as text"),
    (b"\x89PNG", "a picture", "give texts"),
    (b"\xff\xd8\xff", "a picture", "give texts"),
)
_ZIP = b"PK\x03\x04"
# Office documents are zip archives; their parts' names tell which.
_IN_ZIP = (
    (b"xl/", "an Excel workbook", _CSV),
    (b"opendocument.spreadsheet", "a spreadsheet", _CSV),
    (b"word/", "a Word document", "save it as text"),
)
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# In UTF-16 every other byte of a European text is 0, and no text has many such characters.
_LOOKED_AT, _MANY_ZEROS = 4096, 0.3
# No language that code page 1252 is for has as many letters beside those from a to z; other scripts hardly have those.
_MANY_FOREIGN = 3


def decoded(content: bytes, name: str) -> str:
    """The text of a file's content, in UTF-8, or in UTF-16 or UTF-32 where a byte order mark says so.

    Raises:
        PrepalError: it is in another encoding, or no text at all.
    """
    if found := _binary(content):
        what, remedy = found
        raise PrepalError(f"{name} is {what}: {remedy}.")
    encoding = next((of for mark, of in _MARKS if content.startswith(mark) and len(content) > len(mark)), "utf-8-sig")
    called = encoding.removesuffix("-sig").upper()
    beginning = content[:_LOOKED_AT]
    if called == "UTF-8" and beginning.count(b"\0") > _MANY_ZEROS * len(beginning):
        raise PrepalError(f"{name} is no text, or UTF-16 without a byte order mark: save it as UTF-8.")
    try:
        return content.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        raise PrepalError(
            f"{name} is not {called} (byte {error.start}){_perhaps(content)}: save it as UTF-8."
        ) from error


def _binary(content: bytes) -> tuple[str, str] | None:
    if content.startswith(_ZIP):
        inside = ((what, remedy) for part, what, remedy in _IN_ZIP if part in content)
        return next(inside, ("a zip archive", _UNPACK))
    return next(((what, remedy) for mark, what, remedy in _BINARIES if content.startswith(mark)), None)


def _perhaps(content: bytes) -> str:
    """Which encoding it could be: what spreadsheets of western Europe write has a character for most bytes."""
    try:
        letters = [one for one in content.decode("cp1252") if one.isalpha()]
    except UnicodeDecodeError:
        return ""
    foreign = sum(not one.isascii() for one in letters)
    return "" if b"\0" in content or _MANY_FOREIGN * foreign > len(letters) else ", but perhaps Windows code page 1252"
