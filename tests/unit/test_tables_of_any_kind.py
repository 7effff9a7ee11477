"""Tables and bytes as people have them: what parts their fields, how they are encoded, and what is no text."""

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal.errors import PrepalError
from prepal.files import numbered_rows, parse_rows

ROWS = [{"text": 'Grüße, "Zoë"; bis\nmorgen|dann', "label": "hallo"}, {"text": "Wann?\tHeute", "label": ""}]
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")


def written(rows: list[dict[str, str]], delimiter: str, end: str = "\r\n") -> str:
    file = io.StringIO(newline="")
    # Python leaves bare in a cell what ends lines elsewhere.
    quoting = csv.QUOTE_MINIMAL if end == "\r\n" else csv.QUOTE_ALL
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("said", ["", "sep={}\r\n", '"sep={}"\n', "SEP={} \r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_is_read_whatever_parts_its_fields(tmp_path: Path, delimiter: str, said: str, encoding: str) -> None:
    content = (said.format(delimiter) + written(ROWS, delimiter)).encode(encoding)
    assert parse_rows(content, "x") == ("TSV" if delimiter == "\t" else "CSV", ROWS)
    for suffix in (".csv", ".TSV"):
        path = tmp_path / f"rows{suffix}"
        path.write_bytes(content)
        assert [row for _, row in numbered_rows(path)] == ROWS
        assert [line for line, _ in numbered_rows(path)] == [3 + bool(said), 4 + bool(said)]


cells = st.text("ab ,;\t|\"'\n\r=", min_size=1, max_size=8).filter(str.strip)


@given(
    st.lists(st.tuples(cells, cells, cells), min_size=2, max_size=6),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\r\n", "\n", "\r"]),
    st.sampled_from(ENCODINGS),
)
def test_no_cell_is_parted_or_joined(rows: list[tuple[str, str, str]], delimiter: str, end: str, encoding: str) -> None:
    table = [dict(zip(("text", "label", "other one"), row, strict=True)) for row in rows]
    assert parse_rows(written(table, delimiter, end).encode(encoding), "x")[1] == table


def test_empty_columns_and_rows_of_a_spreadsheet_are_none() -> None:
    assert parse_rows(b"text;label;;\nOne, two;a;;\n;;;\nthree;b;;\n", "x")[1] == [
        {"text": "One, two", "label": "a"},
        {"text": "three", "label": "b"},
    ]


FLAT = [{"text": "one", "label": 1}, {"text": "two", "label": 0}]


@pytest.mark.parametrize(
    "value",
    [
        FLAT,
        {"version": "1.0", "data": FLAT},
        {"tasks": FLAT, "total": 2},
        {"rows": [{"row_idx": place, "row": row} for place, row in enumerate(FLAT)], "features": [{"name": "text"}]},
        {"text": ["one", "two"], "label": [1, 0]},
        {"text": {"0": "one", "1": "two"}, "label": {"0": 1, "1": 0}},
        {"0": FLAT[0], "1": FLAT[1]},
    ],
)
def test_rows_lie_in_an_array_in_an_object_or_in_columns(value: object) -> None:
    assert parse_rows(json.dumps(value, indent=1).encode(), "x") == ("JSON", FLAT)


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for name in names:
            written.writestr(name, "<xml/>")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PAR1\x15\x04", "x is a Parquet file: write its rows as JSONL or CSV."),
        (b"ARROW1\x00\x00", "x is an Arrow file: write its rows as JSONL or CSV."),
        (archive("[Content_Types].xml", "xl/workbook.xml"), "x is an Excel workbook: save the sheet as 'CSV UTF-8'."),
        (archive("result.json"), "x is a zip archive: unpack it, and give what is in it."),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "x is an old Office file: save the sheet as 'CSV UTF-8'."),
        (b"\x1f\x8b\x08\x00", "x is compressed by gzip: unpack it, and give what is in it."),
        (b"SQLite format 3\x00", "x is an SQLite database: write its rows as JSONL or CSV."),
        (b"\x80\x04\x95", "x is a Python pickle: write its rows as JSONL or CSV, as nothing here opens what can run"),
        (b"\x89PNG\r\n\x1a\n", "x is a picture: give texts."),
        (
            "text,label\nschön,a\n".encode("cp1252"),
            "x is not UTF-8 (byte 14), but perhaps Windows code page 1252: save",
        ),
        ("text,label\nпосылка,a\n".encode("cp1251"), "x is not UTF-8 (byte 11): save it as UTF-8."),
        ("text,label\nτο δέμα δεν ήρθε,a\n".encode("cp1253"), "x is not UTF-8 (byte 11): save it as UTF-8."),
        ("text,label\nБог,a\n".encode("cp866"), "x is not UTF-8 (byte 11): save it as UTF-8."),
        ("text,label\nschön,a\n".encode("utf-16-le"), "x is no text, or UTF-16 without a byte order mark: save it as"),
        ("text".encode("utf-16") + b"\x00", "x is not UTF-16 (byte"),
        (b'<View><Text name="t" value="$text"/></View>', "x is XML or HTML: give a Label Studio export"),
        (b"text,label,text\na,b,c\n", "x has two columns with the name 'text': name each otherwise."),
        (b"text,label\none, two,a\n", "x row 1 has more or fewer fields than the header: mend it, with quotes around"),
        (b"text,label\none\n", "x row 1 has more or fewer fields than the header: mend it."),
        (
            b"annotation_id,annotator,id,text,topic\n1,1,1,one, two,a\n",
            "than the header: Label Studio 1.7.0 and 1.7.1 wrote texts without quotes, so export as JSON",
        ),
        (b'text,label\none,a\n"two,b\nthree,c\n', "x line 3 is not CSV"),
    ],
)
def test_what_is_no_such_text_is_called_by_its_name(content: bytes, says: str) -> None:
    with pytest.raises(PrepalError) as told:
        parse_rows(content, "x")
    assert says in str(told.value)
    assert str(told.value).endswith(".")


def test_one_row_with_rows_in_it_is_a_row_where_the_name_says_a_row_a_line() -> None:
    row = {"items": [{"name": "drill"}], "label": "a"}
    assert parse_rows(json.dumps(row).encode(), "x.jsonl")[1] == [row]
    assert parse_rows(json.dumps(row).encode(), "x.json")[1] == row["items"]
