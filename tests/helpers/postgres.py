"""A throw-away PostgreSQL server for Label Studio."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers import free_port

START_S = 60.0
PASSWORD = "only-for-this-test"


@contextmanager
def throw_away_postgres() -> Iterator[dict[str, str]]:
    """Start a server in a folder that is removed afterwards, and yield the environment that Label Studio needs.

    The test that wants it is skipped where there is no server to be had.
    """
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="prepal-postgres-") as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        # The server refuses to run as root; the user that it runs as instead must own its files.
        user = "postgres" if os.getuid() == 0 else None
        if user:
            shutil.chown(folder, user)
            shutil.chown(folder / "password", user)
        data, port = folder / "data", free_port()
        made = [
            *(programs / "initdb", "-D", data, "-U", "prepal", "-A", "scram-sha-256"),
            *("--pwfile", folder / "password", "-E", "UTF8", "--no-sync"),
        ]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, user=user, group=user)
        with (folder / "log").open("wb") as log:
            started = [
                *(programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder),
                # Its data need not outlive it.
                *("-F", "-c", "synchronous_commit=off"),
            ]
            server = subprocess.Popen(started, stdout=log, stderr=log, cwd=folder, user=user, group=user)
        try:
            _wait(server, programs, port, folder / "log")
            yield {
                "DJANGO_DB": "default",
                "POSTGRE_NAME": "postgres",
                "POSTGRE_USER": "prepal",
                "POSTGRE_PASSWORD": PASSWORD,
                "POSTGRE_PORT": str(port),
                "POSTGRE_HOST": "127.0.0.1",
            }
        finally:
            # SIGQUIT is PostgreSQL's immediate shutdown.
            server.send_signal(signal.SIGQUIT)
            server.wait(START_S)


def _programs() -> Path:
    """The folder of initdb and postgres; Debian keeps it off PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not folders:
        pytest.skip("no PostgreSQL server here: install Debian's package postgresql")
    return folders[-1].parent


def _wait(server: "subprocess.Popen[bytes]", programs: Path, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"PostgreSQL did not start: {log.read_text()}")
        time.sleep(0.1)
