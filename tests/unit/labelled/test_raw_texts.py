"""Texts without a label in files of every kind, and which of them are asked for beliefs."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal.errors import PrepalError
from prepal_workers.labelled.data import LabelledData
from prepal_workers.labelled.raw_texts import others, read_texts
from prepal_workers.labelled.read import read_labelled
from prepal_workers.labelled.wording import words_of

TEXTS = ["Where is my parcel?", "I was charged twice, again.", "[urgent] the kettle leaks", 'He said "no", then left.']


def labelled(*rows: dict[str, object]) -> LabelledData:
    told = rows or ({"text": "A first text.", "label": "a"}, {"text": "A second text.", "label": "b"})
    return read_labelled("\n".join(map(json.dumps, told)).encode(), "rows.jsonl")


def table(rows: list[dict[str, str]], delimiter: str) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


@pytest.mark.parametrize("name", ["rest.jsonl", "rest.json", "-"])
def test_rows_of_json(name: str) -> None:
    rows = [{"text": text, "source": "mail"} for text in TEXTS]
    for content in ("\n".join(map(json.dumps, rows)), json.dumps(rows), json.dumps(rows, indent=1)):
        assert read_texts(content.encode(), name, labelled()) == TEXTS


@pytest.mark.parametrize(("name", "delimiter"), [("rest.csv", ","), ("rest.tsv", "\t"), ("standard input", ",")])
def test_rows_of_a_table(name: str, delimiter: str) -> None:
    rows = [{"id": str(n), "text": text} for n, text in enumerate(TEXTS)]
    assert read_texts(table(rows, delimiter), name, labelled()) == TEXTS


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_text_a_line_whatever_ends_it(end: str) -> None:
    texts = [f"{text}\u2028{text}" for text in (TEXTS[1], TEXTS[0], *TEXTS[2:])]
    assert read_texts((end + end.join(texts) + end * 2).encode(), "rest.txt", labelled()) == texts


def test_tasks_of_label_studio_with_and_without_annotations() -> None:
    tasks = [{"id": n, "data": {"text": text}, "annotations": []} for n, text in enumerate(TEXTS)]
    assert read_texts(json.dumps(tasks).encode(), "tasks.json", labelled()) == TEXTS
    assert read_texts(json.dumps([{"data": task["data"]} for task in tasks]).encode(), "x", labelled()) == TEXTS


def test_the_fields_are_those_of_the_labels_where_there_are_such() -> None:
    data = labelled(
        {"title": "One thing that is long", "body": "is this here, at length", "label": "a"},
        {"title": "And another that is, too", "body": "is so and not otherwise", "label": "b"},
    )
    assert data.fields == ("body", "title")
    rows = [{"title": "Three words here", "note": "a note that is long enough", "body": "and a body"}]
    assert read_texts(json.dumps(rows).encode(), "x.json", data) == ["and a body\nThree words here"]
    assert read_texts(json.dumps(rows).encode(), "x.json", data, fields=["note"]) == ["a note that is long enough"]
    assert read_texts(b'{"message": "It is another field here."}', "x.jsonl", data) == ["It is another field here."]


def test_pairs_are_pairs_here_too() -> None:
    rows = [{"text_a": f"question {n}", "text_b": f"answer {n}"} for n in range(3)]
    data = labelled(*({**row, "label": "ab"[n % 2]} for n, row in enumerate(rows)))
    assert data.pairs
    assert read_texts(json.dumps(rows).encode(), "x.json", data) == [("question 0", "answer 0"), *data.texts[1:]]


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"", "none.txt", "none.txt has no texts: give"),
        (b"\n \r\n", "none", "none has no texts: give"),
        (b"[]", "none.json", "none.json has no texts: give"),
        (b"\xff\xfe", "latin", "latin is not UTF-8"),
        (b'{"text": "a"', "broken.jsonl", "broken.jsonl is not JSON"),
        (b'{"text": "a"}\n{"text"', "broken.jsonl", "broken.jsonl line 2 is not JSON"),
        (b'text,b\n"a', "broken.csv", "broken.csv line 2 is not CSV"),
        (
            b'{"text_a": "one", "text_b": "two"}',
            "pairs.jsonl",
            "pairs.jsonl has pairs of texts, and those with",
        ),
    ],
)
def test_a_wrong_file_is_told_in_one_sentence(content: bytes, name: str, says: str) -> None:
    with pytest.raises(PrepalError) as told:
        read_texts(content, name, labelled())
    assert says in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", [b"one text a line\nand another", b'{"text": "a single text is here"}'])
def test_single_texts_are_refused_where_labels_are_of_pairs(content: bytes) -> None:
    rows = [{"text_a": f"question {n}", "text_b": f"answer {n}", "label": "ab"[n % 2]} for n in range(3)]
    with pytest.raises(PrepalError, match="text_a and text_b"):
        read_texts(content, "rest", labelled(*rows))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=60), st.integers(0, 40), st.integers(0, 9))
def test_each_text_is_asked_once_and_none_that_has_a_label(drawn: list[tuple[int, int]], most: int, seed: int) -> None:
    forms = ("Text {}", "text {}!", "<b>TEXT</b> {}", " text  {}\n")
    data = labelled(*({"text": f"text {n}", "label": "ab"[n % 2]} for n in range(6)))
    texts = [forms[form].format(number) for number, form in drawn]
    found = others(texts, data, most, seed)
    said = [words_of(text) for text in found]
    possible = {words_of(text) for text in texts} - {words_of(text) for text in data.texts}
    assert len(set(said)) == len(said) == min(most, len(possible))
    assert set(said) <= possible
    assert set(found) <= set(texts)
    assert found == others(texts, data, most, seed)
