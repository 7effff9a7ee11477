"""Files that are written whole or not at all, at once or piece by piece."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal import records
from prepal.errors import PrepalError
from prepal.files import json_array, write_whole

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(st.text(), values, max_size=3), max_size=4))
def test_a_json_array_in_pieces_is_that_of_all_its_items(rows: list[Any]) -> None:
    written = b"".join(json_array(iter(rows)))
    assert records.loads(written) == records.loads(records.dumps(rows))
    assert json.loads(written) == json.loads(records.dumps(rows))
    assert written.count(b"\n") == max(len(rows), 1)


@pytest.mark.parametrize("error", [PrepalError("no"), ConnectionError("no"), KeyboardInterrupt()])
def test_what_ends_in_the_middle_leaves_the_old_file_alone_and_nothing_beside_it(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "all.json"
    path.write_bytes(b"old")

    def pieces() -> Iterator[bytes]:
        yield b"[new"
        raise error

    with pytest.raises(type(error)) as raised:
        write_whole(path, pieces())
    # It is not the file that could not be written.
    assert raised.value is error
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("all.json", b"old")]
    write_whole(path, iter([b"new", b" one"]))
    assert path.read_bytes() == b"new one"


def test_a_place_where_nothing_can_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    for content in (b"a", iter([b"a"])):
        with pytest.raises(PrepalError, match=r"none/all\.json cannot be written \(No such file or directory\)"):
            write_whole(tmp_path / "none" / "all.json", content)
    (tmp_path / "folder").mkdir()
    with pytest.raises(PrepalError, match=r"folder cannot be written \(Is a directory\): choose another place\."):
        write_whole(tmp_path / "folder", b"a")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]
