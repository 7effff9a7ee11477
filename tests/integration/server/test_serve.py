"""`prepal serve` as a process of its own: its log, its warning, and how much it lets anybody send."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from tests.helpers import free_port

from prepal.doctor.case import Case
from prepal.settings import Settings

LIMIT = 256 * 1024 * 1024
JSON = {"Content-Type": "application/json"}
CREDENTIALS = {"Authorization": "Basic cHJlcGFsOm9ubHktZm9yLXRoaXMtdGVzdA==", **JSON}


class Served:
    """A backend that listens, and what it has logged so far."""

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self._log = log

    def post(self, headers: dict[str, str], body: bytes | Iterator[bytes] | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/webhook", body, headers, encode_chunked=True)
            return connection.getresponse().status
        finally:
            connection.close()

    def lines(self) -> list[str]:
        return self._log.read_text().splitlines()


@pytest.fixture
def serve(redis_url: str, tmp_path: Path, wait_until: Callable[..., None]) -> Callable[..., "contextmanager[Served]"]:
    @contextmanager
    def started(host: str = "127.0.0.1", **environment: str) -> Iterator[Served]:
        port = free_port()
        served = Served(port, tmp_path / "log")
        command = [sys.executable, "-m", "prepal.cli", "serve", "--host", host, "--port", str(port)]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                command, env={**os.environ, "REDIS_URL": redis_url, **environment}, stderr=log, stdout=log
            )
        try:
            wait_until(lambda: answers(port), 300)
            yield served
        finally:
            process.terminate()
            assert process.wait(20) == 0

    return started


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.mark.parametrize("host", ["::", "[::]"])
def test_it_listens_on_ipv6_too(serve: Callable[..., "contextmanager[Served]"], host: str) -> None:
    with serve(host) as served:
        case = Case(Settings(prepal_backend_url=f"http://[::1]:{served.port}"))
        answer = case.backend_answer("/")
    assert answer is not None
    assert answer.status_code == 200


def test_every_line_of_the_log_can_be_an_object_and_one_warns_of_an_open_port(
    serve: Callable[..., "contextmanager[Served]"],
) -> None:
    with serve("0.0.0.0", LOG_FORMAT="json") as served:
        pass
    lines = [json.loads(line) for line in served.lines()]
    assert {line["logger"] for line in lines} >= {"gunicorn.error", "prepal.server.process"}
    for line in lines:
        assert datetime.fromisoformat(line["timestamp"]).tzinfo
    assert [line["message"] for line in lines if line["logger"].startswith("prepal")] == [
        "listening on 0.0.0.0 without BASIC_AUTH_USER: whoever reaches the port can send labels"
    ]


def test_nobody_sends_more_than_the_limit_and_strangers_send_nothing(
    serve: Callable[..., "contextmanager[Served]"],
) -> None:
    with serve("0.0.0.0", BASIC_AUTH_USER="prepal", BASIC_AUTH_PASS="only-for-this-test") as served:
        # Answered from the headers alone: no byte of these bodies is ever sent.
        assert served.post({**JSON, "Content-Length": str(LIMIT)}) == 401
        assert served.post({**CREDENTIALS, "Content-Length": str(LIMIT + 1)}) == 413
        endless = iter(lambda: b" " * 1024 * 1024, b"")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            served.post({**CREDENTIALS, "Transfer-Encoding": "chunked"}, endless)
        assert served.post(CREDENTIALS, b'{"action": "PROJECT_UPDATED", "project": {"id": 4}}') == 200
    assert not any("WARNING" in line for line in served.lines())


def test_a_backend_that_cannot_load_what_answers_ends(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "pygal.py").write_text("raise ImportError('half an installation')")
    command = [sys.executable, "-m", "prepal.cli", "serve", "--port", str(free_port())]
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "REDIS_URL": redis_url, "PYTHONPATH": path}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode != 0
    assert "what answers Label Studio cannot be loaded" in ended.stderr
    assert "half an installation" in ended.stderr
