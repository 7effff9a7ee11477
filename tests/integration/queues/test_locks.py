"""A lock lasts as long as its holder works and no longer, and of two holders at most one is right."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from redis.exceptions import LockError

from prepal.queues import locks
from prepal.queues.recovery import worker_name

NAME = "prepal:lock:1"
# Holds the lock, says so, and goes on for ever.
HOLDER = """
import sys, threading
import redis
from prepal.queues import locks

connection = redis.Redis.from_url(sys.argv[1])
with locks.held(connection, sys.argv[2]) as held:
    connection.set("told", "held" if held else "refused")
    if held:
        threading.Event().wait()
"""


@contextmanager
def another_process(redis_url: str, connection: redis.Redis, wait_until: Callable[..., None]) -> Iterator[int]:
    """A process that holds the lock; gives its id."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, redis_url, NAME])
    try:
        wait_until(lambda: connection.get("told") == b"held")
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_one_holds_a_lock_at_a_time_and_the_next_one_gets_it_when_it_is_let_go(redis: redis.Redis) -> None:
    with locks.held(redis, NAME) as first:
        assert first is not None
        first.check()
        with locks.held(redis, NAME) as second:
            assert second is None
        with locks.held(redis, f"{NAME}:other") as other:
            assert other is not None
        first.check()
    with locks.held(redis, NAME) as third:
        assert third is not None
    assert not redis.exists(NAME)


def test_who_waits_for_a_lock_gets_it_as_soon_as_it_is_let_go(redis: redis.Redis) -> None:
    waits, got = threading.Event(), []

    def wait() -> None:
        waits.set()
        with locks.held(redis, NAME, wait_s=60) as held:
            got.append(held is not None)

    with locks.held(redis, NAME):
        thread = threading.Thread(target=wait)
        thread.start()
        assert waits.wait(10)
        assert got == []
    thread.join(10)
    assert got == [True]


def test_who_is_refused_takes_no_lock_away(redis: redis.Redis) -> None:
    with locks.held(redis, NAME) as first:
        assert first is not None
        for wait_s in (0.0, 0.2):
            with locks.held(redis, NAME, wait_s) as other:
                assert other is None
        first.check()
        assert redis.exists(NAME)


def test_a_lock_is_let_go_by_whatever_ends_the_work(redis: redis.Redis) -> None:
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), locks.held(redis, NAME):
            raise error
        assert not redis.exists(NAME)


def test_who_lost_a_lock_is_told_before_it_writes_and_does_not_let_go_of_anothers(redis: redis.Redis) -> None:
    with locks.held(redis, NAME) as stopped:
        assert stopped is not None
        # As if this process had been stopped for longer than the lock lasts.
        redis.delete(NAME)
        with pytest.raises(locks.LostLockError, match="was lost"):
            stopped.check()
        with locks.held(redis, NAME) as other:
            assert other is not None
            with pytest.raises(locks.LostLockError):
                stopped.check()
            other.check()
    with locks.held(redis, NAME) as holder:
        assert holder is not None
        with suppress(LockError), locks.held(redis, NAME):
            pass
        holder.check()


def test_a_lock_is_renewed_while_its_holder_works(redis: redis.Redis, wait_until: Callable[..., None]) -> None:
    with locks.held(redis, NAME):
        redis.pexpire(NAME, 20_000)
        wait_until(lambda: redis.pttl(NAME) > 20_000, 30)


def test_the_lock_of_a_killed_process_is_free_at_once(
    redis: redis.Redis, redis_url: str, wait_until: Callable[..., None]
) -> None:
    with another_process(redis_url, redis, wait_until) as pid:
        with locks.held(redis, NAME) as held:
            assert held is None
        os.kill(pid, signal.SIGSTOP)
        with locks.held(redis, NAME) as held:
            assert held is None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX")
        with locks.held(redis, NAME) as held:
            assert held is not None


@pytest.mark.parametrize(
    "owner",
    [
        "elsewhere.1.1-abcdef12",
        b"\xff\xfe",
        "",
        "x" * 1000,
        "{here}.not-a-pid.1-abcdef12",
        "{here}.99999999999999999999.1-abcdef12",
        "{here}.-1.1-abcdef12",
    ],
)
def test_a_lock_of_an_owner_that_nobody_here_can_know_is_respected(redis: redis.Redis, owner: str | bytes) -> None:
    here = worker_name().split(".")[0]
    redis.set(NAME, owner.replace("{here}", here) if isinstance(owner, str) else owner, px=60_000)
    with locks.held(redis, NAME) as held:
        known_dead = isinstance(owner, str) and "9999" in owner
        assert (held is None) != known_dead


def test_many_that_want_a_lock_at_the_same_time_never_hold_it_together(redis: redis.Redis) -> None:
    inside, most, times = 0, 0, 0
    turn = threading.Lock()

    def work() -> None:
        nonlocal inside, most, times
        for _ in range(10):
            with locks.held(redis, NAME, wait_s=30) as held:
                assert held is not None
                with turn:
                    inside += 1
                    most = max(most, inside)
                held.check()
                with turn:
                    inside -= 1
                    times += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most, times) == (1, 40)
