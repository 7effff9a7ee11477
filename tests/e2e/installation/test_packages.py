"""The ways in which the backend is started and installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.helpers import ROOT, free_port
from tests.helpers.api import wait_until

from prepal.machine.up import Installation

# Everything that the backend and the learner ever load.
ALL_OF_IT = (
    "import prepal.cli.main, prepal.doctor.examination, prepal.learner.process; "
    "from prepal.server.process import load_the_rest; load_the_rest()"
)
COMMANDS = ["up", "demo", "connect", "status", "export", "serve", "worker learn", "worker embed", "worker adapt"]


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").json() == {"status": "UP", "model_class": "PrepalModel"}
    except httpx.TransportError:
        return False


def test_label_studio_ml_starts_the_same_server(installation: Installation) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "REDIS_URL": installation.redis_url,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = [Path(sys.executable).parent / "label-studio-ml", "start", "backend", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        wait_until(lambda: answers(port), 300)
        setup = httpx.post(f"http://127.0.0.1:{port}/setup", json={})
        assert setup.json() == {"model_version": "PRepAL"}
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


@pytest.fixture(scope="module")
def slim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the backend alone."""
    folder = tmp_path_factory.mktemp("slim") / "venv"
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert uv is not None
    python = folder / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    constraints = ["-c", ROOT / "constraints.txt"]
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, *constraints, "-e", ROOT], check=True, cwd=ROOT
    )
    return python.parent


def test_the_backend_works_where_there_is_no_torch(slim: Path, installation: Installation) -> None:
    code = f"import importlib.util; {ALL_OF_IT}; print(importlib.util.find_spec('torch'))"
    shown = subprocess.run([slim / "python", "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "None\n"
    for command in COMMANDS:
        subprocess.run([slim / "prepal", *command.split(), "--help"], check=True, capture_output=True)
    refused = subprocess.run([slim / "prepal", "worker", "embed"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "pip install 'prepal-label-studio[workers]'" in refused.stderr

    port = free_port()
    environment = {**os.environ, "REDIS_URL": installation.redis_url}
    process = subprocess.Popen([slim / "prepal", "serve", "--port", str(port)], env=environment)
    try:
        wait_until(lambda: answers(port), 300)
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_torch_stays_out_of_the_backend_where_it_is_installed() -> None:
    code = f"import sys; {ALL_OF_IT}; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "False\n"
