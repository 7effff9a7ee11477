"""`prepal simulate`: what it reads, how it resumes, and what its report says."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prepal import cli
from prepal.errors import PrepalError
from prepal_workers.simulate import report
from prepal_workers.simulate.dataset import Dataset, Labelled, load
from prepal_workers.simulate.encoders import word_counts
from prepal_workers.simulate.experiment import Setting, Vectors, run
from prepal_workers.simulate.grid import read, rows_of, run_all
from prepal_workers.simulate.presets import PRESETS

KINDS = 3


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(0)

    def part(size: int) -> Labelled:
        labels = rng.integers(KINDS, size=size)
        return Labelled([f"text {number}" for number in range(size)], labels)

    return Dataset("blobs", ["a", "b", "c"], False, part(200), part(50))


@pytest.fixture
def vectors(dataset: Dataset) -> dict[str, Vectors]:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(KINDS, 8))

    def of(labels: Any) -> Any:
        return (centres[labels] + 0.7 * rng.normal(size=(len(labels), 8))).astype(np.float32)

    return {"blobs": Vectors(of(dataset.train.labels), of(dataset.test.labels), centres.astype(np.float32))}


SETTINGS = [
    Setting(strategy, "blobs", budget=60, batch_size=20, seed=seed)
    for strategy in ("auto", "random")
    for seed in (0, 1)
]


def picks(rows: list[dict[str, Any]]) -> dict[tuple[str, int, int], list[int]]:
    return {(row["strategy"], row["seed"], row["round"]): row["picked"] for row in rows}


def test_every_label_is_asked_for_once_and_rows_say_how_well_it_went(
    dataset: Dataset, vectors: dict[str, Vectors]
) -> None:
    rows = list(run(SETTINGS[0], dataset, vectors))
    assert [row["labels"] for row in rows] == [0, 20, 40, 60]
    asked = [place for row in rows for place in row["picked"]]
    assert len(set(asked)) == len(asked) == 60
    assert rows[-1]["accuracy"] > 0.7
    assert {"strategy", "seed", "round", "labels", "accuracy", "macro_f1", "fit_s", "rank_s"} <= rows[0].keys()
    assert len(rows) == rows_of(SETTINGS[0], dataset)


def test_the_same_seed_gives_the_same_picks_and_another_seed_others(
    dataset: Dataset, vectors: dict[str, Vectors]
) -> None:
    first, second, other = (
        picks(list(run(Setting("random", "blobs", seed=seed), dataset, vectors))) for seed in (3, 3, 4)
    )
    assert first == second
    assert list(first.values()) != list(other.values())


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


def test_a_label_that_was_acquired_for_another_model_is_judged_on_its_vectors(
    dataset: Dataset, vectors: dict[str, Vectors]
) -> None:
    useless = Vectors(*(np.ones_like(part) for part in vars(vectors["blobs"]).values()))
    both = {**vectors, "useless": useless}
    setting = Setting("random", "useless", judge="blobs", budget=60, batch_size=60, label_names=False)
    *_, last = run(setting, dataset, both)
    assert last["accuracy"] > 0.7


def a_curve(strategy: str, accuracies: list[float], seed: int = 0) -> Iterator[dict[str, Any]]:
    for number, accuracy in enumerate(accuracies):
        yield {
            **vars(Setting(strategy, "e", seed=seed, label_names=False)),
            "version": "1",
            "dataset": "d",
            "phase": "round",
            "round": number,
            "labels": 10 * number,
            "accuracy": accuracy if number else None,
            "macro_f1": accuracy,
            "fit_s": 0.5,
            "rank_s": 0.25,
            "picked": [],
        }


def test_labels_needed_are_counted_where_the_mean_curve_crosses_randoms_last_accuracy(tmp_path: Path) -> None:
    rows = [*a_curve("random", [0, 0.5, 0.6, 0.7, 0.8]), *a_curve("random", [0, 0.5, 0.6, 0.7, 0.6], seed=1)]
    rows += a_curve("auto", [0, 0.6, 0.8, 0.9, 0.9])
    table = {row["arm"]: row for row in report.write(rows, "A <title>", "prepal simulate", tmp_path)}
    assert table["auto"]["target"] == pytest.approx(0.7)
    assert table["auto"]["needed"] == pytest.approx(15)
    assert table["auto"]["times_fewer"] == pytest.approx(40 / 15)
    assert table["auto"]["area"] == pytest.approx(0.8)
    assert table["random"]["times_fewer"] == pytest.approx(40 / 30)
    assert table["auto"]["fit_s"] == pytest.approx(2.5)
    page = (tmp_path / "report.html").read_text()
    assert "A &lt;title&gt;" in page
    assert "<svg" in page
    assert "src=" not in page
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_word_counts_are_unit_vectors_that_tell_texts_apart() -> None:
    texts = ["a red car", "the red car", "a blue sky", "the blue sky"] * 3
    train, test = word_counts(texts, ["red car", "blue sky"])
    np.testing.assert_allclose(np.linalg.norm(train, axis=1), 1, atol=1e-5)
    assert test[0] @ train[0] > test[0] @ train[2]


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


def test_the_presets_that_help_lists_are_those_there_are() -> None:
    assert {name: preset.help for name, preset in PRESETS.items()} == cli._PRESETS
    for preset in PRESETS.values():
        assert [Setting(**{"encoder": "e", **arm}) for arm in preset.arms_for("e")]


def test_pairs_and_lists_of_labels_are_read(tmp_path: Path) -> None:
    rows = [{"text_a": "q", "text_b": "s", "label": ["x", "y"]}, {"text_a": "r", "text_b": "t", "label": []}]
    for part in ("train", "test"):
        (tmp_path / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = load(tmp_path / "train.jsonl", tmp_path / "test.jsonl")
    assert found.train.texts == ["q\ns", "r\nt"]
    assert found.train.labels.tolist() == [[True, True], [False, False]]
    assert read(tmp_path / "none.jsonl") == []
