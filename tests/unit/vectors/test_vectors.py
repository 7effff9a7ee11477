"""The vector cache: one row per text, whoever appends at the same time and whoever is killed meanwhile."""

import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.vectors import VectorTable, table_name, text_id

DIMENSION = 8
MANY = 3000


def ids_of(count: int) -> list[str]:
    return [text_id(f"text {number}") for number in range(count)]


def vectors_of(ids: Sequence[str]) -> NDArray[np.float16]:
    """A vector that only its id can have."""
    digits = np.array([list(bytes.fromhex(key)) for key in ids], np.float16)
    return digits.reshape(len(ids), -1)[:, :DIMENSION]


def stored_ids(table: VectorTable) -> list[str]:
    rows = lancedb.connect(table.uri).open_table(table.name).to_arrow()
    return [str(key) for key in rows["id"].to_pylist()]


@pytest.fixture
def table(tmp_path: Path) -> VectorTable:
    return VectorTable(str(tmp_path / "vectors"), "some/encoder")


def test_vectors_come_back_in_the_order_that_was_asked_for(table: VectorTable) -> None:
    ids = ids_of(50)
    table.append(ids, vectors_of(ids))
    asked = [*ids[20:10:-1], text_id("never seen"), ids[3], ids[3]]
    found, vectors = table.find(asked)
    assert found.tolist() == [True] * 10 + [False, True, True]
    assert vectors.dtype == np.float16
    np.testing.assert_array_equal(vectors, vectors_of([key for key in asked if key in ids]))
    assert table.missing(asked) == [text_id("never seen")]
    assert len(table) == 50


def test_many_are_found_as_few_are(table: VectorTable) -> None:
    ids = ids_of(MANY)
    table.append(ids[: MANY // 2], vectors_of(ids[: MANY // 2]))
    table.append(ids[MANY // 2 :: 2], vectors_of(ids[MANY // 2 :: 2]))
    shuffled = [ids[place] for place in np.random.default_rng(0).permutation(MANY)]
    found, vectors = table.find(shuffled)
    np.testing.assert_array_equal(
        vectors, vectors_of([key for key, there in zip(shuffled, found, strict=True) if there])
    )
    assert found.sum() == len(table) == MANY * 3 // 4
    assert set(table.missing(shuffled)) == set(ids[MANY // 2 + 1 :: 2])


def test_a_cache_that_is_not_there_is_empty_and_is_not_made_by_reading(table: VectorTable) -> None:
    found, vectors = table.find(["a", "b"])
    assert found.tolist() == [False, False]
    assert vectors.shape[0] == 0
    assert table.missing(["a", "b"]) == ["a", "b"]
    assert len(table) == 0
    table.compact()
    assert not Path(table.uri).exists()


def test_appending_again_changes_nothing(table: VectorTable) -> None:
    ids = ids_of(10)
    table.append(ids, vectors_of(ids))
    table.append([*ids[5:], *ids[5:]], np.zeros((10, DIMENSION), np.float16))
    assert sorted(stored_ids(table)) == sorted(ids)
    np.testing.assert_array_equal(table.find(ids)[1], vectors_of(ids))


def test_rows_that_others_append_are_seen(table: VectorTable) -> None:
    ids = ids_of(4)
    other = VectorTable(table.uri, table.encoder)
    assert other.missing(ids) == ids
    table.append(ids[:2], vectors_of(ids[:2]))
    assert other.missing(ids) == ids[2:]
    other.append(ids[2:], vectors_of(ids[2:]))
    assert len(table) == 4
    other.compact()
    assert table.find(ids)[0].all()


def test_encoders_do_not_share_vectors(table: VectorTable) -> None:
    table.append(["a"], np.ones((1, DIMENSION), np.float16))
    other = VectorTable(table.uri, "some-encoder")
    other.append(["a"], np.zeros((1, 2), np.float16))
    assert table.find(["a"])[1].tolist() == [[1] * DIMENSION]
    assert other.find(["a"])[1].tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.array([[1, np.nan]], np.float16), "The vector of text a has values that are not finite."),
        (np.array([[1, np.inf]], np.float16), "The vector of text a has values that are not finite."),
        (np.zeros((2, 2), np.float16), "1 text ids need as many vectors"),
        (np.zeros((1, 3), np.float16), "Vectors of 3 numbers do not fit table"),
    ],
)
def test_vectors_that_cannot_be_right_are_refused(
    table: VectorTable, vectors: NDArray[np.float16], message: str
) -> None:
    table.append(["first"], np.zeros((1, 2), np.float16))
    with pytest.raises(ValueError, match=message):
        table.append(["a"], vectors)
    assert len(table) == 1


def test_a_deleted_folder_is_an_empty_cache(table: VectorTable) -> None:
    ids = ids_of(3)
    table.append(ids, vectors_of(ids))
    shutil.rmtree(table.uri)
    assert table.missing(ids) == ids
    table.append(ids[:1], vectors_of(ids[:1]))
    assert table.missing(ids) == ids[1:]


@pytest.mark.parametrize("part", ["data", "_versions"])
def test_a_damaged_cache_is_named_and_nothing_is_deleted(table: VectorTable, part: str) -> None:
    table.append(["a"], np.ones((1, DIMENSION), np.float16))
    files = [file for file in Path(table.uri, f"{table.name}.lance", part).iterdir() if file.is_file()]
    for file in files:
        file.write_bytes(b"junk")
    damaged = VectorTable(table.uri, table.encoder)
    with pytest.raises(PrepalError, match=r"The vector cache some-encoder-\w+ in .* cannot be read .*PREPAL_VECTORS"):
        damaged.find(["a"])
    with pytest.raises(PrepalError, match="cannot be written"):
        damaged.append(["b"], np.ones((1, DIMENSION), np.float16))
    assert all(file.read_bytes() == b"junk" for file in files)


def test_a_foreign_table_and_a_file_are_refused(table: VectorTable, tmp_path: Path) -> None:
    lancedb.connect(table.uri).create_table(table.name, pa.table({"price": [1.0]}))
    with pytest.raises(PrepalError, match=r"is not a vector cache \(its columns are price\)"):
        table.missing(["a"])
    (tmp_path / "file").write_text("something else")
    with pytest.raises(PrepalError, match="cannot be read"):
        len(VectorTable(str(tmp_path / "file"), "some/encoder"))
    assert (tmp_path / "file").read_text() == "something else"


# Both begin at the same moment, so that they append the same ids at the same time.
APPENDER = """
import sys
import time
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from test_vectors import VectorTable, ids_of, vectors_of

table = VectorTable(sys.argv[2], "some/encoder")
ids = ids_of(2000)
table.missing(ids)
Path(sys.argv[3]).touch()
while not Path(sys.argv[4]).exists():
    time.sleep(0.001)
for start in range(0, len(ids), 20):
    table.append(ids[start : start + 20], vectors_of(ids[start : start + 20]))
"""


def test_two_processes_append_the_same_and_one_is_killed(table: VectorTable, tmp_path: Path) -> None:
    # An index, once there, must not let the same id in twice either.
    others = [text_id(f"other {number}") for number in range(20_000)]
    table.append(others, vectors_of(others))
    table.compact()
    ready, go = [tmp_path / "first", tmp_path / "second"], tmp_path / "go"
    command = [sys.executable, "-c", APPENDER, str(Path(__file__).parent), table.uri]
    first, second = processes = [subprocess.Popen([*command, str(flag), str(go)]) for flag in ready]
    try:
        wait_until(lambda: all(flag.exists() for flag in ready))
        go.touch()
        wait_until(lambda: len(table) >= len(others) + 1000)
        first.send_signal(signal.SIGKILL)
        while second.poll() is None:
            table.compact()
            time.sleep(0.2)
        assert second.wait() == 0
        assert first.wait() == -signal.SIGKILL
    finally:
        for process in processes:
            process.kill()
            process.wait()
    counted = Counter(stored_ids(table))
    ids = ids_of(2000)
    assert set(counted) == {*others, *ids}
    assert set(counted.values()) == {1}
    np.testing.assert_array_equal(table.find(ids)[1], vectors_of(ids))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.005)


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=20))
def test_every_text_has_an_id(text: str) -> None:
    assert len(text_id(text)) == 32
    assert text_id(text) == text_id(text + "") != text_id(text + "x")


def test_the_table_of_an_encoder_is_named_after_it() -> None:
    name = table_name("sentence-transformers/all-MiniLM-L6-v2")
    assert name.startswith("sentence-transformers-all-minilm-l6-v2-")
    assert table_name("/models/Größe ∆/../x") != table_name("/models/x")
