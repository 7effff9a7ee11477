"""docker/compose.yml, as far as it can be looked at without Docker: no secret is an argument of a process."""

import os
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import yaml
from tests.helpers import ROOT

from prepal.machine import redis_server

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker" / "compose.yml").read_text())["services"]
PASSWORD = "0123456789abcdef"
STUBS = {"docker-entrypoint.sh": 'exec "$@"', "chown": ":"}


@pytest.mark.parametrize("service", SERVICES)
def test_no_argument_of_a_process_is_made_of_a_secret(service: str) -> None:
    described = SERVICES[service]
    arguments = [described.get("command"), described.get("entrypoint"), described.get("healthcheck", {}).get("test")]
    # What is written with two dollar signs is left to the shell in the container.
    assert not re.findall(r"(?<!\$)\$\{?\w*(?:PASS|KEY|TOKEN)\w*", str(arguments))


def test_redis_asks_for_a_password_that_no_list_of_processes_shows(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    for name, does in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o700)
    (tmp_path / "redis-server").symlink_to(redis_server.executable())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (script,) = SERVICES["redis"]["command"]
    there = script.replace("$$", "$").replace("/run/", f"{tmp_path}/") + f" --port {port} --dir {tmp_path}"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDISCLI_AUTH": PASSWORD}
    server = subprocess.Popen(
        [*SERVICES["redis"]["entrypoint"], there], env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        with redis.Redis(port=port, password=PASSWORD) as connection:
            wait_until(lambda: answers(connection))
            assert connection.config_get("maxmemory-policy", "appendonly") == {
                "maxmemory-policy": "noeviction",
                "appendonly": "yes",
            }
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        # The shell became the server, which therefore gets the signals that end it.
        shown = psutil.Process(server.pid).cmdline()
        assert "redis-server" in shown[0]
        assert not any(PASSWORD in argument for argument in shown)
        assert (tmp_path / "redis-password.conf").stat().st_mode & 0o077 == 0
    finally:
        server.terminate()
        assert server.wait(30) == 0


def answers(connection: redis.Redis) -> bool:
    try:
        return bool(connection.ping())
    except redis.ConnectionError:
        return False
