"""Reading labelled texts: what an export says, in all of its formats, and data files."""

import json
from pathlib import Path
from typing import Any

import pytest
from label_studio_sdk.converter import Converter

from prepal.errors import PrepalError
from prepal.labels.label_config import parse
from prepal_workers.labelled.data import LabelledData
from prepal_workers.labelled.read import read_labelled

CONFIG = """<View><Text name="t" value="$text"/>
<Choices name="topic" toName="t" choice="{}"><Choice value="Billing"/><Choice value="Shipping"/></Choices>
<Choices name="tone" toName="t"><Choice value="calm"/><Choice value="angry"/></Choices>
<TextArea name="comment" toName="t"/></View>"""


def annotation(who: int, *chosen: str, at: int = 0, tag: str = "topic", **more: Any) -> dict[str, Any]:
    moment = f"2026-01-01T00:{at // 60:02}:{at % 60:02}.000000Z"
    result = [{"from_name": tag, "to_name": "t", "type": "choices", "value": {"choices": list(chosen)}}]
    return {
        "completed_by": who,
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": moment,
        "updated_at": moment,
        "lead_time": 1.5,
        "result": result if chosen else [],
        **more,
    }


def task(number: int, *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    numbered = [{"id": number * 10 + place, **a} for place, a in enumerate(annotations)]
    data = {"text": f'Parcel {number} is "late",\nsays Zoë', "source": "mail", "ticket": f"T-{number:06}"}
    return {"id": number, "data": data, "annotations": numbered, "drafts": [], "meta": {}, **more}


def three_annotators() -> list[dict[str, Any]]:
    """60 tasks: every tenth is disputed, some are skipped, empty or not begun."""
    tasks = []
    for number in range(1, 61):
        right, wrong = ("Billing", "Shipping") if number % 3 else ("Shipping", "Billing")
        third = wrong if number % 10 == 0 else right
        votes = [annotation(1, right, at=number), annotation(2, right, at=number + 60), annotation(3, third, at=5)]
        tasks.append(task(number, *votes))
    tasks.append(task(61, annotation(1, "Billing", was_cancelled=True)))
    tasks.append(task(62, annotation(1)))
    tasks.append(task(63, drafts=[9]))
    return tasks


def exported(tasks: list[dict[str, Any]], kind: str, folder: Path, config: str = CONFIG.format("single")) -> bytes:
    """The export that Label Studio's own converter writes."""
    source = folder / "tasks.json"
    source.write_text(json.dumps(tasks), encoding="utf-8")
    if kind == "JSON":
        return source.read_bytes()
    Converter(config, None).convert(str(source), str(folder / kind), kind, is_dir=False)
    (result,) = (folder / kind).iterdir()
    return result.read_bytes()


def read(tasks: list[dict[str, Any]], **more: Any) -> LabelledData:
    return read_labelled(json.dumps(tasks).encode(), "export.json", **more)


def labels_of(data: LabelledData) -> list[str]:
    return [data.label_names[label] for label in data.labels]


@pytest.mark.parametrize("kind", ["JSON", "JSON_MIN", "CSV", "TSV"])
def test_all_formats_give_the_same_training_set(kind: str, tmp_path: Path) -> None:
    data = read_labelled(exported(three_annotators(), kind, tmp_path), "export")
    assert data.kind == kind
    assert data.texts == [f'Parcel {number} is "late",\nsays Zoë' for number in range(1, 61)]
    assert labels_of(data) == ["Billing" if number % 3 else "Shipping" for number in range(1, 61)]
    assert data.fields == ("text",)
    assert data.choice == "topic"
    assert data.counts == {"Billing": 40, "Shipping": 20}
    assert data.disagreements == 6
    assert data.votes is not None
    assert data.votes.shape == (60, 3)
    assert [len(set(row)) == 2 for row in data.votes.tolist()] == [number % 10 == 0 for number in range(1, 61)]
    assert (data.votes[:, :2] == data.labels[:, None]).all()


def test_json_says_what_it_left_out() -> None:
    data = read(three_annotators())
    assert data.left_out == {"skipped": 1, "with nothing chosen": 1, "with a draft only": 1}
    assert data.unlabelled == [f'Parcel {number} is "late",\nsays Zoë' for number in (61, 62, 63)]
    assert data.summary()[0] == "JSON: 63 tasks, 60 labelled texts with one label each from text, labels from topic."
    assert data.summary()[3] == "Left out: 1 skipped, 1 with nothing chosen, 1 with a draft only."


@pytest.mark.parametrize("kind", ["JSON", "JSON_MIN", "CSV", "TSV"])
def test_several_labels_a_text(kind: str, tmp_path: Path) -> None:
    tasks = [task(n, annotation(1, *(["Billing", "Shipping"] if n % 2 else ["Billing"]))) for n in range(1, 9)]
    data = read_labelled(exported(tasks, kind, tmp_path, CONFIG.format("multiple")), "export")
    assert data.multilabel
    assert data.labels.tolist() == [[True, n % 2 == 1] for n in range(1, 9)]


def test_a_text_without_a_label_that_most_annotators_share_is_left_out() -> None:
    tasks = [task(n, annotation(1, "Billing", "Shipping"), annotation(2, "Billing")) for n in range(1, 5)]
    tasks += [task(n, *(annotation(who, label) for who, label in enumerate("abc"))) for n in (5, 6)]
    data = read(tasks)
    assert data.task_ids.tolist() == [1, 2, 3, 4]
    assert data.left_out == {"without a choice that most annotators share": 2}
    assert data.how_many == "some"


@pytest.mark.parametrize("kind", ["JSON", "JSON_MIN", "CSV", "TSV"])
def test_of_several_choices_tags_one_must_be_named(kind: str, tmp_path: Path) -> None:
    tasks = []
    for n in range(1, 25):
        one = annotation(1, "Billing" if n % 2 else "Shipping")
        one["result"] += annotation(1, "calm" if n % 3 else "angry", tag="tone")["result"]
        tasks.append(task(n, one))
    content = exported(tasks, kind, tmp_path)
    with pytest.raises(PrepalError, match=r"tone, topic.*--choice"):
        read_labelled(content, "export")
    data = read_labelled(content, "export", choice="tone")
    assert data.counts == {"angry": 8, "calm": 16}
    assert data.fields == ("text",)


def test_ground_truth_wins_and_a_tie_goes_to_the_newest() -> None:
    tasks = [
        task(1, annotation(1, "Billing", at=1), annotation(2, "Billing", at=2), annotation(3, "Shipping")),
        task(2, annotation(1, "Billing", at=9), annotation(2, "Shipping", at=3)),
    ]
    tasks[0]["annotations"][2]["ground_truth"] = True
    data = read(tasks)
    assert labels_of(data) == ["Shipping", "Billing"]
    assert data.votes is not None
    assert data.votes.tolist() == [[-1, -1, -1], [0, 1, -1]]


def test_audit_tasks_are_those_that_the_export_marks_or_that_are_named() -> None:
    tasks = [task(n, annotation(1, "Billing" if n % 2 else "Shipping")) for n in range(1, 5)]
    tasks[2]["meta"] = {"prepal_audit": True}
    assert read(tasks, audits=[1]).is_audit.tolist() == [True, False, True, False]


def test_prose_fields_are_joined_and_codes_left_out() -> None:
    tasks = [task(n, annotation(1, "Billing" if n % 2 else "Shipping")) for n in range(1, 9)]
    for n, one in enumerate(tasks):
        one["data"] = {
            "title": f"Where is parcel {n}?",
            "body": f"I wait for number {n}.",
            "url": f"https://x.y/{n:09}",
        }
    data = read(tasks)
    assert data.fields == ("body", "title")
    assert data.texts[0] == "I wait for number 0.\nWhere is parcel 0?"
    assert read(tasks, fields=["title", "body"]).texts[0] == "Where is parcel 0?\nI wait for number 0."
    assert read(tasks, fields=["title", "body"], pair=True).texts[0] == ("Where is parcel 0?", "I wait for number 0.")


def test_a_label_config_says_which_fields_are_text_and_which_choices_there_are() -> None:
    tasks = [task(n, annotation(1, "Shipping" if n % 2 else "Billing")) for n in range(1, 5)]
    tasks[0]["annotations"].append({"id": 99, **annotation(2, "Gone")})
    for one in tasks:
        one["data"]["text"] = f"<b>Where</b> is it, {one['id']}?"
    config = parse(CONFIG.format("single").replace("<Text ", "<HyperText "))
    data = read(tasks, config=config)
    assert data.texts[0] == "Where is it, 1?"
    assert data.label_names == ("Billing", "Shipping")
    assert labels_of(data)[0] == "Shipping"


def test_data_files() -> None:
    pairs = b'{"text_a": "Who?", "text_b": "Ada.", "label": "yes"}\n{"text_a": "When?", "text_b": "", "label": "no"}\n'
    pairs += (
        b'{"text_a": "Why?", "text_b": "Perhaps.", "label": "no"}\n{"text_a": "How?", "text_b": "So.", "label": null}\n'
    )
    data = read_labelled(pairs, "pairs.jsonl")
    assert data.texts == [("Who?", "Ada."), ("Why?", "Perhaps.")]
    assert data.left_out == {"without a text": 1, "without a label": 1}
    lists = read_labelled(b'{"text":"Both it is","label":["a","b"]}\n{"text":"None it is","label":[]}\n', "x.jsonl")
    assert lists.labels.tolist() == [[True, True], [False, False]]
    table = read_labelled(b'label,text\na,"One, two"\nb,Three\n', "x.csv")
    assert (table.kind, table.texts, labels_of(table)) == ("CSV", ["One, two", "Three"], ["a", "b"])


def test_a_label_with_one_example_is_kept_and_said() -> None:
    tasks = [task(n, annotation(1, "Billing" if n > 1 else "Shipping")) for n in range(1, 5)]
    data = read(tasks)
    assert data.counts == {"Billing": 3, "Shipping": 1}
    assert data.notes[0].startswith("Shipping: fewer than 2 examples")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "export is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b'[{"id": 1, "data": {"text": "x"}, "annotations": [', "export is not JSON"),
        (b"[3]", "something else than an object as its item 1"),
        (b'{"text": "x", "label": "a"}\n{"text": ', "line 2 is not JSON"),
        (b'text,label\n"x,a\n', "is not CSV"),
        (b"text,label\nx,a,b\n", "row 1 has more or fewer fields"),
        (b"text,topic\nx,a\n", "no labels.*text, topic"),
        (b'[{"id": 1, "data": {"text": "x"}, "annotations": []}]', "has no labels"),
        (b'{"text": "One text", "label": "a"}\n{"text": "Two texts", "label": "a"}\n', "All 2 labels .* 'a'"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(content: bytes, message: str) -> None:
    with pytest.raises(PrepalError, match=message) as error:
        read_labelled(content, "export")
    assert "\n" not in str(error.value)


def test_an_unknown_tag_is_named_with_those_there_are() -> None:
    with pytest.raises(PrepalError, match=r"no choices of the tag 'mood' \(found: topic\)"):
        read(three_annotators(), choice="mood")


def test_equal_texts_are_told_and_contradictory_ones_named() -> None:
    rows = [{"text": f"Text number {n % 6}", "label": "ab"[n % 2]} for n in range(12)]
    data = read_labelled(json.dumps(rows).encode(), "rows.json")
    assert data.groups.tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert data.contradictory == []
    said = "Equal texts: there are 6 different ones, and none is both learnt from and judged by."
    assert said in data.summary()
    rows[7]["label"], rows[8]["text"] = "a", "  Text number 2\n"
    data = read_labelled(json.dumps(rows).encode(), "rows.json")
    assert data.contradictory == [2, 8]
    assert any("equal ones with different labels are in the tasks 2, 8: correct these." in s for s in data.summary())
    assert not any("Equal texts" in line for line in read(three_annotators()).summary())


FORMS = ("Café", "Cafe\u0301")  # one character, or a letter and its accent


def test_labels_that_differ_only_in_their_unicode_form_are_one() -> None:
    rows = [{"text": f"Some text {n}", "label": "tea" if n % 3 == 0 else FORMS[n % 3 - 1]} for n in range(9)]
    rows.append({"text": "One more text", "label": FORMS[1]})
    assert read_labelled(json.dumps(rows).encode(), "rows.json").counts == {FORMS[1]: 7, "tea": 3}
    tasks = [task(n, annotation(1, FORMS[n % 2] if n < 5 else "tea")) for n in range(1, 9)]
    assert read(tasks).counts in ({FORMS[0]: 4, "tea": 4}, {FORMS[1]: 4, "tea": 4})
    for form in FORMS:
        choices = f'<Choice value="{form}"/><Choice value="tea"/>'
        config = f'<View><Text name="t" value="$text"/><Choices name="topic" toName="t">{choices}</Choices></View>'
        data = read(tasks, config=parse(config))
        assert data.counts == {form: 4, "tea": 4}
        assert data.disagreements == 0


def test_exact_names_win_where_the_config_has_both_forms() -> None:
    both = "".join(f'<Choice value="{form}"/>' for form in FORMS)
    config = f'<View><Text name="t" value="$text"/><Choices name="topic" toName="t">{both}</Choices></View>'
    tasks = [task(n, annotation(1, FORMS[n % 2])) for n in range(1, 9)]
    assert read(tasks, config=parse(config)).counts == dict.fromkeys(FORMS, 4)


def test_what_breaks_lines_in_a_text_does_not_break_rows() -> None:
    texts = [f"One\u2028two\u0085three\x0cfour {n}" for n in range(4)]
    for ends in ("\n", "\r\n", "\r"):
        table = ends.join(["text,label", *(f"{text},{label}" for text, label in zip(texts, "abab", strict=True))])
        data = read_labelled(table.encode(), "rows.csv")
        assert data.texts == texts
        assert data.counts == {"a": 2, "b": 2}


def test_half_characters_are_replaced() -> None:
    tasks = [task(n, annotation(1, "Billing\ud83d" if n % 2 else "Shipping")) for n in range(1, 5)]
    for one in tasks:
        one["data"]["text"] = f"Half a smile \ude00 number {one['id']}"
    data = read(tasks)
    assert data.texts[0] == "Half a smile \ufffd number 1"
    assert data.label_names == ("Billing\ufffd", "Shipping")
    deep = b'{"text": "x", "label": "a", "more": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    with pytest.raises(PrepalError, match=r"^x.json is not JSON \(the JSON is nested too deeply\)"):
        read_labelled(deep, "x.json")
    with pytest.raises(
        PrepalError, match=r"^x.jsonl has values that lie 100 deep in other ones: make its rows flat\.$"
    ):
        read_labelled(b'{"text": "x", "label": "a"}\n{"text": ' + b"[" * 150 + b"]" * 150 + b"}", "x.jsonl")
