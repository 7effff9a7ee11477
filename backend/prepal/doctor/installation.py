"""Checks of what all projects share: Label Studio and its token, Redis, workers, vector cache, settings."""

import base64
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import redis
from rq import Queue

from prepal.doctor.case import Case, Check, is_loopback, without_login
from prepal.doctor.finding import Finding, ok, problem, skipped, warning
from prepal.errors import PrepalError
from prepal.label_studio.api import NotFoundError
from prepal.learning import strategies
from prepal.queues.recovery import workers_of
from prepal.queues.requests import LEARN, SYNC, queue
from prepal.queues.rq_worker import readable_jobs
from prepal.queues.waiting import QUEUE as EMBED
from prepal.vectors import encoders

OLDEST_LABEL_STUDIO, OLDEST_REDIS = (1, 23), (6, 2)
# A personal token's access token lives 300 s by Label Studio's clock, and is renewed by this machine's.
_MOST_CLOCK_SKEW_S = 60
_EXPIRES_SOON_S = 14 * 24 * 3600
# A job of the learner takes well under a second, and the learner looks for lost ones every 10 s.
_LONGEST_WAIT_S = 60
# 100,000 texts take 80 MB; the vector cache needs as much again while it is compacted.
_LITTLE_DISK_BYTES, _NO_DISK_BYTES = 2 * 10**9, 2 * 10**8
_FULL_MEMORY = 0.8
_TOKEN_PAGE = "Label Studio's Account & Settings page"  # noqa: S105


def address(case: Case) -> Finding:
    """Label Studio answers at LABEL_STUDIO_URL."""
    url = without_login(case.settings.label_studio_url)
    try:
        answer = case.version_answer
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return problem(
            f"Nothing answers at {url} ({type(error).__name__}).",
            "Set LABEL_STUDIO_URL to the address of Label Studio, and start it if it is down.",
        )
    if not _release(answer):
        return problem(
            f"What answers at {url} (HTTP {answer.status_code}) is not Label Studio.",
            "Set LABEL_STUDIO_URL to the address under which Label Studio's own pages open, without /projects.",
        )
    return ok(f"Label Studio answers at {url}.")


def version(case: Case) -> Finding:
    """Label Studio is a release that is supported."""
    release = _release(case.version_answer)
    if _numbers(release) < OLDEST_LABEL_STUDIO:
        return problem(f"Label Studio is {release}.", "Upgrade Label Studio to 1.23 or later.")
    return ok(f"Label Studio is {release}.")


def clock(case: Case) -> Finding:
    """Label Studio's clock and this machine's agree."""
    date = case.version_answer.headers.get("Date")
    if date is None:
        return skipped("Label Studio's answers have no date.")
    ahead = datetime.now(UTC) - parsedate_to_datetime(date)
    seconds = round(ahead.total_seconds())
    if abs(seconds) > _MOST_CLOCK_SKEW_S:
        side = "ahead of" if seconds > 0 else "behind"
        return problem(
            f"This machine's clock is {abs(seconds)} s {side} Label Studio's, so tokens expire unnoticed.",
            "Set both clocks by NTP.",
        )
    return ok("The clocks agree.")


def token(case: Case) -> Finding:
    """The token is of a kind that works, and Label Studio knows it."""
    key = case.settings.label_studio_api_key
    if not key:
        return problem("LABEL_STUDIO_API_KEY is empty.", f"Set it to a token from {_TOKEN_PAGE}.")
    claims = _claims(key)
    if claims is not None and claims.get("token_type") == "access":
        return problem(
            "LABEL_STUDIO_API_KEY is an access token, which lives five minutes.",
            f"Set it to a personal access token from {_TOKEN_PAGE}.",
        )
    kind = "legacy token" if claims is None else "personal access token"
    left_s = _expires(claims) - time.time()
    if left_s <= 0:
        return problem(
            f"The {kind} has expired.", f"Make a new one on {_TOKEN_PAGE}, and set LABEL_STUDIO_API_KEY to it."
        )
    refusal = _sign_in(case)
    if refusal:
        return problem(
            f"Label Studio does not accept the {kind}.",
            f"Set LABEL_STUDIO_API_KEY to a token that {_TOKEN_PAGE} shows; legacy ones only work while the "
            "organisation's settings allow them.",
        )
    if left_s < _EXPIRES_SOON_S:
        return warning(f"The {kind} expires in {left_s / 86400:.0f} days.", f"Make a new one on {_TOKEN_PAGE} in time.")
    return ok(f"Label Studio knows the {kind}.")


def redis_answers(case: Case) -> Finding:
    """Redis answers at REDIS_URL, and lets us in."""
    try:
        url = without_login(case.settings.redis_url)
        case.connection.ping()
    except redis.AuthenticationError:
        return problem(f"Redis at {url} refuses the password.", "Put the right user and password into REDIS_URL.")
    except (redis.RedisError, ValueError) as error:
        return problem(
            f"No Redis answers at REDIS_URL ({type(error).__name__}).",
            "Start Redis, or set REDIS_URL to where it runs.",
        )
    return ok(f"Redis answers at {url}.")


def redis_version(case: Case) -> Finding:
    """Redis is a release that is supported."""
    release = str(case.redis_info.get("redis_version", ""))
    if _numbers(release) < OLDEST_REDIS:
        return problem(f"Redis is {release}.", "Upgrade Redis to 6.2 or later.")
    return ok(f"Redis is {release}.")


def redis_persistence(case: Case) -> Finding:
    """A Redis that is killed loses nothing."""
    info = case.redis_info
    if not info.get("aof_enabled"):
        return problem(
            "Redis keeps no append-only file, so queues and counts are lost when it ends.",
            "Set `appendonly yes` in redis.conf, or run CONFIG SET appendonly yes and CONFIG REWRITE.",
        )
    failed = [name for name in ("aof_last_write_status", "aof_last_bgrewrite_status") if info.get(name, "ok") != "ok"]
    if failed:
        return problem(
            f"Redis cannot write its append-only file ({', '.join(failed)} is not ok).",
            "Give Redis space and write permission in its folder.",
        )
    return ok("Redis keeps an append-only file.")


def redis_memory(case: Case) -> Finding:
    """Redis forgets nothing of itself, and has room."""
    info = case.redis_info
    policy, most, used = str(info["maxmemory_policy"]), int(info["maxmemory"]), int(info["used_memory"])
    if policy != "noeviction":
        return problem(
            f"Redis may forget keys when its memory is full (maxmemory-policy is {policy}).",
            "Set `maxmemory-policy noeviction` in redis.conf, or run CONFIG SET maxmemory-policy noeviction and "
            "CONFIG REWRITE.",
        )
    if most and used > _FULL_MEMORY * most:
        return warning(
            f"Redis uses {used / 1e6:.0f} MB of the {most / 1e6:.0f} MB that it may.",
            "Raise `maxmemory` in redis.conf.",
        )
    return ok(f"Redis uses {used / 1e6:.0f} MB and forgets nothing.")


def learner(case: Case) -> Finding:
    """Somebody runs rounds."""
    if not workers_of(case.connection, LEARN):
        return problem(
            "No learner is alive, so labels change nothing.",
            "Run `prepal worker learn`, or `prepal up` for everything.",
        )
    return ok("The learner is alive.")


def embed_worker(case: Case) -> Finding:
    """Somebody embeds texts."""
    count = len(workers_of(case.connection, EMBED))
    if not count:
        return problem(
            "No embed worker is alive, so new texts are not ranked.",
            "Run `prepal worker embed` and look at its log: it ends when its encoder cannot be loaded.",
        )
    folder = encoders.weights(case.settings.prepal_encoder)
    if Path(folder).is_dir() and encoders.here(case.settings.prepal_encoder) != case.encoder:
        return warning(
            f"An embed worker has other files in {folder} than this machine.",
            "Copy the folder to all machines that have it, and restart their embed workers.",
        )
    return ok(f"{count} embed worker{'s' if count > 1 else ''} alive.")


def queues(case: Case) -> Finding:
    """No job waits for long while nobody works on its queue."""
    late = []
    for name in (LEARN, SYNC, EMBED):
        jobs = queue(case.connection, name)
        age_s = _oldest_s(jobs)
        # An import of many texts keeps the embed queue full for hours, which is well as long as one chunk is in work.
        busy = name != LEARN and jobs.started_job_registry.get_job_ids(cleanup=False)
        if age_s > _LONGEST_WAIT_S and not busy:
            late.append(f"{name}: {len(jobs)} for {age_s:.0f} s")
    if late:
        return problem(
            f"Jobs wait and nobody takes them ({'; '.join(late)}).",
            "Look at the log of the worker of that queue, and restart it.",
        )
    return ok("No job waits for long.")


def strategy(case: Case) -> Finding:
    """PREPAL_STRATEGY exists."""
    try:
        strategies.get(case.settings.prepal_strategy)
    except ValueError as error:
        return problem(str(error), "Set PREPAL_STRATEGY to one of them: the learner does not start with another.")
    return ok(f"The strategy is {case.settings.prepal_strategy}.")


def vector_cache(case: Case) -> Finding:
    """The vector cache can be read, and written where that can be tried."""
    uri = case.settings.prepal_vectors
    remedy = "Set PREPAL_VECTORS to a folder that the workers share and may write to."
    try:
        rows = len(case.table)
        if "://" not in uri:
            with tempfile.TemporaryFile(dir=_existing(uri)):
                pass
    except OSError as error:
        return problem(f"The vector cache cannot be written ({error.strerror}).", remedy)
    except PrepalError:
        return problem("What lies at PREPAL_VECTORS cannot be read as a vector cache.", remedy)
    return ok(f"The vector cache holds {rows} vectors of this encoder.")


def disk(case: Case) -> Finding:
    """There is room for more vectors."""
    uri = case.settings.prepal_vectors
    if "://" in uri:
        return skipped("The vector cache is not on a disk of this machine.")
    free = shutil.disk_usage(_existing(uri)).free
    told = f"{free / 1e9:.1f} GB are free where the vector cache is."
    if free < _LITTLE_DISK_BYTES:
        say = problem if free < _NO_DISK_BYTES else warning
        return say(told, "Make room, or move the vector cache and set PREPAL_VECTORS.")
    return ok(told)


def backend(case: Case) -> Finding:
    """The backend answers, asked from here."""
    url, answer = without_login(case.backend_url), case.backend_answer("/health")
    if answer is None or answer.status_code != 200:
        return warning(
            f"The backend does not answer this machine at {url}.",
            "Run `prepal serve` (or `prepal up`), or set PREPAL_BACKEND_URL to where it listens; if only Label Studio "
            "has a way to it, this does not matter.",
        )
    if "PrepalModel" not in answer.text:
        return problem(
            f"What answers at {url} is not PRepAL's backend.", "Set PREPAL_BACKEND_URL to where `prepal serve` listens."
        )
    return ok(f"The backend answers at {url}.")


def basic_auth(case: Case) -> Finding:
    """A backend that others reach asks who they are, and these settings are its own."""
    user = case.settings.basic_auth_user
    if not user and not is_loopback(case.backend_url):
        return warning(
            "The backend listens beyond this machine and asks nobody for a password.",
            "Set BASIC_AUTH_USER and BASIC_AUTH_PASS for the backend, then run `prepal connect` again.",
        )
    answer = case.backend_answer("/", signed_in=bool(user))
    if answer is None:
        return skipped("The backend does not answer this machine.")
    if answer.status_code == 401:
        return problem(
            "The backend does not accept the credentials in these settings.",
            "Give this command, the learner and the backend the same BASIC_AUTH_USER and BASIC_AUTH_PASS.",
        )
    anybody = case.backend_answer("/") if user else None
    if anybody is not None and anybody.status_code < 400:
        return warning(
            "BASIC_AUTH_USER is set here, but the backend lets anybody in.",
            "Restart the backend with BASIC_AUTH_USER and BASIC_AUTH_PASS.",
        )
    return ok("The backend asks for the credentials." if user else "Only this machine reaches the backend.")


CHECKS = [
    Check("Label Studio address", address),
    Check("Label Studio version", version, ("Label Studio address",)),
    Check("clock", clock, ("Label Studio address",)),
    Check("token", token, ("Label Studio address",)),
    Check("Redis", redis_answers),
    Check("Redis version", redis_version, ("Redis",)),
    Check("Redis persistence", redis_persistence, ("Redis",)),
    Check("Redis memory", redis_memory, ("Redis",)),
    Check("learner", learner, ("Redis",)),
    Check("embed worker", embed_worker, ("Redis",)),
    Check("queues", queues, ("Redis",)),
    Check("strategy", strategy),
    Check("vector cache", vector_cache),
    Check("disk", disk),
    Check("backend", backend),
    Check("Basic auth", basic_auth),
]


def _release(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return ""
    return str(body.get("release", "")) if isinstance(body, Mapping) else ""


def _numbers(release: str) -> tuple[int, ...]:
    """(1, 23) of `1.23.2.post0`."""
    return tuple(int(part) for part in release.split(".")[:2] if part.isdigit())


def _claims(key: str) -> dict[str, Any] | None:
    """What a personal access token (a JWT) says of itself; None of a legacy one."""
    parts = key.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None


def _expires(claims: Mapping[str, Any] | None) -> float:
    return float("inf") if claims is None else float(claims.get("exp", 0))


def _sign_in(case: Case) -> str:
    """Why Label Studio does not let the token's user in; "" when it does, whatever it says to the request itself."""
    try:
        if case.project:
            _ = case.described
        else:
            case.label_studio.projects()
    except NotFoundError:
        return ""
    except PrepalError as error:
        return "" if str(error).startswith("Label Studio answered ") else str(error)
    return ""


def _oldest_s(jobs: Queue) -> float:
    """Seconds that the first job of a queue has waited."""
    found = readable_jobs(jobs.get_job_ids(0, 1), jobs.connection)
    began = [job.enqueued_at for job in found if job.enqueued_at is not None]
    return max(((datetime.now(UTC) - at.replace(tzinfo=UTC)).total_seconds() for at in began), default=0.0)


def _existing(path: str) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    folder = Path(os.path.abspath(path))
    while not folder.exists():
        folder = folder.parent
    return folder
