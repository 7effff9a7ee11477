"""Fine-tuning from the command line to the files, with real weights cut to one layer."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnxruntime import InferenceSession
from tests.helpers.finetuned import LEARNT, TESTED, TICKETS, TOPICS, Run
from transformers import pipeline

from prepal.cli.main import main
from prepal_workers.model.sequence_model import SequenceModel


def test_the_model_loads_in_transformers_with_the_labels_names(run: Run) -> None:
    texts = [ticket.text for ticket in TESTED[:100]]
    said = pipeline("text-classification", str(run.folder), device="cpu")(texts)
    assert {one["label"] for one in said} <= set(TOPICS)
    right = np.mean([one["label"] == ticket.topic for one, ticket in zip(said, TESTED, strict=False)])
    assert right > 0.6
    ours = SequenceModel(str(run.folder)).predict_proba(texts).max(axis=1)
    np.testing.assert_allclose([one["score"] for one in said], ours, atol=1e-3)


def test_it_tells_what_it_read_and_what_it_measured(run: Run) -> None:
    assert "JSON: 90 tasks, 90 labelled texts with one label each, 30 of them audit tasks from text" in run.told
    metrics = run.metrics
    judged = metrics["judged_by"]["texts"]
    assert 25 < judged <= 30
    assert f"Judged by {judged} texts (the audit tasks), learning from {90 - judged}." in run.told
    assert metrics["learnt_from"] == 90
    accuracy = metrics["accuracy"]
    assert accuracy["low"] < accuracy["estimate"] < accuracy["high"]
    assert accuracy["estimate"] > metrics["majority_accuracy"] + 0.3
    assert np.sum(metrics["confusion"]) == judged
    assert np.trace(metrics["confusion"]) == round(accuracy["estimate"] * judged)
    assert metrics["calibration"]["log_loss_after"] <= metrics["calibration"]["log_loss_before"]
    assert set(metrics["per_class"]) == set(TOPICS)
    assert len(metrics["epochs"]) == metrics["recipe"]["epochs"] == 3
    assert run.told.count("tokens/s") >= 3
    tokens = sum(map(len, SequenceModel(str(run.folder)).tokenizer([t.text for t in LEARNT])["input_ids"]))
    for epoch in metrics["epochs"]:
        assert 0.5 * tokens < epoch["tokens_per_second"] * epoch["seconds"] < 2 * tokens


def test_the_card_is_one_that_the_hub_reads(run: Run) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard.load(run.folder / "README.md")
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.eval_results[0].metric_value == pytest.approx(run.metrics["accuracy"]["estimate"], abs=1e-4)
    assert str(run.folder) not in card.content
    assert (run.folder / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert not (run.folder / "checkpoints").exists()


def test_of_few_labels_each_is_judged_once_and_the_best_method_is_taken(few_run: Run) -> None:
    metrics = few_run.metrics
    assert metrics["judged_by"] == {"texts": 32, "how": "each once, by models of the others"}
    assert metrics["learnt_from"] == 32
    assert set(metrics["methods"]) == {"logistic", "fine-tune", "contrast"}
    assert metrics["recipe"]["method"] == max(metrics["methods"], key=metrics["methods"].get)
    for method in metrics["methods"]:
        assert f"{method} " in few_run.told
    held_back, truth = [ticket.text for ticket in TESTED], [ticket.topic for ticket in TESTED]
    said = pipeline("text-classification", str(few_run.folder), device="cpu")(held_back)
    assert np.mean([one["label"] == topic for one, topic in zip(said, truth, strict=True)]) > 0.5


def test_the_onnx_model_is_the_same_model(few_run: Run) -> None:
    assert few_run.metrics["onnx"]["largest_difference"] < 1e-3
    texts = [ticket.text for ticket in TESTED[:8]]
    original = SequenceModel(str(few_run.folder))
    batch = original.tokenizer(texts, padding=True, return_tensors="np")
    session = InferenceSession(few_run.folder / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {name: batch[name] for name in batch})
    np.testing.assert_allclose(logits, original.logits(texts), atol=1e-3)


def test_annotators_who_overlap_are_weighed(encoder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tasks = []
    for number, ticket in enumerate(TICKETS[:130], start=1):
        annotations = []
        for annotator, errors in ((1, 0.1), (2, 0.2)):
            chosen = str(rng.choice(TOPICS)) if rng.random() < errors else ticket.topic
            result = [{"from_name": "topic", "to_name": "t", "type": "choices", "value": {"choices": [chosen]}}]
            annotations.append({"id": 2 * number + annotator, "completed_by": annotator, "result": result})
        tasks.append({"id": number, "data": {"text": ticket.text}, "annotations": annotations})
    export, out = tmp_path / "export.json", tmp_path / "model"
    export.write_text(json.dumps(tasks))
    command = ["finetune", str(export), "--model", str(encoder), "--out", str(out), "--method", "logistic"]
    told = CliRunner().invoke(main, command)
    assert told.exit_code == 0, told.output
    assert "CROWDLAB weighed the annotators" in told.stderr
    assert json.loads((out / "metrics.json").read_text())["data"]["settled_by"] == "CROWDLAB"
    assert "CROWDLAB" in (out / "README.md").read_text()


def test_wrong_use_is_told_in_one_sentence(run: Run, encoder: Path, export: Path, tmp_path: Path) -> None:
    for command, message in [
        (["finetune", str(export), "--model", str(encoder), "--out", str(run.folder)], "holds a model already"),
        (["finetune", str(export), "--model", str(tmp_path), "--out", str(tmp_path / "x")], "cannot be loaded"),
        (["finetune", str(tmp_path / "none"), "--model", "m", "--out", str(tmp_path / "x")], "cannot be opened"),
        (["finetune", "--model", "m", "--out", str(tmp_path / "x")], "Give either EXPORT or --project"),
        (["predict", str(encoder), "--input", str(export), "--out", "x.csv"], "give a folder that `prepal finetune`"),
        (["predict", str(run.folder), "--input", str(export), "--out", "x.xls"], "ending in .jsonl or .csv"),
    ]:
        told = CliRunner().invoke(main, command)
        assert told.exit_code in (1, 2)
        assert message in " ".join(told.output.split()), told.output
        assert not (tmp_path / "x" / "config.json").exists()


@pytest.mark.parametrize("texts", [20, 60])
def test_equal_texts_are_never_both_learnt_from_and_judged_by(encoder: Path, tmp_path: Path, texts: int) -> None:
    rng = np.random.default_rng(0)
    rows = [{"text": ticket.text, "label": "ab"[rng.integers(2)]} for ticket in TICKETS[:texts]]
    copies: list[Callable[[str], str]] = [str, str.upper, " {}!\n".format, "<p>{}</p>".format]
    rows = [{**row, "text": copy(row["text"])} for copy in copies for row in rows]
    rows[0]["label"] = "ba"["ab".index(rows[0]["label"])]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "model"
    command = ["finetune", str(tmp_path / "rows.jsonl"), "--model", str(encoder), "--out", str(out)]
    told = CliRunner().invoke(main, [*command, "--method", "logistic"])
    assert told.exit_code == 0, told.output
    metrics = json.loads((out / "metrics.json").read_text())
    # Nothing can be learnt, as labels were drawn by lot; each text counts once for the interval.
    assert metrics["accuracy"]["low"] < 0.5 < metrics["accuracy"]["high"]
    assert len(metrics["trust"]["judged"]) == metrics["judged_by"]["texts"] / 4
    said = " ".join(told.stderr.split())
    assert f"Equal texts: there are {texts} different ones" in said
    assert f"equal ones with different labels are in the tasks 1, {texts + 1}, {2 * texts + 1}, {3 * texts + 1}" in said
    assert f"{texts} of them are different" in (out / "README.md").read_text()


def test_names_and_texts_of_any_characters_go_the_whole_way(encoder: Path, tmp_path: Path) -> None:
    names = (
        "Café",
        "$x$ and $y",
        "漢字 😀",
        "half \ud83d",
        "\u202ebidi\u2069",
        "two\nlines",
        "nul \0",
        "| long" * 300,
    )
    rows = [
        {"text": f"{ticket.text} \ud83d\0\u2028\u202e", "label": names[n % len(names)], "more \ude00": n}
        for n, ticket in enumerate(LEARNT[:80])
    ]
    rows += [{"text": f"Decomposed {n}", "label": "Cafe\u0301"} for n in range(4)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "model"
    command = ["finetune", str(tmp_path / "rows.jsonl"), "--model", str(encoder), "--out", str(out)]
    told = CliRunner().invoke(main, [*command, "--method", "logistic"])
    assert told.exit_code == 0, told.output
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    clean = {name.replace("\ud83d", "\ufffd") for name in names}
    assert set(metrics["per_class"]) == clean
    assert metrics["data"]["counts"]["Café"] == 14
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "| Café | 14 |" in card
    assert "| two lines | 10 |" in card
    for name in ("out.jsonl", "out.csv"):
        command = ["predict", str(out), "--input", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / name)]
        told = CliRunner().invoke(main, [*command, "--threshold", "0.9"])
        assert told.exit_code == 0, told.output
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert [json.loads(line)["text"] for line in lines] == [row["text"] for row in rows]
    assert {json.loads(line)["predicted"] for line in lines} <= clean
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(rows)
