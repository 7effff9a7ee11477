"""A Redis server of one measurement's own."""

import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from prepal.machine import redis_server


@contextmanager
def running() -> Iterator[str]:
    """Run a server with an empty database for as long as the context lasts; gives its URL."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port, password = free.getsockname()[1], secrets.token_hex(8)
        server = subprocess.Popen(redis_server.command(Path(folder), port, password), stdout=subprocess.DEVNULL)
        try:
            url = f"redis://:{password}@127.0.0.1:{port}/0"
            with redis.Redis.from_url(url) as connection:
                while not _answers(connection):
                    time.sleep(0.02)
            yield url
        finally:
            server.terminate()
            server.wait()


def _answers(connection: redis.Redis) -> bool:
    try:
        return bool(connection.ping())
    except redis.ConnectionError:
        return False
