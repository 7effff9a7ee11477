"""Vectors in memory: they follow the vector cache row by row."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from prepal.vectors import VectorTable, text_id, text_ids
from prepal.vectors.matrix import VectorMatrix


def vectors_of(ids: list[str]) -> np.ndarray:
    return np.array([list(bytes.fromhex(key))[:4] for key in ids], np.float16).reshape(len(ids), 4)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=30), min_size=1, max_size=5))
def test_every_text_has_its_own_vector_however_the_vectors_came(parts: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        follow(VectorTable(folder, "some/encoder"), VectorMatrix(), parts)


def follow(table: VectorTable, matrix: VectorMatrix, parts: list[list[int]]) -> None:
    there: set[str] = set()
    for part in parts:
        ids = sorted({text_id(str(number)) for number in part})
        table.append(ids, vectors_of(ids))
        there |= set(ids)
        everything = text_ids([text_id(str(number)) for number in range(61)])
        matrix.load(table, everything)
        rows = matrix.rows(everything)
        known = everything[rows >= 0].astype(str).tolist()
        assert set(known) == there
        np.testing.assert_array_equal(matrix.vectors[rows[rows >= 0]], vectors_of(known))
        assert len(matrix.vectors) == len(there)


def test_what_is_there_is_not_read_again(tmp_path: Path) -> None:
    table, matrix = VectorTable(str(tmp_path / "vectors"), "some/encoder"), VectorMatrix()
    ids = [text_id(str(number)) for number in range(10)]
    table.append(ids, vectors_of(ids))
    assert matrix.load(table, text_ids(ids)) == 10
    assert matrix.load(table, text_ids(ids)) == 0
    assert matrix.load(table, text_ids([])) == 0
