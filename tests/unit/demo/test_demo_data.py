"""The sample tickets, and somebody's own texts."""

import json
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest
from tests.helpers import ROOT

from prepal.demo.data import Ticket, load_texts, load_tickets, split
from prepal.errors import PrepalError

LABEL_CONFIG = ROOT / "label_config.xml"


def written(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_the_sample_tickets_have_exactly_the_topics_of_the_label_config() -> None:
    choices = {choice.get("value") for choice in ET.parse(LABEL_CONFIG).iter("Choice")}
    assert {ticket.topic for ticket in load_tickets()} == choices


def test_the_sample_tickets_are_about_two_thousand_and_none_occurs_twice() -> None:
    texts = [ticket.text for ticket in load_tickets()]
    assert 1950 <= len(texts) <= 2100
    assert len({text.casefold() for text in texts}) == len(texts)
    assert all(text == text.strip() != "" for text in texts)


def test_the_topics_of_the_sample_tickets_are_unevenly_spread() -> None:
    counts = Counter(ticket.topic for ticket in load_tickets())
    shares = sorted(count / counts.total() for count in counts.values())
    assert 0.02 < shares[0] < 0.04
    assert 0.25 < shares[-1] < 0.31


def test_texts_come_from_csv_with_or_without_labels(tmp_path: Path) -> None:
    labelled = written(tmp_path / "a.csv", 'id,label,text\n1,x,"one, two\nthree"\n2,,four\n')
    assert load_texts(labelled) == [Ticket("one, two\nthree", "x"), Ticket("four", None)]
    bare = written(tmp_path / "b.csv", "text\none\n")
    assert load_texts(bare) == [Ticket("one", None)]


def test_a_csv_file_saved_by_excel_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.CSV"
    path.write_bytes("text,label\r\nschön 😊,x\r\n".encode("utf-8-sig"))
    assert load_texts(path) == [Ticket("schön 😊", "x")]


def test_texts_come_from_jsonl(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b", "label": "x"}, {"text": "c"}, {"text": "d", "label": None}]
    path = written(tmp_path / "a.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n")
    assert load_texts(path) == [Ticket("a\u2028b", "x"), Ticket("c", None), Ticket("d", None)]


def test_a_very_long_text_is_read(tmp_path: Path) -> None:
    text = "word " * 60_000
    assert load_texts(written(tmp_path / "a.csv", f"text\n{text}\n")) == [Ticket(text.strip(), None)]


def test_empty_and_repeated_texts_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'text,label\none,x\n" ",x\n one ,y\ntwo,y\n')
    assert load_texts(path) == [Ticket("one", "x"), Ticket("two", "y")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "one", "a.txt is of a kind that cannot be read: give a file ending in .csv or .jsonl."),
        (
            "a.csv",
            "body,label\none,x\n",
            "line 2 has no 'text' (found: body, label): name the field of the texts 'text'.",
        ),
        ("a.csv", "", "has no texts: fill its column 'text'."),
        ("a.csv", "text,label\n", "has no texts: fill its column 'text'."),
        ("a.csv", 'text\n"one\n', "is not CSV (unexpected end of data): mend its quotes."),
        ("a.jsonl", '{"text": "one"}\n{"text"\n', "line 2 is not JSON"),
        ("a.csv", "text,label\none\n", "row 1 has more or fewer fields than the header: mend it."),
        ("a.jsonl", '["one"]\n', "line 1 is not an object: write one object per line."),
        ("a.jsonl", '{"text": "one"}\n{"body": "one"}\n', "line 2 has no 'text' (found: body): name the field"),
        ("a.jsonl", "{}\n", "line 1 has no 'text' (found: nothing)"),
        ("a.jsonl", '{"text": 5}\n', "line 1 has the text 5: write it as a string."),
        ("a.jsonl", '{"text": "one", "label": ["x"]}\n', "line 1 has the label ['x']: the demo takes one string"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_and_the_remedy(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(PrepalError) as caught:
        load_texts(written(tmp_path / name, content))
    assert message in str(caught.value)


def test_a_file_that_is_missing_or_not_utf_8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        PrepalError, match=r"none\.csv cannot be opened \(No such file or directory\): check the path\."
    ):
        load_texts(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("text\nschön\n".encode("latin-1"))
    with pytest.raises(
        PrepalError, match=r"latin\.csv is not UTF-8 \(byte 8\), but perhaps .*1252: save it as UTF-8\."
    ):
        load_texts(tmp_path / "latin.csv")


def test_the_split_is_the_same_each_time_and_loses_nothing() -> None:
    tickets = load_tickets()
    pool, held_back = split(tickets)
    assert (pool, held_back) == split(tickets)
    assert len(held_back) == 500
    assert Counter(pool + held_back) == Counter(tickets)
    assert split(tickets, seed=1)[1] != held_back


def test_not_everything_can_be_held_back() -> None:
    with pytest.raises(PrepalError, match="2 of 2 texts cannot be held back: give more texts"):
        split([Ticket("a", None), Ticket("b", None)], held_back=2)
