"""Trainings that are killed, and go on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner
from tests.helpers.finetuned import COMMAND, Run

from prepal.cli.main import main


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


def killed(command: list[str], begun: Callable[[], object], wait_until: Callable[..., None]) -> None:
    """Run a command, and kill it as soon as it has begun something."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "prepal.cli", *command], env=environment, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: begun() or process.poll() is not None, timeout_s=300)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
