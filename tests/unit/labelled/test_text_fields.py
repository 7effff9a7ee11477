"""Which fields of a file are its text, and that they are read as the live loop reads them."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal import records
from prepal.errors import PrepalError
from prepal.labels.label_config import parse
from prepal_workers.labelled.exports import config_of
from prepal_workers.labelled.fields import TextFields
from prepal_workers.labelled.read import read_labelled

CHOICES = '<Choices name="topic" toName="t"><Choice value="yes"/><Choice value="no"/></Choices>'
SHOWN = {
    "Text": '<Text name="t" value="$words"/>',
    "HyperText": '<HyperText name="t" value="$words"/>',
    "Paragraphs": '<Paragraphs name="t" value="$words" nameKey="{}" textKey="{}"/>',
}
TURNS = (("author", "text"), ("role", "content"), ("speaker", "phrase"), ("from", "value"), ("sender", "message"))


def rows_of(values: Sequence[object], **more: object) -> list[dict[str, Any]]:
    return [{"words": value, **more} for value in values]


def plain(number: int) -> str:
    return f"Nobody came on day {number}, and the shop was closed."


def exported(rows: Sequence[dict[str, Any]]) -> bytes:
    def annotation(number: int) -> dict[str, Any]:
        result = [{"from_name": "topic", "to_name": "t", "type": "choices", "value": {"choices": ["yn"[number % 2]]}}]
        return {"id": number + 1, "completed_by": 1, "result": result}

    return json.dumps(
        [{"id": place + 1, "data": row, "annotations": [annotation(place)]} for place, row in enumerate(rows)]
    ).encode()


HTML = [
    f"<div class='mail'><style>p{{margin:0}}</style><p>Dear&nbsp;team,</p><p>{plain(n)}</p></div>" for n in range(9)
]


@pytest.mark.parametrize("values", [[plain(n) for n in range(9)], HTML])
def test_a_text_or_html_is_read_as_its_tag_shows_it(values: list[str]) -> None:
    tag = "HyperText" if values is HTML else "Text"
    config = parse(f"<View>{SHOWN[tag]}{CHOICES}</View>")
    data = read_labelled(exported(rows_of(values)), "x")
    assert data.texts == [config.text({"words": value}) for value in values]
    assert read_labelled(exported(rows_of(values)), "x", fields=["words"]).texts == data.texts


@pytest.mark.parametrize("keys", TURNS)
@pytest.mark.parametrize("wanted", [(), ("words",)])
def test_a_dialogue_is_read_turn_by_turn(keys: tuple[str, str], wanted: tuple[str, ...]) -> None:
    who, said = keys
    values = [[{who: "Ada", said: plain(n), "at": "9:00"}, {who: "Desk", said: "Let me look."}] for n in range(9)]
    config = parse(f"<View>{SHOWN['Paragraphs'].format(who, said)}{CHOICES}</View>")
    data = read_labelled(exported(rows_of(values)), "x", fields=wanted)
    assert data.texts == [config.text({"words": value}) for value in values]
    assert data.texts[0] == f"Ada: {plain(0)}\nDesk: Let me look."


kinds = st.sampled_from(["Text", "HyperText", *TURNS])
words = st.sampled_from(
    ["Where is it?", "a &amp; b", "<b>bold</b> and not", "x < y", "One\ntwo", " spaces ", "", "漢字"]
)


@given(kinds, st.lists(words, min_size=1, max_size=5))
def test_what_a_model_learnt_from_is_what_it_reads_later(kind: Any, said: list[str]) -> None:
    tag = kind if isinstance(kind, str) else "Paragraphs"
    who, what = kind if tag == "Paragraphs" else ("", "")
    rows = rows_of(
        [[{who: "Ada", what: one}] if tag == "Paragraphs" else one for one in (*said, "One that says something.")]
    )
    config = parse(f"<View>{SHOWN[tag].format(who, what)}{CHOICES}</View>")
    for found in (TextFields.find(rows, "x", config=config), TextFields.find(rows, "x", ["words"])):
        again = TextFields.remembered(records.loads(records.dumps(found.to_json())))
        texts = [found.text(row) for row in rows]
        assert [again.text(row) for row in rows] == texts
        # In a table, a dialogue lies as JSON.
        if tag == "Paragraphs":
            assert [again.text({"words": json.dumps(row["words"])}) for row in rows] == texts


def test_a_model_of_an_earlier_release_is_read() -> None:
    assert TextFields.remembered({"fields": ["$text"], "pairs": False}).text({"text": "One"}) == "One"
    assert TextFields.remembered({"fields": ["a", "b"], "pairs": True}).text({"a": "One", "b": "two"}) == ("One", "two")


BESIDE = {
    "created_at": "2026-02-03 09:00:00",
    "customer_name": "Ada Lovelace the Second",
    "note": "called back, and was nice about it",
    "comments": "this is not what was labelled here",
    "id": "T-000000000017",
    "url": "https://example.org/a/long/path/of/it",
    "language": "en",
}


@pytest.mark.parametrize(
    "name", ["text", "body", "message", "content", "review", "ticketBody", "mail.text", "email_body"]
)
def test_dates_names_and_notes_are_no_texts_where_one_is_called_so(name: str) -> None:
    rows: list[dict[str, Any]] = []
    for number in range(12):
        outer, _, inner = name.partition(".")
        beside = {key: f"{value} {number}" for key, value in BESIDE.items()}
        rows.append({**beside, outer: {inner: plain(number)} if inner else plain(number)})
    data = read_labelled(exported(rows), "x")
    assert (data.fields, data.texts) == ((name,), [plain(number) for number in range(12)])
    note = data.notes[-1]
    assert note.startswith(f"The text is {name}, and not ")
    assert note.endswith("if that is wrong, name fields by --text, or give the label config by --config.")


def test_prose_that_is_called_anything_is_found_beside_what_never_is_a_text() -> None:
    rows = [{**{k: f"{v} {n}" for k, v in BESIDE.items()}, "anliegen": plain(n)} for n in range(12)]
    assert read_labelled(exported(rows), "x").fields == ("anliegen",)
    rows = [{"comment": plain(n), "stars": "5"} for n in range(12)]
    assert read_labelled(exported(rows), "x").fields == ("comment",)


def test_a_config_says_it_better_than_names() -> None:
    rows = [{"text": plain(n), "note": f"<i>note</i> {n}, which is shown"} for n in range(4)]
    config = parse(f'<View><HyperText name="t" value="$note"/>{CHOICES.replace("yes", "y").replace("no", "n")}</View>')
    data = read_labelled(exported(rows), "x", config=config)
    assert data.texts == [f"note {n}, which is shown" for n in range(4)]


TWO = (
    '<View><HyperText name="t" value="$page"/><Text name="u" value="$extra"/>'
    + CHOICES.replace("yes", "y").replace("no", "n")
    + '<Choices name="tone" toName="{}"><Choice value="y"/><Choice value="n"/></Choices></View>'
)


@pytest.mark.parametrize("other", ["t", "u"])
def test_each_question_of_a_config_reads_what_the_config_shows_for_it(other: str) -> None:
    xml = TWO.format(other)
    rows = [
        {"page": f"<i>page</i> {n}, which is one", "extra": f"more {n}, and more", "text": plain(n)} for n in range(4)
    ]
    tasks = json.loads(exported(rows))
    for task in tasks:
        (result,) = task["annotations"][0]["result"]
        task["annotations"][0]["result"] += [{**result, "from_name": "tone"}]
    tasks[0]["meta"] = {"prepal_label_config": xml}
    for choice in (None, "topic", "tone"):
        config = config_of(xml, choice)
        assert config is not None
        assert config.from_name == (choice or "topic")
        data = read_labelled(json.dumps(tasks).encode(), "x", choice=choice)
        assert data.texts == [config.text(row) for row in rows]
        assert plain(0) not in data.texts[0]
    assert config_of(xml, "mood") is None
    with pytest.raises(PrepalError, match=r"no choices of the tag 'mood' \(found: tone, topic\)"):
        read_labelled(json.dumps(tasks).encode(), "x", choice="mood")


NESTED = [{"mail": {"body": plain(n), "from": "a@example.org", "parts": [1, 2]}, "n": n} for n in range(6)]


def test_fields_lie_in_fields_and_several_are_joined() -> None:
    data = read_labelled(exported(NESTED), "x", fields=["mail.body", "mail.from"])
    assert data.texts[1] == f"{plain(1)}\na@example.org"
    talks = [{"turns": [{"text": "Hello."}, {"text": plain(n)}]} for n in range(6)]
    assert read_labelled(exported(talks), "x", fields=["turns[1].text"]).texts[3] == plain(3)
    flat = [{"mail.body": plain(n), "mail": {"body": "another"}} for n in range(6)]
    assert read_labelled(exported(flat), "x", fields=["mail.body"]).texts[2] == plain(2)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (
            "bodi",
            "No task of x has the field 'bodi': there are mail.body, mail.from, mail.parts, n; name one of these.",
        ),
        ("mail.bod", "No task of x has the field 'mail.bod': there are mail.body, "),
        (
            "mail",
            "The field 'mail' of x holds lists or objects that are no texts: name one within it, such as mail.body",
        ),
        ("mail.parts", "The field 'mail.parts' of x holds lists or objects that are no texts: name another one with"),
    ],
)
def test_a_field_that_is_wanted_and_is_no_text_is_named_with_those_that_are(wanted: str, says: str) -> None:
    with pytest.raises(PrepalError) as told:
        read_labelled(exported(NESTED), "x", fields=[wanted])
    assert str(told.value).startswith(says)
    assert str(told.value).endswith(".")


@pytest.mark.parametrize("form", ["https://example.org/{}.txt", "s3://bucket/a/{}", "/data/upload/3/{}.txt"])
def test_addresses_are_no_texts(form: str) -> None:
    content = exported(rows_of([form.format(n) for n in range(8)]))
    config = parse(f"<View>{SHOWN['Text']}{CHOICES.replace('yes', 'y').replace('no', 'n')}</View>")
    for more in ({}, {"fields": ["words"]}, {"config": config}):
        with pytest.raises(PrepalError, match=r"^The texts of x in \$?words are addresses, which nobody reads: give"):
            read_labelled(content, "x", **more)
    assert read_labelled(exported(rows_of([f"See {form.format(n)}" for n in range(8)])), "x").texts


def test_tags_in_some_texts_are_told() -> None:
    rows = rows_of([plain(n) if n % 3 else f"<p>{plain(n)}</p>" for n in range(9)])
    data = read_labelled(exported(rows), "x")
    assert data.texts[0] == f"<p>{plain(0)}</p>"
    assert "the tags in some of words are read as they are" in data.notes[-1]


CELLS = st.recursive(
    st.text(st.characters(codec="utf-8", categories=("L", "N"))),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b"]), inner, min_size=1),
    max_leaves=4,
)


@given(CELLS)
def test_json_in_a_cell_is_read_like_the_object_that_it_is(more: Any) -> None:
    objects = [{"more": more, "mail": {"body": plain(n)}, "label": "yn"[n % 2]} for n in range(6)]
    cells = [{**row, "mail": json.dumps(row["mail"])} for row in objects]
    as_objects, as_cells = (read_labelled(json.dumps(rows).encode(), "x") for rows in (objects, cells))
    assert as_cells.texts == as_objects.texts
    assert as_cells.fields == as_objects.fields


@pytest.mark.parametrize("depth", [120, 990, 1010, 100_000])
def test_json_in_a_cell_that_is_deeper_than_any_data_does_no_harm(depth: int) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    data = read_labelled(
        json.dumps([{"body": plain(n), "deep": deep, "label": "yn"[n % 2]} for n in range(4)]).encode(), "x"
    )
    assert data.texts == [plain(n) for n in range(4)]


@pytest.mark.parametrize("count", [4, 600])
def test_where_no_text_can_be_read_the_reason_is_told(count: int) -> None:
    choices = CHOICES.replace('"yes"', '"y"').replace('"no"', '"n"')
    config = config_of(f"<View>{SHOWN['Text']}{choices}</View>", None)
    other = [{"phrase": plain(number)} for number in range(count)]
    with pytest.raises(
        PrepalError, match=r"^No task of x has a text to read \(the config reads \$words, the task has 'phr"
    ):
        read_labelled(exported(other), "x", config=config)
    last = [*other[:-2], {"words": "Nobody."}, {"words": "All."}]
    assert read_labelled(exported(last), "x", config=config).texts == ["Nobody.", "All."]
