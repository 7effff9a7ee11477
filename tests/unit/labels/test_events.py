"""What Label Studio sends is read, however malformed it is."""

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal.labels.events import Annotation, as_list, number, project_of, read_annotation
from prepal.labels.paths import written
from prepal.records import dumps, read

any_text = st.text(st.characters(exclude_categories=()), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=10,
)
items = st.fixed_dictionaries(
    {},
    optional={
        "from_name": json_values,
        "value": json_values | st.fixed_dictionaries({"choices": json_values, "taxonomy": json_values}),
    },
)
annotations = st.fixed_dictionaries(
    {},
    optional={
        "completed_by": json_values,
        "updated_at": json_values,
        "created_at": json_values,
        "was_cancelled": json_values,
        "ground_truth": json_values,
        "result": json_values | st.lists(items, max_size=3),
    },
)


def chosen(*choices: object, tag: object = "topic") -> dict[str, list[str]]:
    return read_annotation({"result": [{"from_name": tag, "value": {"choices": list(choices)}}]}, 1).choices


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


@given(annotations)
def test_an_annotation_of_whatever_shape_is_read_and_stored(raw: dict[str, Any]) -> None:
    found = read_annotation(raw, 1)
    assert read(Annotation, dumps(asdict(found))) == found


def test_the_path_of_a_nested_choice_is_what_was_chosen() -> None:
    assert chosen(["A", "B"], ["B"], "C", "C") == {"topic": ["A > B", "B", "C"]}


def test_a_choice_that_is_ticked_because_all_below_it_are_was_not_chosen_itself() -> None:
    assert chosen(["A"], ["A", "B"], ["A", "B", "C"]) == {"topic": ["A > B > C"]}


def test_paths_of_a_taxonomy_are_what_was_chosen_each_by_itself() -> None:
    result = [{"from_name": "topic", "value": {"taxonomy": [["A"], ["A", "B"]]}}]
    assert read_annotation({"result": result}, 1).choices == {"topic": ["A", "A > B"]}


awkward = st.lists(st.text(">\\ a", max_size=4), min_size=1, max_size=3)


@given(awkward, awkward)
def test_no_two_paths_have_one_name(one: list[str], other: list[str]) -> None:
    assert (written(one) == written(other)) == (one == other)


def test_a_choice_is_a_string_or_a_number_and_what_is_no_choice_is_left_out() -> None:
    wrong = [None, {"a": 1}, [], [["A"]], ["A", None], ["A"] * 10_000, nested(1010)]
    assert chosen("A", 1, ["B", 2], *wrong) == {"topic": ["A", "1", "B > 2"]}


def test_a_lone_surrogate_in_a_choice_is_kept() -> None:
    assert chosen("\ud800") == {"topic": ["\ud800"]}


@pytest.mark.parametrize("tag", [None, 1, True, [], {}, nested(1010), "x" * 10_000_000])
def test_choices_of_no_tag_are_none(tag: object) -> None:
    assert chosen("A", tag=tag) == {}


@pytest.mark.parametrize("at", [None, 7, True, "", "~", "yesterday", "9" * 5000, "\ud800", [], nested(1010)])
def test_a_time_that_is_none_is_older_than_every_other(at: object) -> None:
    assert read_annotation({"updated_at": at}, 1).updated_at == ""
    assert read_annotation({"updated_at": at, "created_at": "2026-01-01T00:00:00Z"}, 1).updated_at > ""


@given(json_values)
def test_an_id_is_a_whole_number_that_every_part_counts_exactly(value: object) -> None:
    found = number(value)
    assert found is None or (found == value and 0 < found == int(float(found)))
    project = project_of({"project": value})
    assert project is None or project > 0
    assert isinstance(as_list(value), list)


@pytest.mark.parametrize("value", [True, 0, -1, 2**53, 2**63, 10**400, 1.0, "1", None, [1], {"id": 1}])
def test_anything_else_is_no_id(value: object) -> None:
    assert number(value) is None


@pytest.mark.parametrize(
    ("project", "found"),
    [({"id": 4}, 4), (4, 4), ("4", 4), ("4.1700000000", 4), ("4" * 5000, None), ("٤", None), ("", None), ({}, None)],
)
def test_the_project_of_an_event_is_an_object_an_id_or_an_id_with_a_time(project: object, found: int | None) -> None:
    assert project_of({"project": project}) == found
