"""Models that `prepal finetune` wrote, from many labels and from few."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.helpers.finetuned import COMMAND, LEARNT, Run, encoder, one_thread

from prepal.cli.main import main

__all__ = ["encoder", "one_thread"]


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def run(encoder: Path, export: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What `prepal finetune` gave."""
    out = tmp_path_factory.mktemp("out") / "model"
    told = CliRunner().invoke(main, ["finetune", str(export), "--model", str(encoder), "--out", str(out), *COMMAND])
    assert told.exit_code == 0, told.output
    return Run(out, json.loads((out / "metrics.json").read_text()), " ".join(told.stderr.split()))


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of so few labels that they are cross-validated."""
    path = tmp_path_factory.mktemp("few") / "few.jsonl"
    path.write_text("".join(json.dumps({"text": t.text, "label": t.topic}) + "\n" for t in LEARNT[:32]))
    return path


@pytest.fixture(scope="session")
def few_run(encoder: Path, few: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What `prepal finetune --onnx` gave for it."""
    out = tmp_path_factory.mktemp("few") / "model"
    told = CliRunner().invoke(main, ["finetune", str(few), "--model", str(encoder), "--out", str(out), "--onnx"])
    assert told.exit_code == 0, told.output
    return Run(out, json.loads((out / "metrics.json").read_text()), " ".join(told.stderr.split()))
