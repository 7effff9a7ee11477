"""A task matches `field=value` where its data have that value, wherever it stands and however it is written there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal.label_studio.matching import matches
from prepal.records import dumps

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="=.[]"), min_size=1).filter(
    lambda name: name == name.strip() and name
)
plain = st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(2**53), 2**53) | st.booleans() | st.none()


def written(value: object) -> str:
    return value if isinstance(value, str) else dumps(value).decode()


@given(names, plain, st.lists(plain, max_size=3))
def test_a_value_matches_as_it_is_written_alone_in_a_list_or_within(
    name: str, value: object, more: list[object]
) -> None:
    wanted = f"{name} = {written(value)}"
    assert matches(wanted, {name: value})
    assert matches(wanted, {"other": 1, name: [*more, value]})
    assert matches(f"mail.{wanted}", {"mail": {name: value}})
    assert matches(f"mail.{wanted}", {f"mail.{name}": value})


@given(names, plain, plain)
def test_no_other_value_matches(name: str, value: object, other: object) -> None:
    same = written(value).strip() == written(other).strip()
    assert matches(f"{name}={written(value)}", {name: other}) == same


@pytest.mark.parametrize("data", [None, "text", [], {}, {"other": "x"}, {"field": {"x": 1}}, {"field": "X"}])
def test_what_has_no_such_field_or_value_does_not_match(data: object) -> None:
    assert not matches("field=x", data)


def test_a_value_may_have_equals_signs_itself() -> None:
    assert matches("url=https://x.example/?a=b", {"url": "https://x.example/?a=b"})
