"""Successors: what learns from the acquired labels alone, and never chooses."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from prepal.errors import PrepalError
from prepal_workers.simulate.dataset import Dataset, Labelled
from prepal_workers.simulate.experiment import Setting, run
from prepal_workers.simulate.grid import read, rows_of, run_all, set_apart
from prepal_workers.simulate.successors import Features, counts, predicted, teach, words
from prepal_workers.simulate.vectors import Vectors

generated = settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def features(vectors: dict[str, Vectors]) -> Features:
    return Features(vectors["blobs"].train, vectors["blobs"].test)


def without_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in ("fit_s", "rank_s")} for row in rows]


@given(
    st.sampled_from(["auto", "random", "margin", "typiclust"]),
    st.integers(1, 40),
    st.integers(1, 60),
    st.integers(0, 9),
)
@generated
def test_a_successor_never_changes_what_is_chosen_or_measured(
    dataset: Dataset,
    vectors: dict[str, Vectors],
    tmp_path_factory: pytest.TempPathFactory,
    strategy: str,
    batch_size: int,
    budget: int,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    setting = Setting(strategy, "blobs", batch_size=batch_size, budget=budget, seed=seed)
    sees = {"logistic": None, "other": features(vectors)}
    with_both = run_all([setting], dataset, vectors, folder / "with.jsonl", 1, lambda _: None, sees)
    without = run_all([setting], dataset, vectors, folder / "without.jsonl", 1, lambda _: None)
    own = [row for row in with_both if row["phase"] == "round"]
    assert without_time(own) == without_time(without)
    assert len(with_both) == rows_of(setting, dataset, 2)
    taught = [row for row in with_both if row["phase"] == "successor"]
    assert {row["labels"] for row in taught} <= {row["labels"] for row in own}
    assert [row["accuracy"] for row in taught if row["successor"] == "logistic"] == [
        row["accuracy"] for row in taught if row["successor"] == "other"
    ]


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 1000))
def test_successors_are_taught_a_third_of_the_budget_in_whole_batches_and_all_of_it(
    budget: int, batch_size: int, texts: int
) -> None:
    found = counts(budget, batch_size, texts)
    last = min(budget, texts)
    assert found[-1] == last
    assert len(found) <= 2
    assert found[0] * 3 >= last
    assert found[0] == last or found[0] % batch_size == 0
    assert (found[0] - batch_size) * 3 < last


def test_by_default_that_is_100_and_300() -> None:
    assert counts(300, 10, 3000) == [100, 300]


@given(st.randoms(use_true_random=False), st.booleans(), st.booleans())
@generated
def test_a_successor_sees_no_label_but_those_that_were_acquired(
    dataset: Dataset, vectors: dict[str, Vectors], random: Any, multilabel: bool, sparse: bool
) -> None:
    rng = np.random.default_rng(random.getrandbits(32))
    sees = features(vectors)
    if sparse:
        sees = Features(csr_matrix(sees.train), csr_matrix(sees.test))
    k = len(dataset.choices)

    def as_labels(labels: Any) -> Any:
        return np.eye(k, dtype=bool)[labels] if multilabel else labels

    def with_labels(labels: Any) -> Dataset:
        train = Labelled(dataset.train.texts, as_labels(labels))
        test = Labelled(dataset.test.texts, as_labels(dataset.test.labels))
        return dataclasses.replace(dataset, multilabel=multilabel, train=train, test=test)

    setting = Setting("random", "blobs", batch_size=10, budget=60)
    picked = rng.permutation(len(dataset.train.texts))[:60]

    def accuracies(labels: Any) -> list[tuple[float, float]]:
        rows = teach("any", sees, setting, with_labels(labels), picked.tolist())
        return [(row["accuracy"], row["macro_f1"]) for row in rows]

    def changed(places: Any) -> Any:
        labels = np.array(dataset.train.labels)
        labels[places] = (labels[places] + 1) % k
        return labels

    truth = accuracies(dataset.train.labels)
    assert truth[1][0] > 0.6
    assert accuracies(changed(np.setdiff1d(np.arange(len(dataset.train.texts)), picked))) == truth
    assert accuracies(changed(picked[20:]))[0] == truth[0]
    assert accuracies(changed(picked))[1][0] < 0.4


def test_of_one_choice_alone_a_successor_predicts_that_choice() -> None:
    train, asked = np.eye(4, 3, dtype=np.float32), np.ones((2, 3), np.float32)
    assert predicted(train, np.full(4, 2), asked, 5).tolist() == [[0, 0, 1, 0, 0]] * 2
    sets = np.zeros((4, 3), bool)
    sets[:, 1] = True
    assert predicted(train, sets, asked, 3).tolist() == [[0, 1, 0]] * 2


def test_a_successor_is_scikit_learns_regression_with_nothing_for_choices_that_nobody_chose() -> None:
    rng = np.random.default_rng(0)
    train, asked = rng.normal(size=(30, 5)).astype(np.float32), rng.normal(size=(7, 5)).astype(np.float32)
    labels = rng.choice([1, 3, 4], size=30)
    found = predicted(train, labels, asked, 6)
    plain = LogisticRegression(C=10, max_iter=1000).fit(train, labels)
    np.testing.assert_allclose(found[:, [1, 3, 4]], plain.predict_proba(asked), atol=1e-6)
    assert not found[:, [0, 2, 5]].any()
    sets = np.column_stack([labels == 1, rng.random(30) < 0.4, np.zeros(30, bool)])
    several = predicted(train, sets, asked, 3)
    for column in (0, 1):
        one = LogisticRegression(C=10, max_iter=1000).fit(train, sets[:, column])
        np.testing.assert_allclose(several[:, column], one.predict_proba(asked)[:, 1], atol=1e-6)
    assert not several[:, 2].any()


def test_words_are_those_of_the_pool_and_tell_its_labels_apart() -> None:
    texts = ["a red car", "the red van", "a blue sky", "the blue sea"] * 5
    seen = words(texts, ["red", "blue", "green"])
    assert seen.train.shape == (20, 2 + 1 + 4)  # a letter alone is no word
    found = predicted(seen.train, np.array([0, 0, 1, 1] * 5), seen.test, 2)
    assert found.argmax(axis=1)[:2].tolist() == [0, 1]
    assert seen.test[2].nnz == 0


@pytest.mark.parametrize("texts", [["all", "differ"], ["", "a"]])
def test_words_that_no_two_texts_share_are_refused(texts: list[str]) -> None:
    with pytest.raises(PrepalError, match=r"^The successor word-counts needs a word that occurs in two texts: "):
        words(texts, texts)


def test_labels_of_another_model_are_judged_on_its_vectors(
    dataset: Dataset, vectors: dict[str, Vectors], tmp_path: Path
) -> None:
    useless = Vectors(*(np.ones_like(part) for part in vars(vectors["blobs"]).values()))
    setting = Setting("random", "useless", judge="blobs", budget=60, batch_size=60, label_names=False)
    both = {**vectors, "useless": useless}
    *_, last = run_all([setting], dataset, both, tmp_path / "results.jsonl", 1, lambda _: None, {"logistic": None})
    assert last["phase"] == "successor"
    assert last["accuracy"] > 0.7


def test_results_without_successors_stay_and_are_taught_and_what_is_half_taught_is_taught_again(
    dataset: Dataset, vectors: dict[str, Vectors], tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    grid = [Setting("random", "blobs", budget=60, batch_size=20, seed=seed) for seed in (0, 1)]
    seen: list[int] = []
    both: dict[str, Features | None] = {"logistic": None, "other": features(vectors)}
    run_all(grid, dataset, vectors, results, 1, seen.append)
    before = results.read_bytes()
    run_all(grid, dataset, vectors, results, 1, seen.append, {"logistic": None})
    first = results.read_bytes()
    assert first.startswith(before)
    rows = run_all(grid, dataset, vectors, results, 1, seen.append, both)
    assert results.read_bytes().startswith(first)
    assert seen[-1] == len(rows) == sum(rows_of(setting, dataset, 2) for setting in grid)
    whole = results.read_bytes()
    assert run_all(grid, dataset, vectors, results, 1, seen.append, both) == rows
    assert results.read_bytes() == whole
    # Who asks for one alone is told of that one.
    alone = run_all(grid, dataset, vectors, results, 1, seen.append, {"other": None})
    assert {row.get("successor") for row in alone} == {None, "other"}
    # A machine stopped in the middle of the last one.
    lines = whole.splitlines(keepends=True)
    results.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    again = run_all(grid, dataset, vectors, results, 1, seen.append, both)
    assert without_time(again) == without_time(rows)
    assert results.read_bytes().startswith(b"".join(lines[:-2]))


def test_a_run_that_is_not_complete_is_repeated_with_its_successors(
    dataset: Dataset, vectors: dict[str, Vectors], tmp_path: Path
) -> None:
    results, setting = tmp_path / "results.jsonl", Setting("random", "blobs", budget=60, batch_size=20)
    rows = run_all([setting], dataset, vectors, results, 1, lambda _: None, {"logistic": None})
    kept = [row for row in rows if row["phase"] == "successor" or row["labels"] < 60]
    results.write_text("".join(json.dumps(row) + "\n" for row in kept))
    again = run_all([setting], dataset, vectors, results, 1, lambda _: None, {"logistic": None})
    assert without_time(again) == without_time(rows)
    assert without_time([row for row in again if row["phase"] == "round"]) == without_time(
        list(run(setting, dataset, vectors))
    )


def test_of_another_encoder_in_the_same_folder_only_successors_are_set_apart(
    dataset: Dataset, vectors: dict[str, Vectors], tmp_path: Path
) -> None:
    folder, results = tmp_path / "encoder", tmp_path / "results.jsonl"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    setting, sees = Setting("random", "blobs", budget=60, batch_size=20), {str(folder): features(vectors)}
    rows = run_all([setting], dataset, vectors, results, 1, lambda _: None, {"logistic": None, **sees})
    assert set_apart(results, dataset) is None
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert set_apart(results, dataset) == tmp_path / "results-earlier.jsonl"
    assert read(results) == [row for row in rows if row.get("successor") != str(folder)]
    assert read(tmp_path / "results-earlier.jsonl") == [row for row in rows if row.get("successor") == str(folder)]
