"""Four embed workers on hosts of their own, one Redis and one S3 store: network namespaces on this machine, as root.

`python -m benchmarks.embedding.hosts --moto FOLDER/bin/moto_server`, with `moto[server]` installed in an environment of
its own.
"""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import httpx
import redis

from benchmarks import storage
from prepal.machine import redis_server
from prepal.queues.requests import wait_for_redis
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import VectorTable, text_id

_TEXTS, _HOSTS, _ENOUGH_S = 4000, 4, 900.0
_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
_BRIDGE, _NET, _REDIS_PORT, _S3_PORT = "prepal-hosts", "10.213.7", 26379, 25000


@click.command()
@click.option("--moto", required=True, help="moto_server, in an environment of its own")
def main(moto: str) -> None:
    """Embed some texts, and tell how many rows there are and who wrote them."""
    here, password = f"{_NET}.1", secrets.token_hex(8)
    store = {
        "AWS_ENDPOINT": f"http://{here}:{_S3_PORT}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "prepal",
        "AWS_SECRET_ACCESS_KEY": "prepal",
        "AWS_REGION": "us-east-1",
    }
    os.environ.update(store)
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            _network()
            command = [*redis_server.command(Path(folder), _REDIS_PORT, password), "--bind", here]
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
            said = subprocess.DEVNULL
            started.append(subprocess.Popen([moto, "-H", here, "-p", str(_S3_PORT)], stdout=said, stderr=said))
            _bucket(f"http://{here}:{_S3_PORT}/bucket")
            url = f"redis://:{password}@{here}:{_REDIS_PORT}/0"
            connection = redis.Redis.from_url(url)
            wait_for_redis(connection)
            found = _embed(connection, url, Path(folder), started)
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()
            _no_network()
    storage.write_json("hosts.json", found | {"environment": storage.environment(("lancedb", "redis", "rq"))})
    sys.stdout.write(f"{found}\n")
    sys.exit(0 if found["rows"] == found["different"] == _TEXTS and min(found["chunks"]) > 0 else 1)


def _embed(
    connection: redis.Redis, url: str, folder: Path, started: list["subprocess.Popen[bytes]"]
) -> dict[str, object]:
    waiting, table = WaitingTexts(connection, _ENCODER), VectorTable("s3://bucket/vectors", _ENCODER)
    logs = [folder / f"host-{number}.log" for number in range(_HOSTS)]
    for number, log in enumerate(logs):
        said = {"REDIS_URL": url, "PREPAL_VECTORS": table.uri, "PREPAL_ENCODER": _ENCODER, "LOG_LEVEL": "INFO"}
        command = ["ip", "netns", "exec", f"{_BRIDGE}-{number}", str(Path(sys.executable).parent / "prepal")]
        with log.open("wb") as out:
            started.append(
                subprocess.Popen([*command, "worker", "embed"], env=os.environ | said, stdout=out, stderr=out)
            )
    texts = [f"ticket {number}: the printer on floor {number % 9} does not answer" for number in range(_TEXTS)]
    began = time.monotonic()
    waiting.add({text_id(text): text for text in texts}, 1)
    while len(waiting) and time.monotonic() < began + _ENOUGH_S:
        time.sleep(0.5)
    ids = table.ids().astype(str).tolist()
    return {
        "hosts": _HOSTS,
        "texts": _TEXTS,
        "seconds": round(time.monotonic() - began, 1),
        "rows": len(ids),
        "different": len(set(ids)),
        "chunks": [log.read_text(errors="replace").count("texts begun") for log in logs],
    }


def _network() -> None:
    _ip("link", "add", _BRIDGE, "type", "bridge")
    _ip("addr", "add", f"{_NET}.1/24", "dev", _BRIDGE)
    _ip("link", "set", _BRIDGE, "up")
    for number in range(_HOSTS):
        name, inside, outside = f"{_BRIDGE}-{number}", f"prepal-in{number}", f"prepal-out{number}"
        _ip("netns", "add", name)
        _ip("link", "add", outside, "type", "veth", "peer", "name", inside)
        _ip("link", "set", inside, "netns", name)
        _ip("link", "set", outside, "master", _BRIDGE, "up")
        _ip("-n", name, "addr", "add", f"{_NET}.{number + 2}/24", "dev", inside)
        _ip("-n", name, "link", "set", inside, "up")
        _ip("-n", name, "link", "set", "lo", "up")


def _no_network() -> None:
    for number in range(_HOSTS):
        subprocess.run(["ip", "netns", "del", f"{_BRIDGE}-{number}"], check=False)
    subprocess.run(["ip", "link", "del", _BRIDGE], check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _bucket(address: str) -> None:
    for _ in range(300):
        try:
            httpx.put(address).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise RuntimeError(f"No S3 service answers at {address}.")


if __name__ == "__main__":
    main()
