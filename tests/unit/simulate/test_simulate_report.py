"""What a report of experiments says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prepal_workers.simulate import report
from prepal_workers.simulate.experiment import Setting


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


def test_names_that_beat_randoms_last_point_need_no_label_at_all(tmp_path: Path) -> None:
    rows = [*a_curve("random", [0, 0.5, 0.6])]
    rows += [{**row, "accuracy": 0.9} for row in a_curve("auto", [0.9, 0.9, 0.9])]
    table = {row["arm"]: row for row in report.write(rows, "A $title$", "prepal simulate", tmp_path)}
    assert table["auto"]["needed"] == 0
    assert table["auto"]["times_fewer"] is None
    assert table["random"]["needed"] == 20
    json.dumps(list(table.values()), allow_nan=False)


def test_successors_stand_beside_what_their_arm_knew_with_as_many_labels(tmp_path: Path) -> None:
    rows = [
        *a_curve("random", [0, 0.5, 0.6]),
        *a_curve("random", [0, 0.7, 0.8], seed=1),
        *a_curve("auto", [0, 0.6, 0.8]),
    ]

    def taught(strategy: str, seed: int, labels: int, accuracy: float) -> dict[str, Any]:
        about = next(row for row in rows if (row["strategy"], row["seed"]) == (strategy, seed))
        figures = {"labels": labels, "accuracy": accuracy, "macro_f1": accuracy / 2}
        return {**about, "phase": "successor", "successor": "hub/other <encoder>", **figures}

    rows += [taught("random", seed, labels, labels / 40 + seed / 4) for seed in (0, 1) for labels in (10, 20)]
    rows += [{**rows[-1], "phase": "final", "labels": 20, "accuracy": 0.9}]
    del rows[-1]["successor"]
    table = {row["arm"]: row for row in report.write(rows, "A title", "prepal simulate", tmp_path)}
    assert table["auto"]["successors"] == []
    first, last = table["random"]["successors"]
    assert (first["labels"], last["labels"]) == (10, 20)
    assert (first["own"], last["own"]) == (pytest.approx(0.6), pytest.approx(0.7))
    assert first["accuracy"] == {"hub/other <encoder>": pytest.approx(0.375)}
    assert last["macro_f1"] == {"hub/other <encoder>": pytest.approx(0.625 / 2)}
    assert (first["final"], last["final"]) == (None, pytest.approx(0.9))
    assert report.successor_names(list(table.values())) == ["hub/other <encoder>"]
    page = (tmp_path / "report.html").read_text()
    assert "<th>other &lt;encoder&gt;</th>" in page
    assert "<td>0.3750</td>" in page


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
