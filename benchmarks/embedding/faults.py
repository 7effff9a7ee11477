"""Workers that are killed again and again: every text gets one row, and hardly any is computed twice."""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis
from rich.console import Console
from rich.status import Status

from benchmarks import own_redis
from benchmarks.sections import Goal
from benchmarks.storage import Record
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import VectorTable, text_id

TEXTS, KILLS, WORKERS = 20_000, 20, 2
_ENCODER, _ENOUGH_S = "sentence-transformers/all-MiniLM-L6-v2", 3600.0
_BEGUN = re.compile(r"(\d+) texts begun")
# Texts are handed over as the learner does it, never more than these at a time.
_MOST_WAITING = 8192


def run(texts: dict[str, list[str]], console: Console) -> Record:
    """Kill one of two workers at random moments until all texts are embedded."""
    short = texts["banking77"]
    wanted = {text_id(text): text for text in (f"{short[at % len(short)]} ({at})" for at in range(TEXTS))}
    with tempfile.TemporaryDirectory() as folder, own_redis.running() as url, console.status("starting") as status:
        table, log = VectorTable(str(Path(folder) / "vectors"), _ENCODER), Path(folder) / "workers.log"
        workers: list[subprocess.Popen[bytes]] = []
        try:
            workers += [_worker(url, table, log) for _ in range(WORKERS)]
            began = time.monotonic()
            killed = _kill(workers, wanted, url, table, log, status)
            seconds = time.monotonic() - began
            ids = table.ids().astype(str).tolist()
            begun = [int(count) for count in _BEGUN.findall(log.read_text(errors="replace"))]
        finally:
            for process in workers:
                process.kill()
                process.wait()
    return {
        "texts": TEXTS,
        "kills": killed,
        "seconds": round(seconds, 1),
        "rows": len(ids),
        "different": len(set(ids) & set(wanted)),
        "begun": sum(begun),
        "largest_chunk": max(begun),
    }


def _kill(
    workers: list["subprocess.Popen[bytes]"],
    wanted: dict[str, str],
    url: str,
    table: VectorTable,
    log: Path,
    status: Status,
) -> int:
    """Hand texts over until all are embedded, and kill workers meanwhile; returns how many were killed."""
    drawn = random.Random(0)  # noqa: S311
    waiting = WaitingTexts(redis.Redis.from_url(url), table.encoder)
    rest, killed, kill_at, ends = list(wanted), 0, 0.0, time.monotonic() + _ENOUGH_S
    while (rest or len(waiting)) and time.monotonic() < ends:
        if rest and len(waiting) < _MOST_WAITING // 2:
            chosen, rest = rest[:1000], rest[1000:]
            waiting.add({key: wanted[key] for key in chosen}, 1)
        embedded = len(table)
        status.update(f"{embedded:,} of {TEXTS:,} texts, {killed} of {KILLS} kills")
        # Spread over the whole run, each at some moment while a chunk is being computed.
        if killed < KILLS and embedded > killed * TEXTS / (KILLS + 1) and time.monotonic() > kill_at:
            time.sleep(drawn.uniform(0, 2))
            at = drawn.randrange(WORKERS)
            workers[at].send_signal(signal.SIGKILL)
            workers[at].wait()
            killed += 1
            workers[at] = _worker(url, table, log)
            kill_at = time.monotonic() + drawn.uniform(0, 5)
        time.sleep(0.1)
    return killed


def _worker(url: str, table: VectorTable, log: Path) -> "subprocess.Popen[bytes]":
    said = {"REDIS_URL": url, "PREPAL_VECTORS": table.uri, "PREPAL_ENCODER": table.encoder, "LOG_LEVEL": "INFO"}
    command = [str(Path(sys.executable).parent / "prepal"), "worker", "embed"]
    with log.open("ab") as out:
        return subprocess.Popen(command, env=os.environ | said, stdout=out, stderr=out)


def goals(stored: Record) -> list[Goal]:
    """One row a text, and at most one chunk a kill computed twice."""
    wrong = abs(stored["rows"] - stored["texts"]) + stored["texts"] - stored["different"]
    again = (stored["begun"] - stored["texts"]) / stored["largest_chunk"] / max(1, stored["kills"])
    return [
        Goal(f"{stored['kills']} × kill -9: texts without exactly one row", wrong, 0, at_least=False, digits=0),
        Goal("chunks begun twice, for each kill", again, 1.0, at_least=False),
    ]


def section(stored: Record) -> str:
    """What was done."""
    return (
        "### Killed workers\n\n"
        f"{WORKERS} workers, {stored['texts']:,} texts, {stored['kills']} × `kill -9` of one of them at random moments:"
        f" {stored['seconds']} s, {stored['rows']:,} rows of {stored['different']:,} texts; {stored['begun']:,} texts"
        f" were begun, in chunks of up to {stored['largest_chunk']:,}."
    )
