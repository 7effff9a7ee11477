"""Files of other tools give the labels that their annotators gave, or are refused by the name of what is in the way."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal.errors import PrepalError
from prepal_workers.labelled.data import LabelledData
from prepal_workers.labelled.read import read_labelled

NAMES = ("sport", "trade", "art")


def text(number: int) -> str:
    return f"A sentence about the thing with the number {number}."


def read(rows: list[dict[str, Any]], **more: Any) -> LabelledData:
    return read_labelled("\n".join(map(json.dumps, rows)).encode(), "x.jsonl", **more)


def options(*, numbered: bool) -> list[dict[str, Any]]:
    return [
        {"id": place if numbered else name, "text": name if numbered else name.upper()}
        for place, name in enumerate(NAMES)
    ]


SHAPES: dict[str, Any] = {
    "doccano": lambda n, name: {"id": n, "text": text(n), "label": [name], "Comments": ["looked at twice by me"]},
    "doccano csv": lambda n, name: {"text": text(n), "label": json.dumps([name])},
    "Label": lambda n, name: {"Text": text(n), "Label": name},
    "pandas csv": lambda n, name: {"text": text(n), "label": str([name])},
    "labels": lambda n, name: {"text": text(n), "labels": name},
    "labels list": lambda n, name: {"text": text(n), "labels": [name]},
    "annotation": lambda n, name: {"text": text(n), "annotation": name, "status": "Validated", "prediction": None},
    "label_text": lambda n, name: {"text": text(n), "label": NAMES.index(name), "label_text": name},
    "label_name": lambda n, name: {"text": text(n), "label": str(NAMES.index(name)), "label_name": name},
    "prodigy": lambda n, name: {"text": text(n), "_input_hash": n, "label": name, "answer": "accept"},
    "prodigy choice": lambda n, name: {
        "text": text(n),
        "options": options(numbered=False),
        "accept": [name],
        "answer": "accept",
        "config": {"choice_style": "single"},
    },
    "prodigy numbers": lambda n, name: {
        "text": text(n),
        "options": options(numbered=True),
        "accept": [NAMES.index(name)],
        "answer": "accept",
    },
    "spacy": lambda n, name: {"text": text(n), "cats": {one: float(one == name) for one in NAMES}},
    "argilla": lambda n, name: {
        "id": f"r{n}",
        "text": text(n),
        "topic.responses": [name],
        "topic.responses.users": ["a"],
        "topic.responses.status": ["submitted"],
        "topic.suggestion": NAMES[0],
        "status": "completed",
    },
    "argilla 1": lambda n, name: {
        "text": text(n),
        "topic": [{"user_id": "a", "value": name, "status": "submitted"}],
        "topic-suggestion": NAMES[0],
    },
    "argilla 2 as JSON": lambda n, name: {
        "id": f"r{n}",
        "status": "completed",
        "fields": {"text": text(n)},
        "metadata": {"from": "a desk by the door"},
        "suggestions": {"topic": {"value": NAMES[0], "score": None, "agent": None}},
        "responses": {"topic": [{"value": name, "user_id": "a"}]},
    },
    "doccano 1": lambda n, name: {"id": n, "text": text(n), "annotations": [{"label": name, "user": 1}], "meta": {}},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_single_label_a_text(shape: str) -> None:
    data = read([SHAPES[shape](n, NAMES[n % 3]) for n in range(12)])
    assert data.counts == dict.fromkeys(sorted(NAMES), 4)
    assert not data.multilabel
    assert [field.lower() for field in data.fields] == ["text"]
    assert data.texts == [text(n) for n in range(12)]
    assert [data.label_names[label] for label in data.labels] == [NAMES[n % 3] for n in range(12)]


@pytest.mark.parametrize(
    ("field", "answer"), [("label", None), ("labels", None), ("accept", "accept"), ("annotation", None)]
)
def test_several_labels_a_text(field: str, answer: str | None) -> None:
    rows: list[dict[str, Any]] = [{"text": text(n), field: list(NAMES[: n % 3])} for n in range(12)]
    data = read([{**row, "answer": answer} if answer else row for row in rows])
    assert data.multilabel
    assert data.counts == {"sport": 8, "trade": 4}


@pytest.mark.parametrize("shape", ["prodigy", "prodigy choice"])
def test_what_prodigy_rejected_or_ignored_is_no_label(shape: str) -> None:
    rows = [SHAPES[shape](n, NAMES[n % 3]) for n in range(12)]
    rows[0]["answer"], rows[1]["answer"], rows[4]["answer"], rows[2]["answer"] = "reject", "ignore", "reject", None
    data = read(rows)
    assert data.counts == {"art": 3, "sport": 3, "trade": 2}
    assert data.left_out == {"rejected": 2, "ignored": 1, "without an answer": 1}
    assert len(data.unlabelled) == 4


def test_a_question_and_its_answer_are_a_pair_and_not_prodigys() -> None:
    rows = [{"question": f"Who is number {n}?", "answer": f"Somebody {n}", "label": NAMES[n % 2]} for n in range(6)]
    assert read(rows).texts[1] == ("Who is number 1?", "Somebody 1")


def test_nobody_has_chosen_where_a_list_is_empty_and_the_others_have_one() -> None:
    rows = [{"text": text(n), "label": [NAMES[n % 3]] if n < 9 else []} for n in range(12)]
    data = read(rows)
    assert (data.left_out, len(data.unlabelled)) == ({"without a label": 3}, 3)
    assert "Each list in 'label' has one label: they are read as single labels." in data.notes


@pytest.mark.parametrize("row", [{"multi_label": True}, {"config": {"choice_style": "multiple"}}])
def test_who_could_have_chosen_several_chose_one(row: dict[str, Any]) -> None:
    field = "annotation" if "multi_label" in row else "accept"
    assert read([{"text": text(n), field: [NAMES[n % 3]], **row} for n in range(12)]).multilabel


def test_votes_of_argilla_are_settled_as_all_votes_are() -> None:
    rows = [SHAPES["argilla"](n, NAMES[n % 3]) for n in range(9)]
    rows[0]["topic.responses"] = ["art", "art", "sport", "sport", "sport"]
    rows[0]["topic.responses.users"] = ["b", "c", "a", "d", "e"]
    rows[0]["topic.responses.status"] = ["submitted", "submitted", "submitted", "draft", "discarded"]
    rows[1]["topic.responses"] = rows[1]["topic.responses.users"] = rows[1]["topic.responses.status"] = None
    data = read(rows)
    assert data.counts == {"art": 4, "sport": 2, "trade": 2}
    assert data.disagreements == 1
    both = [{**row, "tone.responses": ["calm"]} for row in rows]
    with pytest.raises(PrepalError, match=r"x\.jsonl has several questions \(tone, topic\): name one with --label\."):
        read(both)
    assert read(both, choice="topic").counts == data.counts


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"label": [[0, 5, "PER"]]}, "x.jsonl row 1 has \"[[0, 5, 'PER']]\" as 'label': labels are of whole texts"),
        ({"label": {"start": 0, "name": "PER"}}, "row 1 has \"{'start': 0, 'name': 'PER'}\" as 'label': labels are of"),
        (
            {"topic": "sport"},
            "x.jsonl has no labels (found: text, topic): give a Label Studio export, or name the field",
        ),
        ({"spans": [{"label": "PER"}]}, "x.jsonl has no labels (found: spans, text)"),
    ],
)
def test_what_is_no_label_of_a_text_is_named(row: dict[str, Any], says: str) -> None:
    with pytest.raises(PrepalError) as told:
        read([{"text": text(n), **row} for n in range(4)])
    assert says in str(told.value)
    assert str(told.value).endswith(".")


@pytest.mark.parametrize("between", ["|", "; ", ","])
def test_several_labels_in_a_cell_are_not_taken_for_one(between: str) -> None:
    rows = [{"text": text(n), "label": NAMES[n % 3] if n else between.join(NAMES[:2])} for n in range(9)]
    with pytest.raises(PrepalError, match=r"row 1 has 'sport.*trade' as 'label', and other labels have sport, trade"):
        read(rows)
    assert read([{**row, "label": f"{row['label']}, or so"} for row in rows[1:]]).counts.keys() >= {"art, or so"}


def test_a_field_with_the_labels_can_be_named() -> None:
    rows = [{"text": text(n), "topic": NAMES[n % 3], "label": "not this"} for n in range(6)]
    data = read(rows, choice="topic")
    assert (data.choice, data.fields, data.counts) == ("topic", ("text",), dict.fromkeys(sorted(NAMES), 2))
    with pytest.raises(PrepalError, match=r"has no field 'topics' for labels: there are label, text, topic; name one"):
        read(rows, choice="topics")
    numbers = read([{"text": text(n), "label": n % 2} for n in range(6)])
    assert numbers.label_names == ("0", "1")
    assert any("The labels in 'label' are numbers: a field 'label_text'" in note for note in numbers.notes)


@given(between=st.sampled_from("|;,"), first=st.permutations(NAMES), more=st.booleans())
def test_a_part_that_never_stands_alone_tells_of_several_labels_too(between: str, first: list[str], more: bool) -> None:
    joined = f"{first[0]}{between}{first[1]}"
    other = f"{first[1]}{between}{first[2]}" if more else first[0]
    with pytest.raises(PrepalError, match=r"write several as a list, in brackets and quotes"):
        read([{"text": text(n), "label": (joined, other)[n % 2]} for n in range(6)])


@pytest.mark.parametrize(
    "names",
    [
        ("C", "C#"),
        ("Issue #4", "Issue #5"),
        ("1,000", "2,000"),
        ("Food, drinks", "Food"),
        ("Health, safety", "Safety at work"),
        ("a;b", "c"),
    ],
)
def test_names_with_commas_and_the_like_in_them_stay_as_they_are(names: tuple[str, str]) -> None:
    assert read([{"text": text(n), "label": names[n % 2]} for n in range(6)]).counts == dict.fromkeys(sorted(names), 3)


LABELS = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=9).filter(
    str.strip
)


@given(labels=st.lists(st.lists(LABELS, min_size=2, max_size=3, unique=True), min_size=2, max_size=5))
def test_lists_as_python_and_numpy_print_them_in_a_table_are_the_same(labels: list[list[str]]) -> None:
    def counts(written: list[str]) -> dict[str, int] | str:
        table = io.StringIO(newline="")
        csv.writer(table).writerows([["text", "label"], *([text(n), one] for n, one in enumerate(written))])
        try:
            return read_labelled(table.getvalue().encode(), "x.csv").counts
        except PrepalError as error:
            return str(error)

    as_numpy = [f"[{' '.join(map(repr, names))}]" for names in labels]
    assert counts(as_numpy) == counts([repr(names) for names in labels])


@given(
    rows=st.integers(2, 5).flatmap(
        lambda k: st.lists(st.lists(st.sampled_from([0, 1]), min_size=k, max_size=k), min_size=3, max_size=9)
    ),
    kind=st.sampled_from([int, float, bool]),
)
def test_marks_for_each_label_are_not_taken_for_names(rows: list[list[int]], kind: type) -> None:
    lists = [list(map(kind, row)) for row in [*rows, [1] * len(rows[0])]]
    with pytest.raises(
        PrepalError, match=r"^x.jsonl row 1 has \[.*\] as 'label', a 0 or 1 for each label: write the names"
    ):
        read([{"text": text(n), "label": one} for n, one in enumerate(lists)])


@pytest.mark.parametrize(("first", "other"), [("label", "labels"), ("label", "annotation"), ("label", "Label")])
def test_that_another_field_has_labels_too_is_told(first: str, other: str) -> None:
    rows = [{"text": text(n), other: NAMES[n % 3], first: NAMES[n % 2]} for n in range(6)]
    said = f"The labels are those in {first!r}, and not in {other}: if that is wrong, name one with --label."
    data = read(rows)
    assert said in data.notes
    assert data.counts == {"sport": 3, "trade": 3}
    named = read(rows, choice=other)
    assert not any("The labels are those" in note for note in named.notes)
    assert set(named.counts) == set(NAMES)
