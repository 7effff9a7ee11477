"""What all parts of a project's copy share: Redis, names of keys, the count of facts, and when reading began."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

import redis

T = TypeVar("T")


class Stored(Generic[T]):
    """A property that is read from a key of the project's own in Redis.

    Args:
        name: of the key.
        read: makes the value of what Redis has.
        empty: the value where Redis has nothing.
    """

    def __init__(self, name: str, read: Callable[[bytes], T], empty: T) -> None:
        self._name = name
        self._read = read
        self._empty = empty

    def __get__(self, part: "Part", _: type["Part"] | None = None) -> T:
        raw = part._get(self._name)
        return self._read(raw) if raw else self._empty


class Value(Stored[T]):
    """A property that Redis keeps under a key of the project's own; the empty value has no key."""

    def __set__(self, part: "Part", value: T) -> None:
        if value == self._empty:
            part.connection.delete(part.key(self._name))
        else:
            # Redis takes no bool.
            part.connection.set(part.key(self._name), int(value) if isinstance(value, bool) else str(value))


class Part:
    """Keys of one project."""

    facts = Stored("facts", int, 0)
    """How many facts have been written so far."""

    def __init__(self, connection: redis.Redis, project_id: int) -> None:
        self.id = project_id
        self.connection = connection
        self._prefix = f"prepal:project:{project_id}:"

    def key(self, name: str) -> str:
        """Redis key of one part of the copy."""
        return self._prefix + name

    def _get(self, name: str) -> bytes | None:
        return cast(bytes | None, self.connection.get(self.key(name)))

    def _number(self, name: str) -> int:
        return int(self._get(name) or 0)

    def _of_each(self, name: str, ids: Sequence[int]) -> dict[int, bytes]:
        """What a hash has of those of the ids that are in it."""
        raw = cast(list[bytes | None], self.connection.hmget(self.key(name), list(map(str, ids)))) if ids else []
        return {id: value for id, value in zip(ids, raw, strict=True) if value is not None}

    def add_fact(self) -> None:
        """Count something new that is stored elsewhere: vectors, or a wish for a round."""
        self.connection.incr(self.key("facts"))

    def begin_reading(self) -> int:
        """Note that Label Studio is read from now on; the number tells what is heard before it from what comes after.

        What the reading finds counts over everything that events told before it began, whatever the clocks say: also
        when Label Studio's database was restored.
        """
        return int(self.connection.incr(self.key("clock")))
