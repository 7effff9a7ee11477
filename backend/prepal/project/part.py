"""What all parts of a project's copy share: Redis, names of keys, the count of facts, and when reading began."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
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


# What is kept of each question; of the first one under the project's own keys, as while a project had but one.
_OF_A_QUESTION = frozenset(
    (
        *("accuracies", "compared", "confirmed", "expected", "judged", "opinions", "ranking", "round", "shown"),
        *("weak-labels", "weak-version"),
    )
)
# What is kept of a question, too, that reads other texts than the first one.
_OF_A_READING = frozenset(("texts", "unembeddable"))


class Part:
    """Keys of one project, or those of one of its questions, who share what is not of a question alone.

    Args:
        connection: to Redis.
        project_id: its number in Label Studio.
        question: the name of the question; "": the first one.
        reads: whether that has texts of its own.
    """

    facts = Stored("facts", int, 0)
    """How many facts have been written so far."""

    def __init__(self, connection: redis.Redis, project_id: int, question: str = "", *, reads: bool = False) -> None:
        self.id = project_id
        self.connection = connection
        self.question, self.reads = question, reads
        self._prefix = f"prepal:project:{project_id}:"
        # A name may have whatever Redis takes for a pattern.
        self._of_question = f"question:{blake2b(question.encode('utf-8', 'replace'), digest_size=8).hexdigest()}:"
        self._own = (_OF_A_QUESTION | _OF_A_READING if reads else _OF_A_QUESTION) if question else frozenset[str]()

    def key(self, name: str) -> str:
        """Redis key of one part of the copy."""
        return f"{self._prefix}{self._of_question}{name}" if name in self._own else self._prefix + name

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
