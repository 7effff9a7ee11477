"""The compose stack, as an ops engineer runs it."""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers import ROOT, free_port
from tests.helpers.api import LabelStudioApi, wait_until

DOCKER = ROOT / "docker"
# Names a network for builds, such as "host", where the engine's own has no way to a package index.
BUILD_NETWORK = "DOCKER_BUILD_NETWORK"
# The first start of Label Studio makes its database, and a busy machine takes its time.
START_S = 900
FILLED_IN = (
    *("LABEL_STUDIO_PASSWORD", "LABEL_STUDIO_API_KEY", "BASIC_AUTH_PASS"),
    *("POSTGRES_PASSWORD", "REDIS_PASSWORD"),
)


class Stack:
    """One compose project with ports and secrets of its own, from the project's own compose file."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.name = f"prepal-test-{secrets.token_hex(3)}"
        self.secrets = {name: secrets.token_hex(20) for name in FILLED_IN}
        self.label_studio_url = f"http://127.0.0.1:{free_port()}"
        self.backend_url = f"http://127.0.0.1:{free_port()}"
        settings = {
            **self.secrets,
            "COMPOSE_PROJECT_NAME": self.name,
            "PREPAL_VERSION": "test",
            "LABEL_STUDIO_LISTEN": self.label_studio_url.removeprefix("http://"),
            "LABEL_STUDIO_PUBLIC_URL": self.label_studio_url,
            "PREPAL_LISTEN": self.backend_url.removeprefix("http://"),
            **settings,
        }
        self.env_file = folder / "env"
        self.env_file.write_text(filled_in((DOCKER / ".env.example").read_text(), settings))
        files = [DOCKER / "compose.yml"]
        if network := os.environ.get(BUILD_NETWORK):
            files.append(folder / "network.yml")
            built = {"build": {"network": network}}
            files[-1].write_text(json.dumps({"services": {"backend": built, "embed": built}}))
        chosen = [argument for file in files for argument in ("-f", str(file))]
        self.command = [*compose(), "--project-name", self.name, "--env-file", str(self.env_file), *chosen]
        self.api = LabelStudioApi(self.label_studio_url, self.secrets["LABEL_STUDIO_API_KEY"])
        login = ("prepal", self.secrets["BASIC_AUTH_PASS"])
        self.backend = httpx.Client(base_url=self.backend_url, auth=login, timeout=30, trust_env=False)

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run a compose command; returns what it says on standard output."""
        done = subprocess.run([*self.command, *arguments], check=False, capture_output=True, text=True)
        if check and done.returncode:
            pytest.fail(
                f"compose {' '.join(arguments)}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            )
        return done.stdout

    def prepal(self, *arguments: str, check: bool = True) -> str:
        """One of our commands, as a one-shot service."""
        return self.compose("run", "--rm", "-T", "backend", *arguments, check=check)

    def script(self, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """One of the scripts beside the compose file."""
        environment = {**os.environ, "COMPOSE": " ".join(self.command)}
        return subprocess.run(
            [str(DOCKER / name), *arguments], env=environment, check=False, capture_output=True, text=True
        )

    def up(self, *options: str) -> None:
        """Start everything, and wait until it is healthy."""
        self.compose("up", "-d", *options)
        wait_until(self.is_healthy, START_S, 1)

    def down(self, *options: str) -> None:
        self.compose("down", "--timeout", "60", *options)

    def containers(self) -> list[dict[str, Any]]:
        """What the engine tells of each container of this project, one-shot ones left out."""
        label = f"label=com.docker.compose.project={self.name}"
        ids = docker("ps", "-aq", "--filter", label, "--filter", "label=com.docker.compose.oneoff=False").split()
        found: list[dict[str, Any]] = json.loads(docker("inspect", *ids)) if ids else []
        return found

    def container(self, service: str) -> dict[str, Any]:
        return next(one for one in self.containers() if service_of(one) == service)

    def is_healthy(self) -> bool:
        states = [one["State"] for one in self.containers()]
        return bool(states) and all(state.get("Health", {}).get("Status") == "healthy" for state in states)

    def crash(self, service: str) -> None:
        """Kill every process of a container, as the kernel does when memory is short, and wait for its restart."""
        restarts = self.container(service)["RestartCount"]
        self.compose("exec", "-T", service, "sh", "-c", "kill -9 -1", check=False)
        wait_until(lambda: self.container(service)["RestartCount"] > restarts, 120, 0.5)

    def page(self, project: int) -> dict[str, Any]:
        """What the project page shows."""
        found: dict[str, Any] = self.backend.get(f"/projects/{project}.json").raise_for_status().json()
        return found

    def close(self) -> None:
        self.api.close()
        self.backend.close()


def service_of(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def filled_in(example: str, settings: dict[str, str]) -> str:
    """The example with these values, below which come the settings that it only mentions."""
    lines = []
    for line in example.splitlines():
        name, is_setting, _ = line.partition("=")
        lines.append(f"{name}={settings.pop(name)}" if is_setting and name in settings else line)
    return "\n".join([*lines, *(f"{name}={value}" for name, value in settings.items())]) + "\n"


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def compose() -> Sequence[str]:
    """The compose command of this machine: the engine's plugin, or the program of its own."""
    plugin = ["docker", "compose"]
    if shutil.which("docker") and not subprocess.run([*plugin, "version"], check=False, capture_output=True).returncode:
        return plugin
    if program := shutil.which("docker-compose"):
        return [program]
    pytest.fail("Neither `docker compose` nor `docker-compose` is here: install Docker with its compose plugin.")
