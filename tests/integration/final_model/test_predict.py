"""Predicting from the command line, with a model of this or of an older release."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from tests.helpers.finetuned import TESTED, Run

from prepal.cli.main import main
from prepal_workers.final_model.predict import Predictor


def test_predictions_go_from_a_file_to_a_file(run: Run, tmp_path: Path) -> None:
    rows = [{"text": ticket.text, "ticket": number} for number, ticket in enumerate(TESTED)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("out.jsonl", "out.csv"):
        command = ["predict", str(run.folder), "--input", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / name)]
        told = CliRunner().invoke(main, [*command, "--threshold", "0.8", "--json"])
        assert told.exit_code == 0, told.output
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["ticket"] for line in lines] == list(range(len(TESTED)))
    assert lines[0].keys() == {"text", "ticket", "predicted", "confidence", "sure"}
    sure = [line["predicted"] == ticket.topic for line, ticket in zip(lines, TESTED, strict=True) if line["sure"]]
    assert len(sure) == json.loads(told.stdout)["sure"] > 50
    assert np.mean(sure) > 0.79
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["predicted"] for row in csv.DictReader(file)] == [line["predicted"] for line in lines]


def test_an_accuracy_that_is_safe_for_no_text_marks_none(run: Run) -> None:
    found = Predictor(run.folder).predict(["Where is my parcel?"], 0.99999)
    assert found.threshold is not None
    assert found.threshold.confidence is None
    assert "is safe for none: label more." in str(found.threshold)
    assert found.sure is not None
    assert not found.sure.any()


def test_a_model_of_an_older_release_predicts_and_calls_nothing_sure(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(run.folder, folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["trust"]
    metrics["calibration"]["highest_temperature"] = 2.0
    del metrics["data"]["how_many"]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "in.csv").write_text("text\nWhere is my parcel?\n")
    command = ["predict", str(folder), "--input", str(tmp_path / "in.csv"), "--out", str(tmp_path / "out.csv")]
    told = CliRunner().invoke(main, [*command, "--threshold", "0.8", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["sure"] == 0
    assert "The model is of an older release" in told.stderr
    (folder / "metrics.json").write_text("{}")
    told = CliRunner().invoke(main, command)
    assert told.exit_code == 1
    assert "has no metrics.json that can be read" in " ".join(told.output.split())
