"""Which encoder a name means: a name of the hub itself, a folder what is in it.

Whoever overwrites the weights in a folder has another encoder under the same name, and vectors of two encoders must
never meet. So an encoder in a folder is called by its path and by a hash of its files, `/models/mine#0f3a…`: that is
its **identity**, after which its table, its waiting texts and its jobs are named. Embed workers tell Redis what a name
means to them, for those who do not have the folder. Names of the hub are their own identity. An **adapted** encoder,
which was trained on a project's labels, is called by its base, the project, how many labels there were, and a hash of
its files, `/models/mine#0f3a…@7-100-5be1…`: it is nobody's setting, and lies in the vector cache (`adapted.py`).
"""

import hashlib
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast

import redis

from prepal import records
from prepal.errors import PrepalError

WINDOWS = "#windows"
"""At the end of an encoder's name: texts longer than it reads are the mean over windows."""
CONTENT_DIGITS = 16
"""Of a hash of an encoder's files, in hexadecimal digits."""
_NAME = re.compile(
    rf"(?P<base>(?P<weights>.*?)(?P<content>#[0-9a-f]{{{CONTENT_DIGITS}}})?(?P<windows>{WINDOWS})?)"
    rf"(?P<adapted>@[1-9]\d*-\d+-[0-9a-f]{{{CONTENT_DIGITS}}})?",
    re.DOTALL,
)
# Redis hash: what was told of each name.
_NAMES = "prepal:encoders"
# File systems tell times as coarsely as this: what is younger may be written once more and look the same.
_SETTLED_NS = 2_000_000_000
# What lies beside weights, tokenizer and their settings and makes no vectors: texts, and weights for other libraries.
_BESIDE = {".h5", ".md", ".msgpack", ".onnx", ".ot"}


class Look(NamedTuple):
    """How the files in a folder look: another digest when one has changed, if it had not just been written."""

    digest: str = ""
    is_settled: bool = False


@dataclass(frozen=True)
class _Announced:
    """What a name means, to whom, and how its folder looked there."""

    identity: str
    host: str
    look: str


def weights(encoder: str) -> str:
    """Where the weights are, a folder or a name of the hub, by the name of an encoder or its identity."""
    return _part(encoder, "weights")


def adapted_name(base: str, project: int, labels: int, content: str) -> str:
    """What an encoder is called that was trained, from a base, on so many labels of a project.

    Args:
        base: the identity of the encoder that training started from.
        project: its number.
        labels: how many it learnt from.
        content: a hash of its files, `CONTENT_DIGITS` long.
    """
    return f"{base}@{project}-{labels}-{content}"


def base_of(encoder: str) -> str:
    """The encoder that an adapted one was trained from; any other is its own base."""
    return _part(encoder, "base")


def is_adapted(encoder: str) -> bool:
    """Whether an encoder was trained on a project's labels, by its name."""
    return bool(_part(encoder, "adapted"))


def identity(encoder: str, connection: redis.Redis | None = None) -> str:
    """What a name means: by the files in its folder, or, where others have that folder, by what these tell Redis.

    Args:
        encoder: a name as in PREPAL_ENCODER, or an identity, which stays what it is.
        connection: to Redis; it also spares the reading of files that somebody has read.
    """
    if _part(encoder, "content") or is_adapted(encoder):
        return encoder
    told = None if connection is None else _announced(encoder, connection)
    seen = look(weights(encoder))
    # A worker elsewhere has a folder of its own at this path, and its vectors are the ones that there are.
    if told and (told.look == seen.digest or told.host != socket.gethostname()):
        return told.identity
    try:
        by_files = here(encoder)
    except PrepalError:
        # Whoever may not read the files has to be told what is in them.
        return told.identity if told else encoder
    if connection is not None and by_files != encoder:
        announce(encoder, by_files, seen, connection)
    return by_files


def here(encoder: str) -> str:
    """The identity of an encoder by the files that this machine has, if it has any.

    Raises:
        PrepalError: the files cannot be read, or it is an identity and they are others by now.
    """
    folder, content = weights(encoder), _part(encoder, "content")
    if is_adapted(encoder) or not os.path.isdir(folder):
        return encoder
    try:
        by_files = f"{folder}#{_content(folder)}{_part(encoder, 'windows')}"
    except OSError as error:
        raise PrepalError(f"The encoder {folder} cannot be read ({error.strerror}): mend what is in it.") from error
    if content and by_files != encoder:
        raise PrepalError(f"The folder {folder} no longer holds the encoder {encoder}: set PREPAL_ENCODER to {folder}.")
    return by_files


def announce(encoder: str, meant: str, seen: Look, connection: redis.Redis) -> str | None:
    """Tell all who share a Redis which identity a name means to this machine; returns what it meant before.

    How its folder looked before the files in it were read is `seen`.
    """
    before = _announced(encoder, connection)
    told = _Announced(meant, socket.gethostname(), seen.digest if seen.is_settled else "")
    connection.hset(_NAMES, encoder, records.dumps(asdict(told)))
    return before.identity if before else None


def is_announced(encoder: str, connection: redis.Redis) -> bool:
    """Whether somebody has told what a name means."""
    return _announced(encoder, connection) is not None


def look(folder: str) -> Look:
    """How the files in a folder look, without reading them; an empty look where there are none."""
    digest, newest_ns = hashlib.sha256(), 0
    try:
        for path in _files(folder):
            stat = path.stat()
            stamp = f"{path}\0{stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}\n"
            digest.update(stamp.encode("utf-8", "surrogateescape"))
            newest_ns = max(newest_ns, stat.st_ctime_ns)
    except OSError:
        return Look()
    return Look(digest.hexdigest(), time.time_ns() - newest_ns > _SETTLED_NS) if newest_ns else Look()


def content_hash(files: Iterable[tuple[str, bytes]]) -> str:
    """A hash of files, `CONTENT_DIGITS` long: of the name of each and the SHA-256 of what is in it, in this order."""
    whole = hashlib.sha256()
    for name, content in files:
        whole.update(hashlib.sha256(os.fsencode(name)).digest() + content)
    return whole.hexdigest()[:CONTENT_DIGITS]


def _part(encoder: str, name: str) -> str:
    parts = _NAME.fullmatch(encoder)
    assert parts is not None
    return parts[name] or ""


def _announced(encoder: str, connection: redis.Redis) -> _Announced | None:
    raw = cast(bytes | None, connection.hget(_NAMES, encoder))
    return records.read(_Announced, raw) if raw else None


def _content(folder: str) -> str:
    """A hash of the files that make vectors."""
    seen = look(folder)
    return _remembered(folder, seen) if seen.is_settled else _read(folder)


@lru_cache(maxsize=16)
def _remembered(folder: str, _: Look) -> str:
    return _read(folder)


def _read(folder: str) -> str:
    files = []
    for path in _files(folder):
        with path.open("rb") as file:
            files.append((str(path.relative_to(folder)), hashlib.file_digest(file, "sha256").digest()))
    return content_hash(files)


def _files(folder: str) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for root, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(root, name)
            if not name.startswith(".") and path.suffix not in _BESIDE:
                yield path
