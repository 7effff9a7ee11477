"""`prepal finetune --model word-counts`: from labels, and beliefs of the rest, to a small quick model."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnxruntime import InferenceSession
from skops.io import load
from tests.helpers.finetuned import TESTED, TICKETS, Run

from prepal.cli.main import main
from prepal_workers.final_model.predict import Predictor
from prepal_workers.model.word_counts import FILE

LABELLED, REST = TICKETS[:110], TICKETS[200:700]


def finetuned(folder: Path, environment: dict[str, str], rows: list[dict[str, object]], *options: str) -> Run:
    labels, rest, out = folder / "labels.jsonl", folder / "rest.jsonl", folder / "model"
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rest.write_text("".join(json.dumps({"text": ticket.text}) + "\n" for ticket in REST))
    told = CliRunner().invoke(
        main,
        ["finetune", str(labels), "--unlabelled", str(rest), "--model", "word-counts", "--out", str(out), *options],
        env=environment,
    )
    assert told.exit_code == 0, told.output
    return Run(out, json.loads((out / "metrics.json").read_text()), " ".join(told.stderr.split()))


@pytest.fixture(scope="module")
def environment(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"PREPAL_ENCODER": str(encoder), "PREPAL_VECTORS": str(tmp_path_factory.mktemp("vectors"))}


@pytest.fixture(scope="module")
def small(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    rows = [{"text": ticket.text, "label": ticket.topic, "audit": n % 3 == 0} for n, ticket in enumerate(LABELLED)]
    return finetuned(tmp_path_factory.mktemp("small"), environment, rows, "--onnx")


def right(said: list[str]) -> float:
    return float(np.mean([label == ticket.topic for label, ticket in zip(said, TESTED, strict=True)]))


def test_it_learns_what_the_teacher_believes(small: Run) -> None:
    told = small.metrics["beliefs"]
    assert told["helped"]
    assert told["teacher_accuracy"] > told["accuracy"]["without them"]
    assert told["texts"] > 400
    assert told["accuracy"]["with them"] >= told["accuracy"]["without them"]
    said = Predictor(small.folder).predict([ticket.text for ticket in TESTED])
    assert right([labels[0] for labels in said.labels]) > 0.7


def test_its_folder_is_for_whoever_has_scikit_learn_or_onnx(small: Run) -> None:
    texts = [ticket.text for ticket in TESTED]
    pipeline = load(small.folder / FILE)
    ours = Predictor(small.folder)
    assert pipeline.predict(texts).tolist() == [labels[0] for labels in ours.predict(texts).labels]
    session = InferenceSession(small.folder / "model.onnx", providers=["CPUExecutionProvider"])
    _, exported = session.run(None, {"text": np.array([text.lower() for text in texts], object)[:, None]})
    np.testing.assert_allclose(exported, ours.model.predict_proba(texts), atol=1e-3)
    assert small.metrics["onnx"]["largest_difference"] < 1e-3
    assert sum(file.stat().st_size for file in small.folder.iterdir()) < 5e6
    card = (small.folder / "README.md").read_text()
    assert "library_name: sklearn" in card
    assert f'load("THIS_FOLDER/{FILE}")' in card


def test_predict_labels_tens_of_thousands_of_texts_a_second(small: Run) -> None:
    texts = [ticket.text for ticket in TESTED] * 50
    model = Predictor(small.folder).model
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        model.logits(texts)
        seconds.append(time.perf_counter() - began)
    assert len(texts) / min(seconds) > 10_000


def test_a_file_is_labelled_with_what_is_sure(small: Run, tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"text": ticket.text}) + "\n" for ticket in TESTED))
    told = CliRunner().invoke(
        main, ["predict", str(small.folder), "--input", str(source), "--out", str(out), "--threshold", "0.9"]
    )
    assert told.exit_code == 0, told.output
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert right([row["predicted"] for row in rows]) > 0.7
    assert all({"confidence", "sure"} <= set(row) for row in rows)


def test_few_labels_are_each_held_back_once(environment: dict[str, str], tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": t.text, "label": t.topic} for t in LABELLED[:40]]
    few = finetuned(tmp_path, environment, rows)
    assert few.metrics["judged_by"]["texts"] == 40
    assert set(few.metrics["methods"]) == {"logistic", "beliefs"}


def test_several_labels_a_text(environment: dict[str, str], tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": t.text, "label": [t.topic] + (["long"] if len(t.text) > 120 else [])} for t in LABELLED
    ]
    several = finetuned(tmp_path, environment, rows, "--onnx")
    assert several.metrics["data"]["how_many"] != "one"
    assert several.metrics["onnx"]["largest_difference"] < 1e-3
    said = Predictor(several.folder).predict([ticket.text for ticket in TESTED])
    assert any(len(labels) > 1 for labels in said.labels)


def test_without_the_encoder_the_teacher_sees_words_alone(environment: dict[str, str], tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": t.text, "label": t.topic} for t in LABELLED]
    run = finetuned(tmp_path, {**environment, "PREPAL_ENCODER": "no/such-encoder"}, rows)
    assert run.metrics["beliefs"]["teacher"] == "word-counts"


def test_options_of_networks_are_refused(small: Run, tmp_path: Path) -> None:
    labels = small.folder.parent / "labels.jsonl"
    command = ["finetune", str(labels), "--model", "word-counts", "--out", str(tmp_path / "model"), "--epochs", "2"]
    told = CliRunner().invoke(main, command)
    assert told.exit_code == 1
    assert "word-counts is fitted, not trained, and has no --epochs" in " ".join(told.output.split())
