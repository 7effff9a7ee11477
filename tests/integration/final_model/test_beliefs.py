"""Beliefs of texts without a label, with real weights cut to one layer: learnt from if they help, and only then."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from tests.helpers.finetuned import TICKETS, TOPICS, Run
from tests.integration.final_model.test_resume import killed

from prepal.cli.main import main
from prepal_workers.final_model.judging import split
from prepal_workers.final_model.trainings import Training
from prepal_workers.labelled.read import read_labelled
from prepal_workers.training.recipe import Wishes

LABELLED, REST = TICKETS[:110], TICKETS[200:500]


def export_of(labels: list[str]) -> bytes:
    """Labels of tickets, of which every third judges, and then tickets without one."""
    rows: list[dict[str, Any]] = [
        {"text": ticket.text, "label": label, "audit": n % 3 == 0}
        for n, (ticket, label) in enumerate(zip(LABELLED, labels, strict=True))
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labelled") / "labels.jsonl"
    path.write_bytes(export_of([str(ticket.topic) for ticket in LABELLED]))
    return path


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text a line, some of them texts that have a label."""
    path = tmp_path_factory.mktemp("rest") / "rest.txt"
    path.write_text("\n".join(ticket.text.replace("\n", " ") for ticket in (*REST, *LABELLED[:10])))
    return path


@pytest.fixture(scope="module")
def environment(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    # No vector cache is needed: what a teacher sees are the vectors of an encoder that learnt from the labels.
    return {"PREPAL_ENCODER": str(encoder), "PREPAL_VECTORS": str(tmp_path_factory.mktemp("none") / "none")}


@pytest.fixture(scope="module")
def command(encoder: Path, rows: Path, rest: Path) -> list[str]:
    return ["finetune", str(rows), "--unlabelled", str(rest), "--model", str(encoder), "--epochs", "1"]


@pytest.fixture(scope="module")
def believed(command: list[str], environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What `prepal finetune --unlabelled` gave."""
    out = tmp_path_factory.mktemp("out") / "model"
    told = CliRunner().invoke(main, [*command, "--out", str(out)], env=environment)
    assert told.exit_code == 0, told.output
    return Run(out, json.loads((out / "metrics.json").read_text()), " ".join(told.stderr.split()))


def test_it_tells_whether_beliefs_helped(believed: Run) -> None:
    told = believed.metrics["beliefs"]
    different = len({" ".join(ticket.text.split()) for ticket in REST})
    assert 0.9 * different < told["texts"] <= different
    assert f"On from there, with beliefs of {told['texts']} texts without a label." in believed.told
    assert told["teacher_accuracy"] > 0.5
    assert set(told["accuracy"]) == set(told["log_loss"]) == {"with them", "without them"}
    card = " ".join((believed.folder / "README.md").read_text().split())
    said = "Beliefs help:" if told["helped"] else "Beliefs do not help, and are left out:"
    assert said in believed.told
    assert said in card
    assert f"said what {told['texts']} texts without a label may be" in card
    assert believed.metrics["learnt_from"] == len(LABELLED)
    all_of_them = f"Once more, from all {len(LABELLED)} texts"
    assert (f"{all_of_them}, and beliefs of {told['texts']} others." in believed.told) == told["helped"]
    assert (believed.metrics["recipe"]["repeats"] > 1) == told["helped"]


def test_a_killed_training_goes_on_with_the_same_beliefs(
    believed: Run,
    command: list[str],
    environment: dict[str, str],
    tmp_path: Path,
    wait_until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "model"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    command = [*command, "--out", str(out)]
    killed(command, lambda: list(out.glob("checkpoints/part-beliefs/checkpoint-*/complete.json")), wait_until)
    assert not (out / "metrics.json").exists()
    done = CliRunner().invoke(main, [*command, "--resume"])
    assert done.exit_code == 0, done.output
    again = json.loads((out / "metrics.json").read_text())
    for measured in ("accuracy", "log_loss", "per_class", "calibration", "best_epoch", "recipe", "beliefs"):
        assert again[measured] == believed.metrics[measured]


def test_other_texts_without_a_label_are_another_training(
    believed: Run, command: list[str], environment: dict[str, str], rest: Path, tmp_path: Path
) -> None:
    more = tmp_path / "more.txt"
    more.write_text(rest.read_text() + "\nA text that was not there before.")
    out = tmp_path / "model"
    (out / "checkpoints").mkdir(parents=True)
    (out / "checkpoints" / "fingerprint").write_text(believed.metrics["fingerprint"])
    command = [*command[:3], str(more), *command[4:], "--out", str(out), "--resume"]
    told = CliRunner().invoke(main, command, env=environment)
    assert told.exit_code == 1
    assert "was begun with other labels or options" in " ".join(told.output.split())


def test_a_file_of_texts_that_cannot_be_used_is_told_in_one_sentence(
    command: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    for file, message in ((tmp_path / "none.txt", "cannot be opened"), (tmp_path / "empty.txt", "has no texts: give")):
        out = tmp_path / "model"
        told = CliRunner().invoke(main, [*command[:3], str(file), *command[4:], "--out", str(out)], env=environment)
        assert told.exit_code == 1
        assert message in " ".join(told.output.split())
        assert not out.exists()


def test_of_few_labels_beliefs_are_one_more_method(
    encoder: Path, rest: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    few, out = tmp_path / "few.jsonl", tmp_path / "model"
    few.write_text("".join(json.dumps({"text": t.text, "label": t.topic}) + "\n" for t in LABELLED[:32]))
    command = ["finetune", str(few), "--unlabelled", str(rest), "--model", str(encoder), "--method", "fine-tune"]
    told = CliRunner().invoke(main, [*command, "--out", str(out)], env=environment)
    assert told.exit_code == 0, told.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics["methods"]) == {"logistic", "fine-tune", "beliefs"}
    assert (metrics["recipe"]["repeats"] > 1) == metrics["beliefs"]["helped"]


def test_an_encoder_that_is_not_there_leaves_the_model_itself(
    encoder: Path, rows: Path, rest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    command = ["finetune", str(rows), "--unlabelled", str(rest), "--model", str(encoder), "--epochs", "1"]
    environment = {"PREPAL_ENCODER": str(tmp_path / "none")}
    told = CliRunner().invoke(main, [*command, "--out", str(out)], env=environment)
    assert told.exit_code == 0, told.output
    assert json.loads((out / "metrics.json").read_text())["beliefs"]["teacher"] == str(encoder)


def taught(labels: list[str], model: Path, encoder: Path, folder: Path) -> list[Any]:
    """All that the judged models and their teacher learnt: beliefs, and what they say after the last epoch."""
    data = read_labelled(export_of(labels), "rows.jsonl")
    data.unlabelled.extend(ticket.text for ticket in REST[:150])
    training = Training(data, str(model), folder, Console(quiet=True), Wishes(epochs=1), 0, False, str(encoder))
    held_back, learnt, _ = split(data, 0)
    places, asked = np.flatnonzero(learnt), np.flatnonzero(held_back)
    plain = training.judged_run(places, "part", asked)
    assert plain.asked is not None
    said = training.said(places, "part", plain.asked)
    assert said is not None
    beliefs = training.beliefs(said)
    believing = training.judged_run(places, "part-beliefs", asked, beliefs)
    return [
        places.tolist(),
        plain.logits[1],
        plain.asked.vectors,
        plain.asked.logits,
        said,
        list(beliefs.texts),
        beliefs.targets,
        beliefs.weights,
        believing.logits[1],
    ]


@pytest.fixture(scope="module", params=["the encoder itself", "another model"])
def teach(
    request: pytest.FixtureRequest, encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[list[str]], list[Any]]:
    model = encoder
    if request.param == "another model":
        model = tmp_path_factory.mktemp("another") / "model"
        shutil.copytree(encoder, model)
    return lambda labels: taught(labels, model, encoder, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def taught_before(teach: Callable[[list[str]], list[Any]]) -> list[Any]:
    return teach([str(ticket.topic) for ticket in LABELLED])


@given(st.lists(st.integers(0, len(TOPICS) - 1), min_size=40, max_size=40))
@settings(max_examples=3, deadline=None)
def test_what_judges_teaches_nobody(
    taught_before: list[Any], teach: Callable[[list[str]], list[Any]], others: list[int]
) -> None:
    found = teach([TOPICS[others[n // 3]] if n % 3 == 0 else str(ticket.topic) for n, ticket in enumerate(LABELLED)])
    for one, other in zip(taught_before, found, strict=True):
        np.testing.assert_array_equal(one, other)
