"""Checks of the servers that others make, Label Studio and Redis: their releases, settings, and that they let us in."""

import base64
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import redis

from prepal.doctor.case import Case, Check, Finding, NoAnswerError, ok, problem, skipped, warning
from prepal.errors import PrepalError
from prepal.label_studio.api import NotFoundError
from prepal.label_studio.reaching import Hindrance, by_proxy, odd_name, without_login

if TYPE_CHECKING:
    import httpx

OLDEST_LABEL_STUDIO, OLDEST_REDIS = (1, 12), (6, 2)
# A personal token's access token lives 300 s by Label Studio's clock, and is renewed by this machine's.
_MOST_CLOCK_SKEW_S = 60
_EXPIRES_SOON_S = 14 * 24 * 3600
_FULL_MEMORY = 0.8
_TOKEN_PAGE = "Label Studio's Account & Settings page"  # noqa: S105


def address(case: Case) -> Finding:
    """Label Studio answers at LABEL_STUDIO_URL."""
    url = without_login(case.settings.label_studio_url)
    try:
        answer = case.version_answer
    except NoAnswerError as error:
        return _in_the_way(error.hindrance)
    if not _release(answer):
        if odd := odd_name(url, answer.status_code):
            return _in_the_way(odd)
        return problem(
            f"What answers at {url} (HTTP {answer.status_code}) is not Label Studio{by_proxy(url)}.",
            "Set LABEL_STUDIO_URL to the address under which Label Studio's own pages open, without /projects.",
        )
    return ok(f"Label Studio answers at {url}.")


def version(case: Case) -> Finding:
    """Label Studio is a release that is supported."""
    return _supported("Label Studio", _release(case.version_answer), OLDEST_LABEL_STUDIO)


def clock(case: Case) -> Finding:
    """Label Studio's clock and this machine's agree."""
    date = case.version_answer.headers.get("Date")
    if date is None:
        return skipped("Label Studio's answers have no date.")
    seconds = round((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds())
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
    left_s = (float("inf") if claims is None else float(claims.get("exp", 0))) - time.time()
    if left_s <= 0:
        return problem(
            f"The {kind} has expired.", f"Make a new one on {_TOKEN_PAGE}, and set LABEL_STUDIO_API_KEY to it."
        )
    if _refuses(case):
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
    return _supported("Redis", str(case.redis_info.get("redis_version", "")), OLDEST_REDIS)


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


CHECKS = [
    Check("Label Studio address", address),
    Check("Label Studio version", version, ("Label Studio address",)),
    Check("clock", clock, ("Label Studio address",)),
    Check("token", token, ("Label Studio address",)),
    Check("Redis", redis_answers),
    Check("Redis version", redis_version, ("Redis",)),
    Check("Redis persistence", redis_persistence, ("Redis",)),
    Check("Redis memory", redis_memory, ("Redis",)),
]


def _in_the_way(hindrance: Hindrance) -> Finding:
    what, remedy = hindrance
    return problem(f"{what}.", f"{remedy[0].upper()}{remedy[1:]}.")


def _release(answer: "httpx.Response") -> str:
    try:
        body = answer.json()
    except ValueError:
        return ""
    return str(body.get("release", "")) if isinstance(body, Mapping) else ""


def _supported(name: str, release: str, oldest: tuple[int, int]) -> Finding:
    # (1, 23) of `1.23.2.post0`.
    if tuple(int(part) for part in release.split(".")[:2] if part.isdigit()) < oldest:
        return problem(f"{name} is {release}.", f"Upgrade {name} to {oldest[0]}.{oldest[1]} or later.")
    return ok(f"{name} is {release}.")


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


def _refuses(case: Case) -> bool:
    """Whether Label Studio does not let the token's user in, whatever it says to the request itself."""
    try:
        _ = case.described if case.number else case.label_studio.projects()
    except NotFoundError:
        return False
    except PrepalError as error:
        return not str(error).startswith("Label Studio answered ")
    return False
