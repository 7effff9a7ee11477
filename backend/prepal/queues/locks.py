"""Locks in Redis that last as long as their holder works, and no longer."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import cast

import redis
from redis.exceptions import LockError
from redis.lock import Lock

from prepal.queues.recovery import is_dead, retire_name, worker_name

log = logging.getLogger(__name__)

# A holder that was stopped or cut off loses its lock after so long; one that works renews it well before.
_TTL_S, _RENEW_S = 30.0, 8.0
# KEYS: lock. ARGV: the holder that was found dead.
_BREAK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class LostLockError(Exception):
    """The lock went to somebody else, because its holder was stopped or cut off for too long."""


class Held:
    """A lock that this process holds."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    def check(self) -> None:
        """Make sure that the lock is still held, before something is written that only its holder may write.

        Raises:
            LostLockError: it is not.
        """
        if not self._lock.owned():
            raise LostLockError(f"The lock {self._lock.name} was lost while it was held.")


@contextmanager
def held(connection: redis.Redis, name: str, wait_s: float = 0.0) -> Iterator[Held | None]:
    """Hold a lock; gives None when somebody else holds it.

    It is waited for up to `wait_s`, and renewed while the block runs, however long that takes. The lock of a process
    of this host that is no more is broken at once.
    """
    token = worker_name()
    lock = Lock(connection, name, timeout=_TTL_S, thread_local=False)
    try:
        _break_lock_of_the_dead(connection, name)
        if not lock.acquire(blocking=wait_s > 0, blocking_timeout=wait_s or None, token=token):
            yield None
            return
        with _renewed(lock):
            yield Held(lock)
    finally:
        try:
            with suppress(LockError):
                lock.release()
        finally:
            # Where Redis could not be told, others see by this that nobody holds it any more.
            retire_name(token)


@contextmanager
def _renewed(lock: Lock) -> Iterator[None]:
    done = threading.Event()

    def renew() -> None:
        while not done.wait(_RENEW_S):
            try:
                lock.reacquire()
            except LockError:
                log.warning("the lock %s was lost while it was held", lock.name)
                return
            except redis.RedisError as error:
                log.debug("the lock %s could not be renewed: %s", lock.name, error)

    thread = threading.Thread(target=renew, name=f"renew {lock.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _break_lock_of_the_dead(connection: redis.Redis, name: str) -> None:
    owner = cast(bytes | None, connection.get(name))
    if owner is not None and is_dead(owner.decode(errors="replace")):
        connection.eval(_BREAK, 1, name, owner)
