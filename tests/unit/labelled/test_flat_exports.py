"""JSON_MIN, CSV and TSV say the same as the JSON export, whatever the fields and the tags of a project are called."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.converter import Converter

from prepal.errors import PrepalError
from prepal.labels.label_config import parse
from prepal_workers.labelled.data import LabelledData
from prepal_workers.labelled.read import read_labelled

TOPICS = ("Delivery", "Billing", "Question")
SUBJECTS = ("The parcel", "My invoice", "A box", "Our order", "This letter", "The courier")
ENDS = ("is here too early", "was wrong, again", "has come to nobody", 'says "no" at the door')


def config_of(tag: str, field: str = "text", choice: str = "single") -> str:
    choices = "".join(f'<Choice value="{topic}"/>' for topic in TOPICS)
    return (
        f'<View><Text name="shown" value="${field}"/><Choices name="{tag}" toName="shown" choice="{choice}">{choices}'
        '</Choices><TextArea name="remark" toName="shown"/></View>'
    )


def text_of(number: int) -> str:
    return f"{SUBJECTS[number % 6]} {ENDS[number % 4]}; it is the {number}th."


def tasks_of(
    data: list[dict[str, Any]], tag: str = "topic", *, annotators: int = 1, remarks: bool = False, several: bool = False
) -> list[dict[str, Any]]:
    tasks = []
    for number, one in enumerate(data):
        annotations = []
        for who in range(1, annotators + 1):
            place = (number + (who == 3 and number % 5 == 0)) % 3
            chosen = [TOPICS[place], *([TOPICS[(place + 1) % 3]] if several and number % 2 else [])]
            result: list[dict[str, Any]] = [
                {"from_name": tag, "to_name": "shown", "type": "choices", "value": {"choices": chosen}}
            ]
            if remarks:
                said = {"text": [f"I think that number {number} was not hard for me, who am {who}"]}
                result.append({"from_name": "remark", "to_name": "shown", "type": "textarea", "value": said})
            annotations.append(
                {
                    "id": 500 + number * annotators + who,
                    "completed_by": {"id": who, "email": f"{who}@example.org"},
                    "was_cancelled": False,
                    "ground_truth": False,
                    "created_at": "2026-02-03T09:00:00Z",
                    "updated_at": "2026-02-03T09:00:00Z",
                    "lead_time": 3.5,
                    "result": result,
                }
            )
        tasks.append({"id": 40 + number, "data": one, "annotations": annotations, "meta": {}})
    return tasks


def exported(tasks: list[dict[str, Any]], kind: str, folder: Path, config: str) -> bytes:
    """What Label Studio's own converter writes."""
    source = folder / "tasks.json"
    source.write_text(json.dumps(tasks), encoding="utf-8")
    if kind == "JSON":
        return source.read_bytes()
    Converter(config, None).convert(str(source), str(folder / kind), kind, is_dir=False)
    (result,) = (folder / kind).iterdir()
    return result.read_bytes()


def named(data: LabelledData) -> list[tuple[object, list[str]]]:
    rows = zip(data.texts, data.marks, strict=True)
    return sorted((text, [data.label_names[p] for p in range(len(row)) if row[p]]) for text, row in rows)


other_fields = st.dictionaries(
    st.sampled_from(["id", "source", "ticket", "date", "customer", "number"]),
    st.sampled_from(["mail", "running", "2026-02-0{}", "T-00{}", "Ada Lovelace the {}th"]),
    max_size=4,
)


@given(
    kind=st.sampled_from(["JSON_MIN", "CSV", "TSV"]),
    more=other_fields,
    first=st.booleans(),
    tag=st.sampled_from(["topic", "class", "sentiment", "id_of_topic"]),
    annotators=st.integers(1, 3),
    remarks=st.booleans(),
    several=st.booleans(),
    with_config=st.booleans(),
)
@settings(deadline=None, max_examples=120)
def test_flat_exports_say_what_the_json_export_says(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    more: dict[str, str],
    first: bool,
    tag: str,
    annotators: int,
    remarks: bool,
    several: bool,
    with_config: bool,
) -> None:
    rows: list[dict[str, Any]] = []
    for number in range(24):
        told = {key: number if value == "running" else value.format(number) for key, value in more.items()}
        text = {"text": text_of(number)}
        rows.append({**told, **text} if first else {**text, **told})
    folder, xml = tmp_path_factory.mktemp("flat"), config_of(tag, choice="multiple" if several else "single")
    tasks = tasks_of(rows, tag, annotators=annotators, remarks=remarks, several=several)
    config = parse(xml) if with_config else None
    whole = read_labelled(exported(tasks, "JSON", folder, xml), "x", config=config)
    # Where a field of the data repeats itself as choices do, only who knows the project can tell them apart.
    flat = read_labelled(exported(tasks, kind, folder, xml), "x", choice=tag, config=config)
    assert flat.kind == kind
    assert named(flat) == named(whole)
    assert flat.disagreements == whole.disagreements
    assert len(whole.texts) == 24


@pytest.mark.parametrize("kind", ["JSON_MIN", "CSV", "TSV"])
@pytest.mark.parametrize("where", ["first", "last", "none"])
@pytest.mark.parametrize("ids", ["own numbers", "words", "the same for many"])
def test_an_id_of_the_data_is_no_trap(kind: str, where: str, ids: str, tmp_path: Path) -> None:
    rows = []
    for number in range(36):
        own = {"own numbers": 9000 - number, "words": f"T-{number}", "the same for many": number % 4}[ids]
        text = {"text": text_of(number)}
        rows.append({"id": own, **text} if where == "first" else {**text, "id": own} if where == "last" else text)
    data = read_labelled(exported(tasks_of(rows), kind, tmp_path, config_of("topic")), "x")
    assert data.counts == dict.fromkeys(sorted(TOPICS), 12)
    assert sorted(data.texts) == sorted(row["text"] for row in rows)
    assert data.choice == "topic"


@pytest.mark.parametrize("kind", ["CSV", "TSV"])
def test_a_field_with_the_name_of_the_tag_keeps_its_own_value_in_a_table(kind: str, tmp_path: Path) -> None:
    rows = [{"topic": text_of(number), "source": "mail"} for number in range(18)]
    content = exported(tasks_of(rows), kind, tmp_path, config_of("topic", "topic"))
    for config in (None, parse(config_of("topic", "topic"))):
        data = read_labelled(content, "x", config=config)
        assert (data.choice, sorted(data.texts)) == ("topic", sorted(row["topic"] for row in rows))


def test_json_min_puts_a_tag_in_the_place_of_a_field_of_its_name(tmp_path: Path) -> None:
    rows = [{"text": text_of(number), "topic": "imported"} for number in range(18)]
    content = exported(tasks_of(rows, remarks=True), "JSON_MIN", tmp_path, config_of("topic"))
    data = read_labelled(content, "x")
    assert (data.choice, data.fields, data.counts) == ("topic", ("text",), dict.fromkeys(sorted(TOPICS), 6))
    content = exported(tasks_of([{"topic": row["text"]} for row in rows]), "JSON_MIN", tmp_path, config_of("topic"))
    with pytest.raises(PrepalError, match=r"^The tag 'topic' of x has the name of a field, .*: export as JSON\.$"):
        read_labelled(content, "x", config=parse(config_of("topic", "topic")))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_an_export_that_a_spreadsheet_has_saved_again(delimiter: str, encoding: str, tmp_path: Path) -> None:
    tasks = tasks_of([{"text": text_of(number), "ort": "München"} for number in range(18)], annotators=3)
    table = list(csv.reader(io.StringIO(exported(tasks, "CSV", tmp_path, config_of("topic")).decode(), newline="")))
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows(table)
    content = (f"sep={delimiter}\r\n" + file.getvalue()).encode(encoding)
    said = named(read_labelled(json.dumps(tasks).encode(), "x"))
    assert named(read_labelled(content, "x")) == said


def test_a_dialogue_in_a_table_is_a_dialogue(tmp_path: Path) -> None:
    rows = [{"chat": [{"author": "Ada", "text": text_of(n)}, {"author": "Desk", "text": "Yes."}]} for n in range(12)]
    xml = config_of("topic", "chat").replace("<Text ", "<Paragraphs ")
    for config in (None, parse(xml)):
        found = [
            named(read_labelled(exported(tasks_of(rows), kind, tmp_path / kind, xml), "x", config=config))
            for kind in ("JSON", "JSON_MIN", "CSV")
            if (tmp_path / kind).mkdir(exist_ok=True) is None
        ]
        assert found[0] == found[1] == found[2]
        assert found[0][0][0] == f"Ada: {min(text_of(n) for n in range(12))}\nDesk: Yes."
