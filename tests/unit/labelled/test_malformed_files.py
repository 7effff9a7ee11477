"""Exports and data files with anything in them are read, or refused in one sentence; what is written is whole."""

import csv
import io
import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prepal import records
from prepal.errors import PrepalError
from prepal.files import json_bytes, parse_rows, write_rows
from prepal.labels.label_config import parse
from prepal_workers.labelled.fields import TextFields
from prepal_workers.labelled.raw_texts import read_texts
from prepal_workers.labelled.read import read_labelled
from prepal_workers.simulate.dataset import load

T = TypeVar("T")
# How many files are tried, as many as requests in test_nonsense.
FILES = int(os.environ.get("PREPAL_TEST_REQUESTS", "600"))
CONFIG = parse(
    '<View><Text name="t" value="$text"/><Choices name="topic" toName="t"><Choice value="Café"/><Choice value="tea"/>'
    "</Choices></View>"
)
# What people's data has in it once in a million, and every parser trips over.
STRANGE = (
    *(
        "",
        " ",
        "\0",
        "\x1e",
        "\x85",
        "\u2028",
        "\u2029",
        "\x0b\x0c\x1c",
        "\r",
        "\n",
        "\t",
        ",",
        '"',
        '""',
        "'",
        "\\",
        "$x$",
    ),
    *("\ud800", "\udfff", "\ude00\ud83d", "\u202e\u200f\u2066", "\ufeff", "\ufffd", "Cafe\u0301", "Café", "😀", "漢字"),
    *("[", "{", '["a"]', '{"choices": ["a", "b"]}', "{'a'}", "null", "NaN", "1e999", "9" * 5000, "-0", "x" * 3000),
)
text = st.sampled_from(STRANGE) | st.text(max_size=20) | st.sampled_from(["Café", "tea", "A text that says something."])
scalar = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | text
anything = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)
keys = st.sampled_from(
    [
        *("text", "label", "text_a", "text_b", "data", "annotations", "completions", "id", "meta", "drafts", "audit"),
        *("topic", "annotator", "annotation_id", "result", "value", "choices", "from_name", "completed_by", "task"),
        *("labels", "accept", "answer", "options", "cats", "label_text", "annotation", "status", "_data_topic"),
        *("topic.responses", "topic.responses.status", "reviews", "last_action", "mail", "author", "tasks", "rows"),
    ]
)


@st.composite
def exports(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A good export with a few things in it put wrong."""
    tasks: list[dict[str, Any]] = []
    for number in range(1, draw(st.integers(2, 7))):
        chosen = draw(st.sampled_from(["Café", "Cafe\u0301", "tea"]))
        result = [{"from_name": "topic", "to_name": "t", "type": "choices", "value": {"choices": [chosen]}}]
        annotation = {"id": number, "completed_by": number % 3, "was_cancelled": False, "result": result}
        tasks.append({"id": number, "data": {"text": f"A text, number {number}"}, "annotations": [annotation]})
    for _ in range(draw(st.integers(0, 4))):
        put_wrong(draw, tasks)
    return tasks


def put_wrong(draw: st.DrawFn, value: Any) -> None:
    """Replace, add or take away something at some depth."""
    while isinstance(value, list | dict) and value:
        places = list(range(len(value))) if isinstance(value, list) else list(value)
        at = draw(st.sampled_from(places))
        inner = value[at]
        if isinstance(inner, list | dict) and inner and draw(st.integers(0, 3)):
            value = inner
        elif isinstance(value, dict) and draw(st.booleans()):
            value[draw(keys | text)] = draw(anything)
            return
        else:
            value[at] = draw(anything)
            return


rows = st.lists(st.dictionaries(keys | text, anything, max_size=5), max_size=5)
ends = st.sampled_from(["\n", "\r\n", "\r", "\u2028"])


@st.composite
def flat_exports(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of JSON_MIN, of target storage or of another tool, with a few things in them put wrong."""
    shape = draw(st.sampled_from(["flat", "target", "prodigy", "argilla"]))
    found: list[dict[str, Any]] = []
    for number in range(1, draw(st.integers(2, 14))):
        chosen = draw(st.sampled_from(["Café", "Cafe\u0301", "tea"]))
        said: Any = draw(st.sampled_from([f"A text, number {number}", [{"author": "Ada", "text": f"Number {number}"}]]))
        result = [{"from_name": "topic", "to_name": "t", "type": "choices", "value": {"choices": [chosen]}}]
        found.append(
            {
                "flat": {"id": number, "text": said, "topic": chosen, "annotator": 1, "annotation_id": number},
                "target": {"id": number, "result": result, "task": {"id": number, "data": {"text": said}}},
                "prodigy": {"text": said, "accept": [chosen], "options": [{"id": chosen}], "answer": "accept"},
                "argilla": {"text": said, "topic.responses": [chosen], "topic.responses.status": ["submitted"]},
            }[shape]
        )
    for _ in range(draw(st.integers(0, 4))):
        put_wrong(draw, found)
    return found


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """A file: JSON, JSON lines, a table, or bytes; now and then a byte of it is another one."""
    found: bytes
    kind = draw(st.sampled_from(["export", "flat", "lines of flat", "rows", "lines", "table", "bytes"]))
    if kind in ("export", "flat"):
        value: Any = draw(exports() if kind == "export" else flat_exports())
        value = draw(st.sampled_from([value, {"tasks": value}]))
        found = json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", "backslashreplace")
    elif kind == "rows":
        found = json_bytes(draw(rows))
    elif kind in ("lines", "lines of flat"):
        found = b"\n".join(json_bytes(row) for row in draw(rows if kind == "lines" else flat_exports()))
    elif kind == "table":
        written = io.StringIO(newline="")
        header = draw(st.lists(keys | text, max_size=4))
        csv.writer(written, delimiter=draw(st.sampled_from(",;\t|")), lineterminator=draw(ends)).writerows(
            [header, *draw(st.lists(st.lists(text, max_size=4), max_size=5))]
        )
        found = written.getvalue().encode("utf-8", draw(st.sampled_from(["replace", "surrogatepass"])))
        if not draw(st.integers(0, 3)):
            found = found.decode("utf-8", "replace").encode(draw(st.sampled_from(["utf-16", "cp1252"])), "replace")
    else:
        found = draw(st.binary(max_size=200))
    if found and not draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(found) - 1))
        found = found[:at] + draw(st.binary(max_size=2)) + found[at + 1 :]
    return found


def one_sentence(do: Callable[[], T]) -> T | None:
    """What it gives, or nothing if it refuses in one sentence."""
    try:
        return do()
    except PrepalError as error:
        said = str(error)
        assert "\n" not in said, said
        assert said.endswith("."), said
        said.encode()
        return None


wanted = st.lists(st.sampled_from(["text", "mail.body", "data", "id", "topic", "text_a"]), max_size=2)


@given(contents(), st.booleans(), st.booleans(), wanted, st.sampled_from([None, "topic", "label", "text"]))
@settings(deadline=None, max_examples=FILES)
def test_a_file_is_read_or_refused_in_one_sentence(
    content: bytes, with_config: bool, pair: bool, fields: list[str], choice: str | None
) -> None:
    config = CONFIG if with_config else None
    data = one_sentence(
        lambda: read_labelled(content, "x", config=config, pair=pair or None, fields=fields, choice=choice)
    )
    if data is not None:
        assert data.summary()
        assert len(data.texts) == len(data.labels)
        for part in (*data.texts, *data.label_names):
            "".join(part).encode()
        # What a model remembers of it reads the same texts.
        assert TextFields.remembered(json.loads(json_bytes(data.reader.to_json()))).names == data.reader.names


LABELLED = read_labelled(b'{"text": "One text", "label": "a"}\n{"text": "Two texts", "label": "b"}\n', "labels.jsonl")


@given(contents(), wanted)
@settings(deadline=None, max_examples=FILES)
def test_texts_without_labels_are_read_or_refused_in_one_sentence(content: bytes, fields: list[str]) -> None:
    for text in one_sentence(lambda: read_texts(content, "x", LABELLED, fields=fields)) or ():
        assert text
        "".join(text).encode()


@given(exports(), st.sets(st.integers(1, 9)))
@settings(deadline=None, max_examples=200)
def test_a_projects_tasks_are_read_or_refused_in_one_sentence(tasks: list[dict[str, Any]], audits: set[int]) -> None:
    rows = [task for task in tasks if isinstance(task, dict)]
    data = one_sentence(lambda: read_labelled(rows, "project 1", config=CONFIG, audits=audits))
    assert data is None or set(data.label_names) <= set(CONFIG.choices)


@given(contents(), contents(), st.sampled_from([".csv", ".jsonl"]), st.none() | st.integers(2, 5))
@settings(deadline=None, max_examples=300)
def test_experiments_read_their_files_or_refuse_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, train: bytes, test: bytes, suffix: str, pool: int | None
) -> None:
    folder = tmp_path_factory.mktemp("data")
    for part, content in (("train", train), ("test", test)):
        (folder / f"{part}{suffix}").write_bytes(content)
    dataset = one_sentence(lambda: load(folder / f"train{suffix}", folder / f"test{suffix}", pool))
    if dataset is not None:
        assert len(dataset.train.texts) == len(dataset.train.labels) <= (pool or 99)
        assert not set(dataset.train.texts) & set(dataset.test.texts)


@given(rows, st.sampled_from(["out.jsonl", "out.csv"]))
@settings(deadline=None, max_examples=200)
def test_rows_that_are_written_can_be_read_again(
    tmp_path_factory: pytest.TempPathFactory, written: list[dict[str, Any]], name: str
) -> None:
    path = tmp_path_factory.mktemp("out") / name
    written = [{**records.loads(records.dumps(row)), "predicted": "a"} for row in written]
    write_rows(written, path)
    content = path.read_bytes()
    content.decode()
    if not written:
        return
    if path.suffix == ".csv":
        found = list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))
        assert len(found) == len(written)
        assert all(row["predicted"] == "a" for row in found)
    else:
        _, again = parse_rows(content, name)
        assert json_bytes(again) == json_bytes(written)
