"""A real Redis server for a session, and an empty database of it for each test."""

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
import redis as redis_client
from flask.testing import FlaskClient
from tests.helpers import free_port
from tests.helpers.serving import settings_of

from prepal.learner.learner import Learner
from prepal.machine import redis_server
from prepal.server.app import create_app

WAIT_S = 120.0


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis server that keeps an append-only file, as `prepal up` starts it."""
    folder = tmp_path_factory.mktemp("redis")
    port = free_port()
    password = secrets.token_hex(8)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(redis_server.command(folder, port, password), stdout=log)
    try:
        url = f"redis://:{password}@127.0.0.1:{port}/0"
        with redis_client.Redis.from_url(url) as connection:
            _wait_until(lambda: _answers(connection))
        yield url
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def redis(redis_url: str) -> Iterator[redis_client.Redis]:
    """An empty database."""
    with redis_client.Redis.from_url(redis_url) as connection:
        connection.flushall()
        yield connection


@pytest.fixture
def client(redis: redis_client.Redis) -> FlaskClient:
    """Asks a backend on that database."""
    return create_app(settings_of(redis)).test_client()


@pytest.fixture(autouse=True)
def nobody_learns_afterwards() -> Iterator[None]:
    """Jobs of the learner find no process that a test before this one left."""
    yield
    Learner.of_this_process = None


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Waits for a condition, and fails the test when it does not come true in time."""
    return _wait_until


def _answers(connection: redis_client.Redis) -> bool:
    try:
        return bool(connection.ping())
    except redis_client.ConnectionError:
        return False


def _wait_until(condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.02)
