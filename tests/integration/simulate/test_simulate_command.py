"""`prepal simulate` as an ML engineer runs it, with the real encoder and the vector cache."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from prepal.cli.main import main
from prepal.demo.data import load_tickets, split
from prepal.settings import Settings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sample tickets with their topics: a pool of 150, and 60 to measure on."""
    folder = tmp_path_factory.mktemp("data")
    rest, test = split(load_tickets(), held_back=60)
    for name, tickets in (("train", rest[:150]), ("test", test)):
        rows = [json.dumps({"text": ticket.text, "label": ticket.topic}) for ticket in tickets]
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
    return folder


def simulate(data: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    without = {name.upper() for name in Settings.model_fields}
    environment = {name: value for name, value in os.environ.items() if name not in without}
    return subprocess.run(
        [sys.executable, "-m", "prepal.cli", "simulate", "train.jsonl", "test.jsonl", "--out", "out", *options],
        cwd=data,
        env={**environment, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_names_and_strategy_beat_random_labels_and_a_second_call_repeats_nothing(data: Path) -> None:
    options = ("--budget", "40", "--batch-size", "20", "--seeds", "2", "--json")
    done = simulate(data, *options)
    assert done.returncode == 0, done.stderr
    table: dict[str, dict[str, Any]] = {row["arm"]: row for row in json.loads(done.stdout)}
    assert set(table) == {"auto, names", "random, no names"}
    assert table["auto, names"]["area"] > table["random, no names"]["area"]
    results = (data / "out" / "results.jsonl").read_bytes()
    assert len(results.splitlines()) == 2 * 2 * 3
    assert {"report.html", "curves.png"} <= {path.name for path in (data / "out").iterdir()}
    assert simulate(data, *options).returncode == 0
    assert (data / "out" / "results.jsonl").read_bytes() == results


def test_what_learns_from_the_labels_alone_is_told_beside_what_chose_them(data: Path, tmp_path: Path) -> None:
    for name in ("train", "test"):
        shutil.copy(data / f"{name}.jsonl", tmp_path)
    few = ("--encoder", "word-counts", "--strategy", "random", "--seeds", "1", "--budget", "90", "--json")
    plain = simulate(tmp_path, *few)
    assert plain.returncode == 0, plain.stderr
    assert json.loads(plain.stdout)[0]["successors"] == []
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    encoder = "sentence-transformers/all-MiniLM-L6-v2@3"
    done = simulate(tmp_path, *few, "--successor", "logistic,word-counts", "--successor", encoder)
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)
    assert [taught["labels"] for taught in row["successors"]] == [30, 90]
    assert row["successors"][1]["own"] == row["accuracy"]
    assert list(row["successors"][1]["accuracy"]) == ["logistic", "word-counts", encoder]
    assert min(row["successors"][1]["accuracy"].values()) > 0.5
    assert "What learns from these labels alone" in done.stderr
    assert "all-MiniLM-L6-v2@3" in (tmp_path / "out" / "report.html").read_text()
    after = (tmp_path / "out" / "results.jsonl").read_bytes()
    assert after.startswith(before)
    assert len(after.splitlines()) == len(before.splitlines()) + 6
    wrong = simulate(tmp_path, *few, "--successor", "nowhere/at-all")
    assert wrong.returncode == 1
    assert "The successor nowhere/at-all cannot be used (" in wrong.stderr
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == after


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--strategy", "margn"), 'There is no strategy "margn". Did you mean "margin"?'),
        (("--classifier", "forest"), "There is no classifier 'forest': choose from"),
        (("--batch-size", "many"), "'many' is not a list of numbers"),
        (("--pool", "1"), "1 is not in the range"),
        (("--successor", "logistic,word-count"), "There is no successor 'word-count', did you mean word-counts?"),
    ],
)
def test_wrong_options_are_told_in_one_sentence(data: Path, options: tuple[str, str], sentence: str) -> None:
    files = [str(data / name) for name in ("train.jsonl", "test.jsonl")]
    done = CliRunner().invoke(main, ["simulate", *files, "--out", str(data / "wrong"), *options])
    assert done.exit_code in (1, 2)
    assert sentence in " ".join(done.stderr.split())
    assert not (data / "wrong").exists()


def test_results_are_of_the_files_as_they_are_now(data: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    shutil.copy(data / "test.jsonl", tmp_path)
    train = tmp_path / "train.jsonl"

    def accuracy(rows: list[dict[str, str]], *options: str) -> tuple[float, str]:
        train.write_text("\n".join(map(json.dumps, rows)))
        few = ("--encoder", "word-counts", "--strategy", "random", "--seeds", "1", "--budget", "60", "--json")
        done = simulate(tmp_path, *few, *options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)[0]["accuracy"], " ".join(done.stderr.split())

    rng = random.Random(0)
    by_lot = [{**row, "label": rng.choice(rows)["label"]} for row in rows]
    first, told = accuracy(by_lot)
    assert "earlier" not in told
    corrected, told = accuracy(rows)
    assert corrected > first + 0.2
    assert "had results of other texts, labels, models or another release: they are in" in told
    part, told = accuracy(sorted(rows, key=lambda row: row["label"]), "--pool", "70")
    assert "results-earlier.jsonl now" in told
    assert part != corrected
    shutil.rmtree(tmp_path / "out")
    assert accuracy(rows)[0] == corrected
