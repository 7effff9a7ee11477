"""Results of experiments: runs that go on, and rows of other texts that are set apart."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prepal.errors import PrepalError
from prepal_workers.simulate.dataset import Dataset, Labelled
from prepal_workers.simulate.experiment import Setting
from prepal_workers.simulate.grid import read, run_all, set_apart
from prepal_workers.simulate.vectors import Vectors

SETTINGS = [
    Setting(strategy, "blobs", budget=60, batch_size=20, seed=seed)
    for strategy in ("auto", "random")
    for seed in (0, 1)
]


def picks(rows: list[dict[str, Any]]) -> dict[tuple[str, int, int], list[int]]:
    return {(row["strategy"], row["seed"], row["round"]): row["picked"] for row in rows}


def test_a_run_that_was_interrupted_goes_on_and_repeats_nothing_that_is_complete(
    dataset: Dataset, vectors: dict[str, Vectors], tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    seen: list[int] = []
    whole = run_all(SETTINGS, dataset, vectors, results, 1, seen.append)
    assert seen[-1] == len(whole) == 16
    lines = results.read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["strategy"] == "auto"]
    partial = next(line for line in lines if json.loads(line)["strategy"] == "random")
    results.write_text("".join(kept) + partial + '{"torn')
    again = run_all(SETTINGS, dataset, vectors, results, 1, seen.append)
    assert picks(again) == picks(whole)
    assert results.read_text().startswith("".join(kept))


def test_results_of_other_texts_are_not_mixed_in(dataset: Dataset, vectors: dict[str, Vectors], tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    run_all(SETTINGS[:1], dataset, vectors, results, 1, lambda _: None)
    other = Dataset("others", dataset.choices, False, dataset.train, dataset.test)
    with pytest.raises(PrepalError, match=r"has results of blobs, not of others: choose another --out\.$"):
        run_all(SETTINGS[:1], other, vectors, results, 1, lambda _: None)


def test_results_of_other_texts_labels_or_releases_are_set_apart(
    dataset: Dataset, vectors: dict[str, Vectors], tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    first = run_all(SETTINGS[2:3], dataset, vectors, results, 1, lambda _: None)
    assert set_apart(results, dataset) is None
    labels = np.array(dataset.train.labels)
    labels[:150] = (labels[:150] + 1) % len(dataset.choices)
    corrected = dataclasses.replace(dataset, train=Labelled(dataset.train.texts, labels))
    again = run_all(SETTINGS[2:3], corrected, vectors, results, 1, lambda _: None)
    assert [row["accuracy"] for row in again] != [row["accuracy"] for row in first]
    assert read(results) == again
    assert read(tmp_path / "results-earlier.jsonl") == first
    old_release = [{**row, "version": "0.0.1"} for row in again]
    without = [{name: value for name, value in row.items() if name != "data"} for row in again]
    wordless = [{**row, "models": row["models"][:-1]} for row in again]
    results.write_text("".join(json.dumps(row) + "\n" for row in [*old_release, *without, *wordless, *again]))
    assert set_apart(results, corrected) == tmp_path / "results-earlier.jsonl"
    assert read(results) == again
    assert read(tmp_path / "results-earlier.jsonl") == [*first, *old_release, *without, *wordless]


def test_results_of_another_encoder_in_the_same_folder_are_set_apart(
    dataset: Dataset, vectors: dict[str, Vectors], tmp_path: Path
) -> None:
    folder, results = tmp_path / "encoder", tmp_path / "results.jsonl"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    setting = dataclasses.replace(SETTINGS[2], encoder=str(folder))
    first = run_all([setting], dataset, {str(folder): vectors[SETTINGS[2].encoder]}, results, 1, lambda _: None)
    assert set_apart(results, dataset) is None
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert set_apart(results, dataset) == tmp_path / "results-earlier.jsonl"
    assert read(results) == []
    assert read(tmp_path / "results-earlier.jsonl") == first


@pytest.mark.parametrize(
    ("line", "what"), [("3", "an object"), ("[]", "an object"), ("{}", "a result"), ('{"version": "1"}', "a result")]
)
def test_a_file_that_has_no_results_is_left_alone(dataset: Dataset, tmp_path: Path, line: str, what: str) -> None:
    (tmp_path / "results.jsonl").write_text(f"{line}\n")
    with pytest.raises(PrepalError, match=rf"results.jsonl line 1 is not {what}: choose another --out\.$"):
        set_apart(tmp_path / "results.jsonl", dataset)
    assert (tmp_path / "results.jsonl").read_text() == f"{line}\n"


@pytest.mark.parametrize(
    ("last", "kept"),
    [('{"dataset": "d", "x', 1), ('{"dataset": "d", "x\n', 1), ("\0\0\0\n", 1), ('{"dataset": "e"}', 2)],
)
def test_of_a_last_line_only_what_is_broken_is_left_out(tmp_path: Path, last: str, kept: int) -> None:
    results = tmp_path / "results.jsonl"
    results.write_text('{"dataset": "d"}\n' + last)
    assert len(read(results)) == kept
