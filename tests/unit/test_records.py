"""Whatever others wrote is read, and a record of any release is one of this release."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal.labels.events import Annotation
from prepal.project import Focus, Info, RoundRecord
from prepal.records import dumps, fill, loads, read, readable

RECORDS: list[type[Any]] = [Annotation, Focus, Info, RoundRecord]
ROUND = RoundRecord(3, 9, 2, 8, 1.5, {"fit": 0.1}, [4, 5], [5], {"estimate": 0.5}, "auto", True, suspected=[7])

any_text = st.text(st.characters(exclude_categories=()))
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)


@dataclass(frozen=True)
class Record:
    name: str
    count: int = 5
    notes: list[str] = field(default_factory=list)


@given(json_values)
def test_every_json_value_comes_back_as_it_was(value: object) -> None:
    assert loads(dumps(value)) == value


@given(json_values)
def test_json_that_anybody_wrote_is_read(value: object) -> None:
    assert loads(json.dumps(value)) == value
    assert loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")) == value


@given(st.integers(2**63, 2**1000), st.sampled_from([1, -1]))
def test_an_integer_of_more_than_64_bits_stays_what_it_is(value: int, sign: int) -> None:
    for raw in (dumps([sign * value]), dumps([sign * value, "\ud800"]), dumps([sign * value]).decode()):
        assert loads(raw)[0] == sign * value


@given(st.binary())
def test_what_is_not_json_is_a_value_error(raw: bytes) -> None:
    try:
        found = loads(raw)
    except ValueError:
        return
    assert loads(dumps(found)) == found


@pytest.mark.parametrize("raw", ["NaN", "-Infinity", "1e999", "9" * 5000, "-" + "9" * 100_000])
@pytest.mark.parametrize("around", ["%s", '{"id": %s}', '["\\ud800", %s]'])
def test_a_number_beyond_all_numbers_is_none(raw: str, around: str) -> None:
    assert loads(around % raw) == json.loads(around % "null")


@pytest.mark.parametrize("raw", ["[" * 100_000, "[" * 5000 + "]" * 5000, '{"a":' * 5000 + "1" + "}" * 5000])
def test_json_that_is_nested_too_deeply_is_a_value_error(raw: str) -> None:
    with pytest.raises(ValueError, match="deep"):
        loads(raw)


def test_what_is_not_finite_is_null_also_beside_a_lone_surrogate() -> None:
    assert dumps([math.nan, math.inf]) == b"[null,null]"
    assert dumps({"a": [math.nan], "b": "\ud800"}) == b'{"a":[null],"b":"\\ud800"}'


def test_unknown_fields_of_a_newer_release_are_ignored() -> None:
    assert read(RoundRecord, dumps({**asdict(ROUND), "a_field_of_tomorrow": [1]})) == ROUND


def test_fields_that_an_older_release_did_not_have_take_their_default() -> None:
    assert read(Record, b'{"name": "a"}') == Record("a")


def test_a_field_of_another_type_takes_its_default() -> None:
    assert read(Record, b'{"name": "a", "count": [1], "notes": {"b": 2}}') == Record("a")


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"[]", b"{}", b'{"count": 3}', b'{"name": null}', b"\xff"])
def test_a_record_without_what_it_needs_is_none(raw: bytes) -> None:
    assert read(Record, raw) is None


def test_a_lone_surrogate_in_a_record_stays_what_it_is() -> None:
    kept = Annotation(1, 2, "2026", False, False, {"to\ud800pic": ["\udfff"]})
    assert read(Annotation, dumps(asdict(kept))) == kept


@given(any_text)
def test_what_is_made_readable_can_be_written_and_is_else_the_same(text: str) -> None:
    found = readable(text)
    assert found.encode().decode() == found
    assert found == text or "\ufffd" in found or len(found) < len(text)


def test_the_defaults_of_two_records_are_two_lists() -> None:
    one, two = fill(Record, {"name": "a"}), fill(Record, {"name": "a"})
    assert one is not None
    assert two is not None
    assert one.notes is not two.notes


@given(st.sampled_from(RECORDS), st.data())
def test_a_stored_record_of_whatever_fields_is_read_or_is_none(cls: type[Any], data: st.DataObject) -> None:
    names = st.sampled_from([one.name for one in fields(cls)]) | any_text
    found = read(cls, dumps(data.draw(st.dictionaries(names, json_values))))
    assert found is None or (isinstance(found, cls) and read(cls, dumps(asdict(found))) == found)
