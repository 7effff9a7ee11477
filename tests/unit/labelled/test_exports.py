"""What stands in JSON exports and target storage beside choices: reviews, drafts, comments, tasks that come twice."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal.errors import PrepalError
from prepal.labels.label_config import parse
from prepal_workers.labelled.data import LabelledData
from prepal_workers.labelled.read import read_labelled

TOPICS = ("loan", "book")


def annotation(number: int, topic: str, **more: Any) -> dict[str, Any]:
    result = [{"from_name": "topic", "to_name": "t", "type": "choices", "value": {"choices": [topic]}}]
    return {"id": number, "completed_by": {"id": 1, "email": "a@example.org"}, "result": result, **more}


def tasks(count: int = 8, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": n,
            "data": {"text": f"This is the {n}th of some."},
            "annotations": [annotation(n, TOPICS[n % 2], **more)],
        }
        for n in range(1, count + 1)
    ]


def read(rows: list[dict[str, Any]]) -> LabelledData:
    return read_labelled(json.dumps(rows).encode(), "x")


def review(*, accepted: bool, at: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": at, "accepted": accepted, "created_at": f"2026-01-0{at}T00:00:00Z", **more}


@pytest.mark.parametrize(
    ("more", "counts"),
    [
        ({"reviews": [review(accepted=False)]}, False),
        ({"reviews": [review(accepted=True, at=2), review(accepted=False, at=3)]}, False),
        ({"reviews": [review(accepted=True, at=3), review(accepted=False, at=2)]}, True),
        ({"reviews": [review(accepted=False, fixed_annotation_history=7)]}, True),
        ({"last_action": "rejected", "reviews": []}, False),
        ({"last_action": "accepted", "reviews": [review(accepted=False)]}, True),
        ({"reviews": [], "comment_count": 2, "comments": [{"text": "Is this not a book?"}]}, True),
    ],
)
def test_an_annotation_that_a_review_rejected_last_is_no_label(more: dict[str, Any], counts: bool) -> None:
    rows = tasks()
    rows[2]["annotations"][0] |= more
    data = read(rows)
    assert data.counts == {"book": 4 if counts else 3, "loan": 4}
    assert data.left_out == ({} if counts else {"rejected in a review": 1})
    assert ("1 annotations do not count, as a review rejected them." in data.notes) is not counts


def test_drafts_and_predictions_are_no_labels() -> None:
    rows = tasks()
    rows[0] |= {"annotations": [], "drafts": [annotation(90, "loan")], "predictions": [annotation(91, "loan")]}
    data = read(rows)
    assert (data.counts, data.left_out) == ({"book": 3, "loan": 4}, {"with a draft only": 1})


def stored(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What target storage has of them."""
    return [
        {
            **given,
            "task": {key: task[key] for key in task if key != "annotations"} | {"project": 3},
            "was_cancelled": False,
        }
        for task in rows
        for given in task["annotations"]
    ]


def test_target_storage_says_what_the_export_says() -> None:
    rows = tasks()
    rows[1]["annotations"] += [annotation(70, "book", completed_by={"id": 2}), annotation(71, "book", completed_by=3)]
    whole = read(rows)
    for content in (json.dumps(stored(rows)), "\n".join(map(json.dumps, stored(rows))), json.dumps({"tasks": rows})):
        data = read_labelled(content.encode(), "x")
        assert (data.texts, data.counts, data.disagreements) == (whole.texts, whole.counts, 1)
    assert read_labelled(stored(rows), "folder").counts == whole.counts
    events = [{"action": "ANNOTATION_CREATED", "task": row["task"], "annotation": row} for row in stored(rows)]
    assert read(events).counts == whole.counts
    one = json.dumps(stored(rows)[0], indent=1).encode()
    with pytest.raises(PrepalError, match="All 1 labels of x are 'book'"):
        read_labelled(one, "x")


def test_annotations_without_their_tasks_are_refused() -> None:
    rows = [{**row, "task": row["task"]["id"]} for row in stored(tasks())]
    with pytest.raises(PrepalError, match=r"^x has as its item 1 an annotation without its task's data: export the"):
        read(rows)


def test_tasks_of_two_exports_are_joined_and_others_of_the_same_id_are_not() -> None:
    rows = tasks()
    again = json.loads(json.dumps(rows[:2]))
    again[0]["annotations"] = [annotation(80, "loan", completed_by=2)]
    others = [{**task, "data": {"text": f"Of another server, {task['id']}"}} for task in rows]
    data = read([*rows, *again, *others])
    assert (data.tasks, len(data.texts), data.disagreements) == (16, 16, 1)
    assert len(set(data.task_ids.tolist())) == 16
    nameless = [{key: task[key] for key in task if key != "id"} for task in rows]
    assert read([*nameless, *others]).tasks == 16


def test_choices_of_parts_of_a_text_are_not_taken_for_the_texts() -> None:
    rows = tasks()
    for row in rows:
        part = {"start": 0, "end": 4, "text": "This", "choices": ["loan", "book"]}
        row["annotations"][0]["result"].append({"from_name": "parts", "type": "choices", "value": part})
    with pytest.raises(PrepalError, match=r"^The choices of 'parts' in x are of parts of texts, .* --choice, or label"):
        read(rows)
    assert read_labelled(json.dumps(rows).encode(), "x", choice="topic").counts == {"book": 4, "loan": 4}


def test_a_config_of_another_project_is_told_from_its_fields() -> None:
    config = parse(
        '<View><Text name="t" value="$words"/><Choices name="topic" toName="t"><Choice value="loan"/>'
        '<Choice value="book"/></Choices></View>'
    )
    with pytest.raises(
        PrepalError, match=r"^No task of x has a text to read \(the config reads \$words, .* has 'text': ren"
    ):
        read_labelled(json.dumps(tasks()).encode(), "x", config=config)


REGIONS = st.sampled_from(
    [
        {"value": {"start": 0, "end": 4}},
        {"value": {"start": "/div[1]/text()[1]", "end": "/div[1]/text()[1]", "startOffset": 2, "endOffset": 5}},
        {"value": {"start": "0", "end": "0", "paragraphlabels": ["Agent"]}},
        {"value": {"x": 1.5, "y": 2, "width": 3, "height": 4}},
        {"value": {}, "item_index": 1},
    ]
)


@given(part=REGIONS, kind=st.sampled_from(["choices", "taxonomy"]), places=st.sets(st.integers(1, 8), min_size=1))
def test_choices_of_regions_and_items_are_no_labels_of_texts(part: dict[str, Any], kind: str, places: set[int]) -> None:
    rows = tasks()
    for place in places:
        chosen: list[Any] = ["good"] if kind == "choices" else [["good", "best"]]
        item = {**part, "from_name": "of_part", "type": kind, "value": {**part["value"], kind: chosen}}
        rows[place - 1]["annotations"][0]["result"].append(item)
    as_written = json.dumps(rows).encode()
    assert read_labelled(as_written, "x", choice="topic").counts == read(tasks()).counts
    with pytest.raises(PrepalError, match=r"^The choices of 'of_part' in x are of parts of texts"):
        read_labelled(json.dumps(rows).encode(), "x", choice="of_part")
    for row in rows:
        row["annotations"][0]["result"] = row["annotations"][0]["result"][1:]
    with pytest.raises(PrepalError, match=r"^The choices of 'of_part' in x are of parts of texts"):
        read(rows)


@pytest.mark.parametrize("table", [False, True])
def test_flat_exports_do_not_join_what_was_chosen_of_regions(table: bool) -> None:
    parts = [{"start": 0, "end": 4, "choices": ["loan"]}, {"start": 5, "end": 9, "choices": ["book"]}]
    rows = [
        {"id": n, "text": f"This is the {n}th of some.", "topic": parts, "annotator": 1, "annotation_id": n}
        for n in range(1, 9)
    ]
    content = json.dumps(rows)
    if table:
        cells = [[json.dumps(cell) if isinstance(cell, list) else cell for cell in row.values()] for row in rows]
        written = io.StringIO(newline="")
        csv.writer(written).writerows([list(rows[0]), *cells])
        content = written.getvalue()
    with pytest.raises(PrepalError, match=r"^The choices of 'topic' in x are of parts of texts"):
        read_labelled(content.encode(), "x")


@given(st.data())
def test_older_states_of_an_annotation_do_not_vote(data: st.DataObject) -> None:
    rows = tasks()
    events = [
        {
            "action": "ANNOTATION_UPDATED",
            "task": {key: row[key] for key in ("id", "data")},
            "annotation": annotation(row["id"], topic, updated_at=f"2026-01-0{day}T00:00:00Z"),
        }
        for row in rows
        for day, topic in [
            *((day, data.draw(st.sampled_from(TOPICS))) for day in (1, 2, 3)),
            (4, TOPICS[row["id"] % 2]),
        ]
    ]
    said = read(data.draw(st.permutations(events)))
    assert said.counts == read(rows).counts
    assert said.disagreements == 0


def test_where_everything_was_skipped_that_is_what_is_said() -> None:
    with pytest.raises(PrepalError, match=r"^None of the 8 tasks of x has both a text and a label \(8 skipped\)"):
        read(tasks(was_cancelled=True))


@pytest.mark.parametrize("content", ["[]", "text,label\r\n", "null", ";\r\n"])
def test_a_file_without_rows_is_called_so(content: str) -> None:
    with pytest.raises(PrepalError, match=r"^x has no rows: give "):
        read_labelled(content.encode(), "x")
