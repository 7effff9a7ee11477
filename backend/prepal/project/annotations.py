"""The annotations of a project: events add to them, and readings of Label Studio put them right."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import redis

from prepal import records
from prepal.labels.events import Annotation
from prepal.project.id_map import IdMap
from prepal.project.part import Part

# Ids that one script is given.
_AT_ONCE = 1000

# KEYS: annotations, deleted ones, touched ones, clock, facts. ARGV: id, JSON and time of change in turn.
# What was deleted stays so until a reading finds it again; an older state replaces no newer one. Returns how many were
# news.
_HEAR = """
local stamp, news = redis.call('INCR', KEYS[4]), 0
for i = 1, #ARGV, 3 do
    local id, new, at = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    redis.call('ZADD', KEYS[3], stamp, id)
    if redis.call('HEXISTS', KEYS[2], id) == 0 then
        local old = redis.call('HGET', KEYS[1], id)
        local before = old and string.match(old, '"updated_at":"([^"]*)"') or ''
        if old ~= new and not (before > at) then
            redis.call('HSET', KEYS[1], id, new)
            news = news + 1
        end
    end
end
if news > 0 then redis.call('INCR', KEYS[5]) end
return news
"""
# The same KEYS. ARGV: ids. Returns how many there were.
_FORGET = """
local stamp, gone = redis.call('INCR', KEYS[4]), 0
for i = 1, #ARGV do
    gone = gone + redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('HSET', KEYS[2], ARGV[i], stamp)
    redis.call('ZADD', KEYS[3], stamp, ARGV[i])
end
redis.call('INCR', KEYS[5])
return gone
"""
# The same KEYS. ARGV: when the reading began, then id and JSON in turn; no JSON: Label Studio does not have it.
# What an event told of since then is newer than the reading. Returns how many were changed.
_TAKE = """
local changed = 0
for i = 2, #ARGV, 2 do
    local id, new = ARGV[i], ARGV[i + 1]
    if tonumber(redis.call('ZSCORE', KEYS[3], id) or 0) < tonumber(ARGV[1]) then
        if new == '' then
            changed = changed + redis.call('HDEL', KEYS[1], id)
        else
            redis.call('HDEL', KEYS[2], id)
            redis.call('HSET', KEYS[1], id, new)
            changed = changed + 1
        end
    end
end
if changed > 0 then redis.call('INCR', KEYS[5]) end
return changed
"""


class Annotations(Part):
    """A project's annotations, by their ids in Label Studio."""

    def __init__(self, connection: redis.Redis, project_id: int, question: str = "", *, reads: bool = False) -> None:
        super().__init__(connection, project_id, question, reads=reads)
        self.seen = IdMap(connection, self.key("seen"), "<i8")
        """When each task had been changed last as it was read as a whole; the next comparison reads all others so."""
        self._hear, self._forget, self._take = map(connection.register_script, (_HEAR, _FORGET, _TAKE))

    def put_annotations(self, annotations: Mapping[int, Annotation]) -> int:
        """Add or renew annotations that an event told of; returns how many were news."""
        news = 0
        for chunk in _chunks(list(annotations.items())):
            args = [part for key, value in chunk for part in (key, _dumped(value), _plain(value.updated_at))]
            news += int(self._hear(keys=self._annotation_keys, args=args))
        # Whatever an event says, the next comparison looks at these tasks.
        self.seen.delete({annotation.task for annotation in annotations.values()})
        return news

    def delete_annotations(self, ids: Iterable[int]) -> int:
        """Forget annotations that an event called deleted, known or not. Returns how many were known."""
        gone = list(ids)
        if not gone:
            return 0
        self.seen.delete({annotation.task for annotation in self.annotations(gone).values()})
        return sum(int(self._forget(keys=self._annotation_keys, args=chunk)) for chunk in _chunks(gone))

    def take_annotations(
        self, found: Mapping[int, Annotation], before: Mapping[int, Annotation], began: int
    ) -> tuple[int, int]:
        """Make the annotations of some tasks what a reading of Label Studio found, but for what was heard meanwhile.

        Args:
            found: all annotations that Label Studio has of these tasks.
            before: all that are known of them.
            began: what `begin_reading` said before either was read.

        Returns:
            How many were missed or differed; and how many were gone.
        """
        if not found and not before:
            return 0, 0
        dead = {int(key) for key in cast(list[bytes], self.connection.hkeys(self.key("removed-annotations")))}
        wrong = [(key, _dumped(value)) for key, value in found.items() if before.get(key) != value or key in dead]
        gone = [(key, b"") for key in before if key not in found]
        return self._take_all(wrong, began), self._take_all(gone, began)

    def forget_removed_annotations(self, began: int) -> None:
        """Let go of what is only kept for late events and for readings that began before this one and the last."""
        before = self._number("read-annotations")
        removed = cast(dict[bytes, bytes], self.connection.hgetall(self.key("removed-annotations")))
        with self.connection.pipeline() as pipe:
            if old := [number for number, stamp in removed.items() if int(stamp) < before]:
                pipe.hdel(self.key("removed-annotations"), *old)
            pipe.zremrangebyscore(self.key("touched-annotations"), 0, before)
            pipe.set(self.key("read-annotations"), began)
            pipe.execute()

    def annotations(self, ids: Iterable[int] | None = None) -> dict[int, Annotation]:
        """All annotations, or those of the given ids, by id."""
        if ids is None:
            raw = cast(dict[Any, bytes], self.connection.hgetall(self.key("annotations")))
        else:
            raw = self._of_each("annotations", list(ids))
        read = ((int(key), records.read(Annotation, value)) for key, value in raw.items())
        return {key: annotation for key, annotation in read if annotation}

    def _take_all(self, pairs: Sequence[tuple[int, bytes]], began: int) -> int:
        changed = 0
        for chunk in _chunks(pairs):
            args = [began, *(part for pair in chunk for part in pair)]
            changed += int(self._take(keys=self._annotation_keys, args=args))
        return changed

    @property
    def _annotation_keys(self) -> list[str]:
        names = ("annotations", "removed-annotations", "touched-annotations", "clock", "facts")
        return [self.key(name) for name in names]


def _dumped(annotation: Annotation) -> bytes:
    return records.dumps(asdict(annotation))


def _plain(time: str) -> bytes:
    """A time as it stands in JSON, which is how times are compared."""
    return records.dumps(time)[1:-1]


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
