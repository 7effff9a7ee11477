"""Pools of experiments: which files are read, and which of their texts are taken."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prepal.errors import PrepalError
from prepal_workers.simulate.dataset import load
from prepal_workers.simulate.grid import read


@pytest.mark.parametrize(
    ("train", "test", "sentence"),
    [
        ('{"text": "a", "label": "x"}', '{"text": "a", "label": "x"}', "has the label x only"),
        ('{"text": "a"}', '{"text": "a", "label": "x"}', "line 1 has no 'label'"),
        ('{"text_a": "a", "label": "x"}', '{"text": "a", "label": "x"}', "line 1 has no 'text_b'"),
        ("nonsense", "", "line 1 is not JSON"),
        ("", "", "has no rows"),
        ('{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}', '{"text": "a", "label": "z"}', "the label 'z'"),
        ('{"text": "a", "label": "x"}\n{"text": "b", "label": ["y"]}', '{"text": "a", "label": "x"}', "mixes single"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_sentence(tmp_path: Path, train: str, test: str, sentence: str) -> None:
    (tmp_path / "train.jsonl").write_text(train)
    (tmp_path / "test.jsonl").write_text(test)
    with pytest.raises(PrepalError, match=re.escape(sentence)):
        load(tmp_path / "train.jsonl", tmp_path / "test.jsonl")


def test_pairs_and_lists_of_labels_are_read(tmp_path: Path) -> None:
    for part in ("train", "test"):
        b = "st" if part == "train" else "uv"
        rows = [{"text_a": "q", "text_b": b[0], "label": ["x", "y"]}, {"text_a": "r", "text_b": b[1], "label": []}]
        (tmp_path / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = load(tmp_path / "train.jsonl", tmp_path / "test.jsonl")
    assert found.train.texts == ["q\ns", "r\nt"]
    assert found.train.labels.tolist() == [[True, True], [False, False]]
    assert read(tmp_path / "none.jsonl") == []


def test_files_of_tools_and_exports_are_read_as_finetune_reads_them(tmp_path: Path) -> None:
    rows = [{"text": f"<p>A&nbsp;text, the {n}th</p>", "accept": ["xy"[n % 2]], "answer": "accept"} for n in range(8)]
    rows[0]["answer"] = "reject"
    result = [{"from_name": "q", "type": "choices", "value": {"choices": ["x"]}}]
    tasks = [{"id": 1, "data": {"page": "<i>An</i> export"}, "annotations": [{"id": 1, "result": result}]}]
    train, test = tmp_path / "train.jsonl", tmp_path / "test.json"
    train.write_text("\n".join(map(json.dumps, rows)))
    test.write_text(json.dumps(tasks))
    found = load(train, test)
    assert found.train.texts == [f"A text, the {n}th" for n in range(1, 8)]
    assert found.train.labels.tolist() == [1, 0, 1, 0, 1, 0, 1]
    assert (found.test.texts, found.test.labels.tolist(), found.multilabel) == (["An export"], [0], False)
    plain = [{"text": row["text"], "label": row["accept"]} for row in rows]
    train.write_text("\n".join(map(json.dumps, plain)))
    assert load(train, test).train.texts[1:] == found.train.texts


def written(folder: Path, name: str, rows: list[tuple[str, Any]]) -> Path:
    path = folder / name
    path.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in rows), encoding="utf-8")
    return path


def test_texts_that_are_measured_on_are_left_out_of_the_pool_and_told(tmp_path: Path) -> None:
    rows = [(f"text {n}", "ab"[n % 2]) for n in range(10)]
    train, test = (
        written(tmp_path, "train.jsonl", rows),
        written(tmp_path, "test.jsonl", [("  Text 3. ", "a"), *rows[:2]]),
    )
    dataset = load(train, test)
    assert dataset.train.texts == [f"text {n}" for n in (2, 4, 5, 6, 7, 8, 9)]
    assert dataset.train.labels.tolist() == [0, 0, 1, 0, 1, 0, 1]
    assert len(dataset.test.texts) == 3
    assert dataset.notes == (f"3 of the 10 texts of {train} are in {test} too: they are left out of the pool.",)
    with pytest.raises(PrepalError, match=r"^10 of the 10 texts of .* no other one has the label 'a': give"):
        load(train, train)


@pytest.mark.parametrize("pool", [4, 30, 100, 400])
def test_a_part_of_a_sorted_pool_has_all_labels_in_about_their_shares(tmp_path: Path, pool: int) -> None:
    rows = [(f"text {n}", "rare" if n < 3 else "b" if n < 100 else "c" if n < 280 else "d") for n in range(400)]
    train, test = written(tmp_path, "train.jsonl", rows), written(tmp_path, "test.jsonl", [("another", "rare")])
    dataset = load(train, test, pool)
    shares = np.bincount(dataset.train.labels) / pool
    assert len(set(dataset.train.texts)) == len(dataset.train.texts) == pool
    np.testing.assert_allclose(shares, np.array([97, 180, 120, 3]) / 400, atol=4 / pool)
    assert load(train, test, pool).train.texts == dataset.train.texts
    assert dataset.train.texts != [text for text, _ in rows[:pool]] or pool == 400


def test_a_pool_that_cannot_have_all_labels_is_refused_in_true_words(tmp_path: Path) -> None:
    rows = [(f"text {n}", f"label {n % 9}") for n in range(90)]
    train, test = written(tmp_path, "train.jsonl", rows), written(tmp_path, "test.jsonl", [("another", "label 1")])
    with pytest.raises(PrepalError, match=r"^--pool 5 is too few for the 9 labels of .*: take 9 or more\.$"):
        load(train, test, 5)


def test_lists_of_labels_keep_every_label_in_a_part_of_the_pool(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [(f"text {n}", [f"l{c}" for c in np.flatnonzero(rng.random(6) < 0.2)]) for n in range(200)]
    rows[7] = ("text 7", ["only here"])
    train, test = written(tmp_path, "train.jsonl", rows), written(tmp_path, "test.jsonl", [("another", [])])
    dataset = load(train, test, 20)
    assert len(dataset.train.texts) == 20
    assert np.asarray(dataset.train.labels).any(axis=0).all()


def test_lines_end_in_a_table_where_they_end_for_everyone_else(tmp_path: Path) -> None:
    for part in ("train", "test"):
        table = [f"{part} one\u2028two\u0085three\x0cfour {n},{'ab'[n % 2]}" for n in range(4)]
        (tmp_path / f"{part}.csv").write_text("\r\n".join(["text,label", *table]), encoding="utf-8", newline="")
    dataset = load(tmp_path / "train.csv", tmp_path / "test.csv")
    assert dataset.train.texts == [f"train one\u2028two\u0085three\x0cfour {n}" for n in range(4)]
    assert dataset.train.labels.tolist() == [0, 1, 0, 1]


def test_labels_of_both_files_are_the_same_in_any_unicode_form(tmp_path: Path) -> None:
    train = written(tmp_path, "train.jsonl", [(f"text {n}", "Café" if n % 2 else "tea") for n in range(6)])
    test = written(tmp_path, "test.jsonl", [("another", "Cafe\u0301"), ("one more", "tea")])
    dataset = load(train, test)
    assert dataset.choices == ["Café", "tea"]
    assert dataset.test.labels.tolist() == [0, 1]
