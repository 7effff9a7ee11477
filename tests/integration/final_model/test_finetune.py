"""Fine-tuning and predicting, from the command line to the files, with real weights cut to one layer."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from transformers import AutoConfig, AutoModel, AutoTokenizer, pipeline

from prepal.cli.main import main
from prepal.demo.data import load_tickets
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal_workers.encoder.encoder import Encoder
from prepal_workers.encoder.weights import DEFAULT_ENCODER, source
from prepal_workers.final_model.predict import Predictor
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.training.recipe import Wishes
from prepal_workers.training.training import Epoch, train

TICKETS = load_tickets()
TOPICS = sorted({str(ticket.topic) for ticket in TICKETS})
LEARNT, TESTED = TICKETS[:90], TICKETS[1000:1200]
COMMAND = ("--epochs", "3", "--seed", "3")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default encoder's first layer, as a folder of sentence-transformers."""
    folder = tmp_path_factory.mktemp("encoder")
    model = AutoModel.from_pretrained(source(DEFAULT_ENCODER))
    del model.encoder.layer[1:]
    model.config.num_hidden_layers = 1
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source(DEFAULT_ENCODER)).save_pretrained(folder)
    for part in ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json"):
        (folder / part).parent.mkdir(exist_ok=True)
        (folder / part).write_text((Path(source(DEFAULT_ENCODER)) / part).read_text())
    (folder / "2_Normalize").mkdir()
    return folder


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSON export of tickets, every third of them an audit task."""
    tasks = []
    for number, ticket in enumerate(LEARNT, start=1):
        result = [{"from_name": "topic", "to_name": "t", "type": "choices", "value": {"choices": [ticket.topic]}}]
        annotation = {"id": number, "completed_by": 1, "was_cancelled": False, "result": result}
        meta = {"prepal_audit": number % 3 == 0}
        tasks.append({"id": number, "data": {"text": ticket.text}, "annotations": [annotation], "meta": meta})
    path = tmp_path_factory.mktemp("export") / "export.json"
    path.write_text(json.dumps(tasks))
    return path


@dataclass
class Run:
    folder: Path
    metrics: dict[str, Any]
    told: str


@pytest.fixture(scope="module")
def run(encoder: Path, export: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What `prepal finetune` gave."""
    out = tmp_path_factory.mktemp("out") / "model"
    told = CliRunner().invoke(main, ["finetune", str(export), "--model", str(encoder), "--out", str(out), *COMMAND])
    assert told.exit_code == 0, told.output
    return Run(out, json.loads((out / "metrics.json").read_text()), " ".join(told.stderr.split()))


def labels_of(tickets: list[Any]) -> NDArray[np.int64]:
    return np.array([TOPICS.index(str(ticket.topic)) for ticket in tickets])


def test_the_model_loads_in_transformers_with_the_labels_names(run: Run) -> None:
    texts = [ticket.text for ticket in TESTED[:100]]
    said = pipeline("text-classification", str(run.folder), device="cpu")(texts)
    assert {one["label"] for one in said} <= set(TOPICS)
    right = np.mean([one["label"] == ticket.topic for one, ticket in zip(said, TESTED, strict=False)])
    assert right > 0.6
    ours = SequenceModel.load(run.folder).predict_proba(texts).max(axis=1)
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
    tokens = sum(map(len, SequenceModel.load(run.folder).tokenizer([t.text for t in LEARNT])["input_ids"]))
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


def test_training_starts_as_the_logistic_regression_on_the_encoders_vectors(encoder: Path) -> None:
    texts, labels = [ticket.text for ticket in LEARNT], labels_of(LEARNT)
    vectors = Encoder(str(encoder), device="cpu")
    classifier = LogisticRegression(len(TOPICS)).fit(vectors.encode(texts).astype(np.float32), labels)
    theirs = classifier.predict_proba(vectors.encode([ticket.text for ticket in TESTED]).astype(np.float32))
    start = train(str(encoder), texts, labels, len(TOPICS), wishes=Wishes(epochs=0))
    ours = start.predict_proba([ticket.text for ticket in TESTED])
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() > 0.98
    np.testing.assert_allclose(ours, theirs, atol=0.05)


def test_fine_tuning_is_better_than_the_logistic_regression(encoder: Path) -> None:
    texts, labels = [ticket.text for ticket in LEARNT[:60]], labels_of(LEARNT[:60])
    held_back, truth = [ticket.text for ticket in TESTED], labels_of(TESTED)
    start = train(str(encoder), texts, labels, len(TOPICS), wishes=Wishes(epochs=0)).predict_proba(held_back)
    tuned = train(str(encoder), texts, labels, len(TOPICS), seed=1, wishes=Wishes(epochs=4)).predict_proba(held_back)
    assert (tuned.argmax(axis=1) == truth).mean() > (start.argmax(axis=1) == truth).mean()


def test_classes_without_labels_stay_possible_and_unlikely(encoder: Path) -> None:
    labels = np.minimum(labels_of(LEARNT[:40]), 1)
    found = train(str(encoder), [t.text for t in LEARNT[:40]], labels, 4, wishes=Wishes(epochs=1))
    assert found.predict_proba(["Where is my parcel?"]).shape == (1, 4)
    assert found.predict_proba(["Where is my parcel?"])[0, 2:].sum() < 0.1


def test_several_labels_and_pairs(encoder: Path) -> None:
    marks = labels_of(LEARNT[:60])[:, None] == np.arange(len(TOPICS))
    marks[::2, 0] = True
    pairs = [(ticket.text, "Please help.") for ticket in LEARNT[:60]]
    found = train(str(encoder), pairs, marks, len(TOPICS), wishes=Wishes(epochs=2))
    probabilities = found.predict_proba(pairs)
    assert probabilities.shape == marks.shape
    assert ((probabilities > 0.5) == marks).mean() > 0.7
    assert found.predict_proba([("a", "b")]) != pytest.approx(found.predict_proba([("b", "a")]))


def test_contrast_is_better_than_the_logistic_regression_on_few_labels(encoder: Path) -> None:
    texts, labels = [ticket.text for ticket in LEARNT[:24]], labels_of(LEARNT[:24])
    held_back, truth = [ticket.text for ticket in TESTED], labels_of(TESTED)
    start = train(str(encoder), texts, labels, len(TOPICS), wishes=Wishes(method="logistic")).predict_proba(held_back)
    found = train(str(encoder), texts, labels, len(TOPICS), wishes=Wishes(method="contrast"))
    assert len(found.epochs) == found.recipe.epochs == 40
    assert (found.predict_proba(held_back).argmax(axis=1) == truth).mean() > (start.argmax(axis=1) == truth).mean()


def test_names_of_labels_are_worth_texts(encoder: Path) -> None:
    texts, labels = [ticket.text for ticket in LEARNT[:8]], labels_of(LEARNT[:8])
    logistic = Wishes(method="logistic")
    held_back, truth = [ticket.text for ticket in TESTED], labels_of(TESTED)
    without = train(str(encoder), texts, labels, len(TOPICS), wishes=logistic).predict_proba(held_back)
    named = train(str(encoder), texts, labels, len(TOPICS), label_names=TOPICS, wishes=logistic)
    assert (named.predict_proba(held_back).argmax(axis=1) == truth).mean() > (without.argmax(axis=1) == truth).mean()


def test_lora_gives_an_ordinary_model(encoder: Path, tmp_path: Path) -> None:
    texts, labels = [ticket.text for ticket in LEARNT], labels_of(LEARNT)
    start = SequenceModel(str(encoder), len(TOPICS)).model.state_dict()
    found = train(str(encoder), texts, labels, len(TOPICS), wishes=Wishes(epochs=2, lora=True))
    assert found.recipe.learning_rate > 1e-4
    learnt = found.model.model.state_dict()
    assert learnt.keys() == start.keys()
    moved = "bert.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(learnt[moved], start[moved])
    assert torch.equal(
        learnt["bert.embeddings.word_embeddings.weight"], start["bert.embeddings.word_embeddings.weight"]
    )
    found.model.save(tmp_path, TOPICS)
    again = SequenceModel.load(tmp_path).predict_proba(texts)
    np.testing.assert_allclose(again, found.predict_proba(texts), atol=1e-5)
    assert (again.argmax(axis=1) == labels).mean() > 0.7


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of so few labels that they are cross-validated."""
    path = tmp_path_factory.mktemp("few") / "few.jsonl"
    path.write_text("".join(json.dumps({"text": t.text, "label": t.topic}) + "\n" for t in LEARNT[:32]))
    return path


@pytest.fixture(scope="module")
def few_run(encoder: Path, few: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What `prepal finetune --onnx` gave for it."""
    out = tmp_path_factory.mktemp("few") / "model"
    told = CliRunner().invoke(main, ["finetune", str(few), "--model", str(encoder), "--out", str(out), "--onnx"])
    assert told.exit_code == 0, told.output
    return Run(out, json.loads((out / "metrics.json").read_text()), " ".join(told.stderr.split()))


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
    original = SequenceModel.load(few_run.folder)
    batch = original.tokenizer(texts, padding=True, return_tensors="np")
    session = InferenceSession(few_run.folder / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {name: batch[name] for name in batch})
    np.testing.assert_allclose(logits, original.logits(texts), atol=1e-3)


def test_a_killed_cross_validation_goes_on_and_ends_the_same(
    few_run: Run, encoder: Path, few: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    out = tmp_path / "model"
    command = ["finetune", str(few), "--model", str(encoder), "--out", str(out)]
    killed(command, lambda: (out / "checkpoints" / "fine-tune-0.json").exists(), wait_until)
    done = CliRunner().invoke(main, [*command, "--resume"])
    assert done.exit_code == 0, done.output
    again = json.loads((out / "metrics.json").read_text())
    for measured in ("accuracy", "macro_f1", "log_loss", "per_class", "confusion", "calibration", "methods", "recipe"):
        assert again[measured] == few_run.metrics[measured]


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


@pytest.mark.parametrize(
    "kind", ["bert", "roberta", "distilbert", "electra", "albert", "deberta-v2", "modernbert", "xlm-roberta"]
)
def test_any_architecture_is_trained_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    other_names = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64} if kind == "distilbert" else {}
    tokenizer = AutoTokenizer.from_pretrained(source(DEFAULT_ENCODER))
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **(other_names or sizes)
    )
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    texts, labels = [ticket.text for ticket in LEARNT[:40]], labels_of(LEARNT[:40])
    base = str(tmp_path / "base")
    start = train(base, texts, labels, len(TOPICS), wishes=Wishes(method="logistic"))
    found = train(base, texts, labels, len(TOPICS), wishes=Wishes(epochs=2, learning_rate=1e-3))
    assert found.predict_proba(texts) != pytest.approx(start.predict_proba(texts), abs=1e-3)
    found.model.save(tmp_path / "model", TOPICS)
    said = pipeline("text-classification", str(tmp_path / "model"), device="cpu")(texts)
    best = found.predict_proba(texts)
    assert [one["label"] for one in said] == [TOPICS[row.argmax()] for row in best]
    np.testing.assert_allclose([one["score"] for one in said], best.max(axis=1), atol=1e-3)


class _StopsAfter:
    """Presses Ctrl-C during the epoch after so many."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def read(self, done: int, total: int) -> None:
        assert done <= total

    def step(self, done: int, total: int) -> None:  # noqa: ARG002
        if not self.left:
            raise KeyboardInterrupt

    def epoch(self, epoch: Epoch) -> None:  # noqa: ARG002
        self.left -= 1


def test_ctrl_c_keeps_the_best_so_far(encoder: Path) -> None:
    texts, labels = [ticket.text for ticket in LEARNT], labels_of(LEARNT)
    validation = (texts[60:], labels[60:])
    found = train(str(encoder), texts[:60], labels[:60], len(TOPICS), validation=validation, watch=_StopsAfter(2))
    assert found.interrupted
    assert len(found.epochs) == 2
    judged = (found.predict_proba(validation[0]).argmax(axis=1) == validation[1]).mean()
    assert found.best_epoch
    assert judged == pytest.approx(found.epochs[found.best_epoch - 1].accuracy, abs=0.03)


def test_a_killed_training_goes_on_and_ends_the_same(
    run: Run, encoder: Path, export: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    out = tmp_path / "model"
    command = ["finetune", str(export), "--model", str(encoder), "--out", str(out), *COMMAND]
    killed(command, lambda: list(out.glob("checkpoints/part/checkpoint-*/complete.json")), wait_until)
    assert not (out / "metrics.json").exists()
    done = CliRunner().invoke(main, [*command, "--resume"])
    assert done.exit_code == 0, done.output
    again = json.loads((out / "metrics.json").read_text())
    for measured in ("accuracy", "macro_f1", "log_loss", "per_class", "confusion", "calibration", "best_epoch"):
        assert again[measured] == run.metrics[measured]
    assert all(epoch["seconds"] > 0 for epoch in again["epochs"])


def killed(command: list[str], begun: Callable[[], object], wait_until: Callable[..., None]) -> None:
    """Run a command, and kill it as soon as it has begun something."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "prepal.cli", *command], env=environment, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: begun() or process.poll() is not None, timeout_s=300)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()


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
