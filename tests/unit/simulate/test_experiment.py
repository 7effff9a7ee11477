"""One experiment: what is asked for, and how it is measured."""

from typing import Any

import numpy as np

from prepal.cli import models
from prepal_workers.simulate.dataset import Dataset, Labelled
from prepal_workers.simulate.experiment import Setting, run, scores
from prepal_workers.simulate.grid import rows_of
from prepal_workers.simulate.presets import PRESETS
from prepal_workers.simulate.vectors import Vectors


def picks(rows: list[dict[str, Any]]) -> dict[tuple[str, int, int], list[int]]:
    return {(row["strategy"], row["seed"], row["round"]): row["picked"] for row in rows}


def test_every_label_is_asked_for_once_and_rows_say_how_well_it_went(
    dataset: Dataset, vectors: dict[str, Vectors]
) -> None:
    setting = Setting("auto", "blobs", budget=60, batch_size=20)
    rows = list(run(setting, dataset, vectors))
    assert [row["labels"] for row in rows] == [0, 20, 40, 60]
    asked = [place for row in rows for place in row["picked"]]
    assert len(set(asked)) == len(asked) == 60
    assert rows[-1]["accuracy"] > 0.7
    assert {"strategy", "seed", "round", "labels", "accuracy", "macro_f1", "fit_s", "rank_s"} <= rows[0].keys()
    assert len(rows) == rows_of(setting, dataset)


def test_the_same_seed_gives_the_same_picks_and_another_seed_others(
    dataset: Dataset, vectors: dict[str, Vectors]
) -> None:
    first, second, other = (
        picks(list(run(Setting("random", "blobs", seed=seed), dataset, vectors))) for seed in (3, 3, 4)
    )
    assert first == second
    assert list(first.values()) != list(other.values())


def test_a_label_that_was_acquired_for_another_model_is_judged_on_its_vectors(
    dataset: Dataset, vectors: dict[str, Vectors]
) -> None:
    useless = Vectors(*(np.ones_like(part) for part in vars(vectors["blobs"]).values()))
    both = {**vectors, "useless": useless}
    setting = Setting("random", "useless", judge="blobs", budget=60, batch_size=60, label_names=False)
    *_, last = run(setting, dataset, both)
    assert last["accuracy"] > 0.7


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
        labels = np.eye(3, dtype=bool)[rng.integers(3, size=size)]
        return Labelled([f"text {n}" for n in range(size)], labels)

    train, test = part(200), part(50)
    # Nothing tells the labels apart, so that none is ever likelier than not.
    noise = Vectors(*(rng.normal(size=(n, 8)).astype(np.float32) / 9 for n in (200, 50, 3)))
    dataset = Dataset("sets", ["a", "b", "c"], True, train, test)
    *_, last = run(Setting("random", "noise", budget=150, batch_size=50, label_names=False), dataset, {"noise": noise})
    assert last["accuracy"] > 0.15


def test_the_presets_that_help_lists_are_those_there_are() -> None:
    assert {name: preset.help for name, preset in PRESETS.items()} == models._PRESETS
    for preset in PRESETS.values():
        assert [Setting(**{"encoder": "e", **arm}) for arm in preset.arms_for("e")]
