"""Choices that stand in a tree, as Label Studio exports them."""

import json
from pathlib import Path
from typing import Any

import pytest
from label_studio_sdk.converter import Converter

from prepal.errors import PrepalError
from prepal.labels.label_config import parse
from prepal_workers.labelled.data import LabelledData
from prepal_workers.labelled.read import read_labelled

TREE = """<Choice value="Order"><Choice value="Late"/><Choice value="Other"/></Choice>
<Choice value="Bill"><Choice value="Other"/><Choice value="To > pay"/></Choice>"""
CONFIGS = {
    "choices": f'<Choices name="topic" toName="t" allowNested="true">{TREE}</Choices>',
    "several choices": f'<Choices name="topic" toName="t" allowNested="true" choice="multiple">{TREE}</Choices>',
    "taxonomy": f'<Taxonomy name="topic" toName="t" maxUsages="1" leafsOnly="true">{TREE}</Taxonomy>',
    "several of a taxonomy": f'<Taxonomy name="topic" toName="t">{TREE}</Taxonomy>',
}
PATHS = [["Order", "Late"], ["Order", "Other"], ["Bill", "Other"], ["Bill", "To > pay"]]
NAMES = ["Bill > Other", "Bill > To \\> pay", "Order > Late", "Order > Other"]


def exported(kind: str, form: str, folder: Path) -> tuple[bytes, list[list[str]]]:
    """What Label Studio's own converter writes, and the names of what was chosen of each task."""
    xml = f'<View><Text name="t" value="$text"/>{CONFIGS[kind]}</View>'
    config = parse(xml)
    tasks: list[dict[str, Any]] = []
    chosen: list[list[str]] = []
    for number in range(24):
        places = [config.place(NAMES[number % 4])]
        if kind.startswith("several") and number % 3 == 0:
            places.append(config.place(NAMES[(number + 1) % 4]))
        result = config.result([place for place in places if place is not None], 1.0)
        tasks.append(
            {
                "id": number + 1,
                "data": {"text": f"What about number {number}?", "source": "mail" if number % 2 else "chat"},
                "annotations": [{"id": 100 + number, "completed_by": 1, "created_at": "2026-01-01", "result": result}],
            }
        )
        chosen.append(sorted(config.choices[place] for place in places if place is not None))
    source = folder / "tasks.json"
    source.write_text(json.dumps(tasks), encoding="utf-8")
    if form == "JSON":
        return source.read_bytes(), chosen
    Converter(xml, None).convert(str(source), str(folder / form), form, is_dir=False)
    (written,) = (folder / form).iterdir()
    return written.read_bytes(), chosen


def labels_of(data: LabelledData) -> list[list[str]]:
    return [[name for name, has in zip(data.label_names, row, strict=True) if has] for row in data.marks.tolist()]


@pytest.mark.parametrize("form", ["JSON", "JSON_MIN", "CSV", "TSV"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_each_path_is_a_label_whatever_the_export(kind: str, form: str, tmp_path: Path) -> None:
    content, chosen = exported(kind, form, tmp_path)
    data = read_labelled(content, "export", choice="topic" if form in ("CSV", "TSV") else None)
    assert data.label_names == tuple(NAMES)
    assert labels_of(data) == chosen
    assert data.texts == [f"What about number {number}?" for number in range(24)]


@pytest.mark.parametrize("kind", CONFIGS)
def test_with_the_label_config_they_are_in_its_order(kind: str, tmp_path: Path) -> None:
    content, _ = exported(kind, "JSON", tmp_path)
    config = parse(f'<View><Text name="t" value="$text"/>{CONFIGS[kind]}</View>')
    data = read_labelled(content, "export", config=config)
    assert data.label_names == tuple(name for name in config.choices if name in NAMES)


def test_who_ticked_a_choice_with_several_below_it_has_said_nothing() -> None:
    config = parse(f'<View><Text name="t" value="$text"/>{CONFIGS["choices"]}</View>')

    def task(number: int, *paths: list[str]) -> dict[str, Any]:
        result = [{"from_name": "topic", "value": {"choices": list(paths)}}]
        return {"id": number, "data": {"text": f"text {number}"}, "annotations": [{"id": number, "result": result}]}

    tasks = [task(1, PATHS[0]), task(2, PATHS[2]), task(3, ["Order"], *PATHS[:2])]
    data = read_labelled(json.dumps(tasks).encode(), "export", config=config)
    assert labels_of(data) == [["Order > Late"], ["Bill > Other"]]
    assert data.left_out == {"with choices that the label config no longer has": 1}


def test_an_export_without_any_choice_says_what_to_do() -> None:
    tasks = [{"id": 1, "data": {"text": "a"}, "annotations": [{"id": 1, "result": []}]}]
    with pytest.raises(PrepalError, match="annotate tasks with Choices or a Taxonomy"):
        read_labelled(json.dumps(tasks).encode(), "export")
