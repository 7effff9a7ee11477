"""`prepal simulate`: what it reads, how it resumes, and what its report says."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prepal.cli import main
from prepal.errors import PrepalError
from prepal_workers.simulate import report
from prepal_workers.simulate.dataset import Dataset, Labelled, load
from prepal_workers.simulate.encoders import word_counts
from prepal_workers.simulate.experiment import Setting, Vectors, run, scores
from prepal_workers.simulate.grid import read, rows_of, run_all, set_apart
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
    table = {row["arm"]: row for row in report.write(rows, "A <title>", "prepal simulate", tmp_path, ["Note <1>."])}
    assert table["auto"]["target"] == pytest.approx(0.7)
    assert table["auto"]["needed"] == pytest.approx(15)
    assert table["auto"]["times_fewer"] == pytest.approx(40 / 15)
    assert table["auto"]["area"] == pytest.approx(0.8)
    assert table["random"]["times_fewer"] == pytest.approx(40 / 30)
    assert table["auto"]["fit_s"] == pytest.approx(2.5)
    page = (tmp_path / "report.html").read_text()
    assert "A &lt;title&gt;" in page
    assert "Note &lt;1&gt;." in page
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
    assert {name: preset.help for name, preset in PRESETS.items()} == main._PRESETS
    for preset in PRESETS.values():
        assert [Setting(**{"encoder": "e", **arm}) for arm in preset.arms_for("e")]


def test_pairs_and_lists_of_labels_are_read(tmp_path: Path) -> None:
    for part in ("train", "test"):
        b = "st" if part == "train" else "uv"
        rows = [{"text_a": "q", "text_b": b[0], "label": ["x", "y"]}, {"text_a": "r", "text_b": b[1], "label": []}]
        (tmp_path / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = load(tmp_path / "train.jsonl", tmp_path / "test.jsonl")
    assert found.train.texts == ["q\ns", "r\nt"]
    assert found.train.labels.tolist() == [[True, True], [False, False]]
    assert read(tmp_path / "none.jsonl") == []


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


def test_results_of_other_texts_labels_or_releases_are_set_apart(
    dataset: Dataset, vectors: dict[str, Vectors], tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    first = run_all(SETTINGS[2:3], dataset, vectors, results, 1, lambda _: None)
    assert set_apart(results, dataset) is None
    labels = np.array(dataset.train.labels)
    labels[:150] = (labels[:150] + 1) % KINDS
    corrected = dataclasses.replace(dataset, train=Labelled(dataset.train.texts, labels))
    again = run_all(SETTINGS[2:3], corrected, vectors, results, 1, lambda _: None)
    assert [row["accuracy"] for row in again] != [row["accuracy"] for row in first]
    assert read(results) == again
    assert read(tmp_path / "results-earlier.jsonl") == first
    old_release = [{**row, "version": "0.0.1"} for row in again]
    without = [{name: value for name, value in row.items() if name != "data"} for row in again]
    results.write_text("".join(json.dumps(row) + "\n" for row in [*old_release, *without, *again]))
    assert set_apart(results, corrected) == tmp_path / "results-earlier.jsonl"
    assert read(results) == again
    assert read(tmp_path / "results-earlier.jsonl") == [*first, *old_release, *without]


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


def test_names_that_beat_randoms_last_point_need_no_label_at_all(tmp_path: Path) -> None:
    rows = [*a_curve("random", [0, 0.5, 0.6])]
    rows += [{**row, "accuracy": 0.9} for row in a_curve("auto", [0.9, 0.9, 0.9])]
    table = {row["arm"]: row for row in report.write(rows, "A $title$", "prepal simulate", tmp_path)}
    assert table["auto"]["needed"] == 0
    assert table["auto"]["times_fewer"] is None
    assert table["random"]["needed"] == 20
    json.dumps(list(table.values()), allow_nan=False)


accuracies = st.none() | st.sampled_from([0.0, 0.5, 0.5, 1.0]) | st.floats(0, 1)


@given(
    st.integers(1, 4).flatmap(
        lambda length: st.lists(
            st.tuples(st.sampled_from(["random", "auto"]), st.lists(accuracies, min_size=length, max_size=length)),
            min_size=1,
            max_size=4,
        )
    ),
    st.sampled_from([1, 5, 10]),
)
@settings(deadline=None, max_examples=20)
def test_whatever_curves_there_are_a_report_is_written(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[str, list[float | None]]], step: int
) -> None:
    rows = []
    for seed, (strategy, curve) in enumerate(runs):
        for row, accuracy in zip(a_curve(strategy, [0.0] * len(curve), seed), curve, strict=True):
            rows.append({**row, "labels": row["labels"] // 10 * step, "accuracy": accuracy, "macro_f1": accuracy})
    folder = tmp_path_factory.mktemp("report")
    table = report.write(rows, "_title", "prepal simulate", folder)
    json.dumps(table, allow_nan=False)
    for row in table:
        assert row["needed"] is None or row["target"] is not None
    assert (folder / "curves.png").stat().st_size


def test_accuracy_and_macro_f1_are_those_of_finetune() -> None:
    probabilities = np.array([[0.9, 0.6, 0.1, 0.0], [0.2, 0.4, 0.1, 0.0], [0.5, 0.1, 0.1, 0.0]], np.float32)
    truth = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]], bool)
    given_one = scores(probabilities, Labelled(["a", "b", "c"], truth), "some")
    # The last two labels are neither had nor given, and do not count.
    assert given_one == {"accuracy": 1.0, "macro_f1": 1.0}
    given_none = scores(probabilities, Labelled(["a", "b", "c"], truth), "any")
    assert given_none == {"accuracy": round(1 / 3, 6), "macro_f1": round(2 / 3, 6)}
    single = scores(probabilities, Labelled(["a", "b", "c"], np.array([0, 1, 0])), "one")
    assert single == {"accuracy": 1.0, "macro_f1": 1.0}


def test_where_all_texts_that_were_labelled_have_some_label_each_is_given_one() -> None:
    rng = np.random.default_rng(0)

    def part(size: int) -> Labelled:
        labels = np.eye(KINDS, dtype=bool)[rng.integers(KINDS, size=size)]
        return Labelled([f"text {n}" for n in range(size)], labels)

    train, test = part(200), part(50)
    # Nothing tells the labels apart, so that none is ever likelier than not.
    noise = Vectors(*(rng.normal(size=(n, 8)).astype(np.float32) / 9 for n in (200, 50, KINDS)))
    dataset = Dataset("sets", ["a", "b", "c"], True, train, test)
    *_, last = run(Setting("random", "noise", budget=150, batch_size=50, label_names=False), dataset, {"noise": noise})
    assert last["accuracy"] > 0.15


@pytest.mark.parametrize("texts", [["all", "differ"], ["one word", "one thing", "", "one"]])
def test_word_counts_of_hardly_any_words_are_refused(texts: list[str]) -> None:
    with pytest.raises(PrepalError, match=r"^word-counts needs two words that occur in two texts each"):
        word_counts(texts)
