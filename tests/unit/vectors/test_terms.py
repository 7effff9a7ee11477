"""Terms of texts: any text has some or none, and each text keeps its own."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prepal.vectors import TermTable, terms, text_id, text_ids
from prepal.vectors.terms import TERMS, terms_of

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANY_TEXT, max_size=8))
def test_whatever_is_in_a_text_its_terms_are_zeros_and_ones_and_its_own(texts: list[str]) -> None:
    together = terms_of(texts)
    assert together.shape == (len(texts), TERMS)
    assert together.dtype == np.float32
    assert set(together.data.tolist()) <= {1.0}
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_array_equal(row.toarray(), terms_of([text])[0].toarray())


def test_terms_are_parts_of_words_in_any_case_and_language() -> None:
    def shared(a: str, b: str) -> int:
        return int((terms_of([a]) @ terms_of([b]).T).toarray()[0, 0])

    assert shared("Refund please", "REFUNDS") >= 8
    assert shared("Überweisung", "die überweisungen") >= 8
    assert shared("退款申请被拒绝", "申请被拒绝了") >= 3
    assert shared("refund", "parcel") == 0
    assert terms_of(["", " ", "\n"]).nnz == 0


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(ANY_TEXT, min_size=1, max_size=6), min_size=1, max_size=4))
def test_every_text_has_its_terms_whoever_appended_them_and_however_often(parts: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        there: dict[str, str] = {}
        for part in parts:
            by_id = {text_id(text): text for text in part}
            TermTable(folder).append(by_id)
            there |= by_id
        table = TermTable(folder)
        assert len(table) == len(there)
        ids = text_ids([*there, text_id("a text that nobody has")])
        places, found = table.load(ids)
        assert sorted(places.tolist()) == list(range(len(there)))
        texts = [there[ids[place].decode()] for place in places]
        np.testing.assert_array_equal(found.toarray(), terms_of(texts).toarray())
        assert table.missing(ids.astype(str).tolist()) == [text_id("a text that nobody has")]


def test_before_there_is_a_table_nothing_has_terms(tmp_path: Path) -> None:
    table = TermTable(str(tmp_path / "none"))
    table.append({})
    places, found = table.load(text_ids([text_id("a")]))
    assert (len(places), found.shape, len(table)) == (0, (0, TERMS), 0)


def test_many_small_appends_leave_few_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "_MOST_PIECES", 8)
    folder = str(tmp_path)
    for number in range(40):
        TermTable(folder).append({text_id(str(number)): f"text {number}"})
    table = TermTable(folder)
    assert len(table) == 40
    assert table.pieces() <= 9
