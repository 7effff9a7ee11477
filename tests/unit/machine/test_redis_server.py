"""Where the program of a Redis of one's own comes from."""

import subprocess
from pathlib import Path

import pytest

from prepal.machine import redis_server


def test_without_one_on_path_the_packaged_server_is_found_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program = redis_server.executable()
    assert Path(program).parts[-3:] != ("usr", "bin", "redis-server")
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert "server v=" in shown.stdout


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_one_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    own = tmp_path / name
    own.symlink_to(redis_server.executable())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_server.executable() == str(own)
