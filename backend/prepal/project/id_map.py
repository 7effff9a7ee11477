"""A value of fixed width for each of many ids, in Redis: packed, so that a million are small and read at once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import redis
from numpy.typing import NDArray
from redis.client import Pipeline

# Ids of one string: more are packed better where a project's ids lie close together, fewer where they are far apart.
_PAGE = 64
# Strings that are read with one command.
_AT_ONCE = 1024

# KEYS: prefix. ARGV: width, ids of a page, then id and value in turn; an empty value deletes. Returns how many of the
# ids had a value before.
_PUT = """
local width, page = tonumber(ARGV[1]), tonumber(ARGV[2])
local nothing, before, after = string.rep('\\0', width), 0, 0
for i = 3, #ARGV, 2 do
    local id, value = tonumber(ARGV[i]), ARGV[i + 1]
    local number = string.format('%d', math.floor(id / page))
    local key, at = KEYS[1] .. ':' .. number, (id % page) * width
    local old = redis.call('GETRANGE', key, at, at + width - 1)
    local there = old ~= '' and old ~= nothing
    if there then before = before + 1 end
    if value ~= '' then
        after = after + 1
        if not there and redis.call('SADD', KEYS[1] .. ':pages', number) == 1 then
            -- A string that grows step by step would get twice the room that it needs.
            redis.call('SETRANGE', key, width * page - 1, '\\0')
        end
        redis.call('SETRANGE', key, at, value)
    elseif there then
        redis.call('SETRANGE', key, at, nothing)
    end
end
redis.call('INCRBY', KEYS[1] .. ':count', after - before)
return before
"""
_CLEAR = """
for _, number in ipairs(redis.call('SMEMBERS', KEYS[1] .. ':pages')) do
    redis.call('DEL', KEYS[1] .. ':' .. number)
end
redis.call('DEL', KEYS[1] .. ':pages', KEYS[1] .. ':count')
"""


class IdMap:
    """One value per id.

    Args:
        connection: to Redis.
        key: what the names of its keys begin with.
        dtype: of the values, such as `S32` or `<i8`; a value of zeros is none.
    """

    def __init__(self, connection: redis.Redis, key: str, dtype: str) -> None:
        self._connection = connection
        self._key = key
        self._dtype = np.dtype(dtype)
        self._put = connection.register_script(_PUT)
        self._clear = connection.register_script(_CLEAR)

    def __len__(self) -> int:
        return int(cast(bytes | None, self._connection.get(f"{self._key}:count")) or 0)

    def put(self, values: Mapping[int, Any], pipe: Pipeline | None = None) -> None:
        """Give ids their values."""
        packed = np.array(list(values.values()), self._dtype).tobytes()
        width = self._dtype.itemsize
        self._write(list(values), [packed[at : at + width] for at in range(0, len(packed), width)], pipe)

    def delete(self, ids: Iterable[int], pipe: Pipeline | None = None) -> None:
        """Take the values of ids away; a pipe's answer is how many had one."""
        chosen = list(ids)
        self._write(chosen, [b""] * len(chosen), pipe)

    def clear(self, pipe: Pipeline | None = None) -> None:
        """Take all values away."""
        self._clear(keys=[self._key], client=pipe)

    def get(self, ids: Sequence[int]) -> dict[int, Any]:
        """The values of those of the ids that have one."""
        width = self._dtype.itemsize
        with self._connection.pipeline(transaction=False) as pipe:
            for id in ids:
                at = id % _PAGE * width
                pipe.getrange(f"{self._key}:{id // _PAGE}", at, at + width - 1)
            raw = cast(list[bytes], pipe.execute())
        values = {id: np.frombuffer(value, self._dtype)[0] for id, value in zip(ids, raw, strict=True) if value}
        return {id: value.item() for id, value in values.items() if value}

    def all(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """(n,) int64, all ids that have a value, ascending; and (n,), their values."""
        numbers = sorted(map(int, cast(set[bytes], self._connection.smembers(f"{self._key}:pages"))))
        full = _PAGE * self._dtype.itemsize
        raw: list[bytes] = []
        for start in range(0, len(numbers), _AT_ONCE):
            keys = [f"{self._key}:{number}" for number in numbers[start : start + _AT_ONCE]]
            raw += [(page or b"").ljust(full, b"\0") for page in cast(list[bytes | None], self._connection.mget(keys))]
        values = np.frombuffer(b"".join(raw), self._dtype)
        ids = (np.array(numbers, np.int64)[:, None] * _PAGE + np.arange(_PAGE)).ravel()
        there = values.astype(bool) if self._dtype.kind == "i" else values != b""
        return ids[there], values[there]

    def _write(self, ids: Sequence[int], values: Sequence[bytes], pipe: Pipeline | None) -> None:
        pairs = [part for pair in zip(ids, values, strict=True) for part in pair]
        # Lua takes some thousand arguments at a time.
        for start in range(0, len(pairs), 2000) or [0]:
            args = [self._dtype.itemsize, _PAGE, *pairs[start : start + 2000]]
            self._put(keys=[self._key], args=args, client=pipe)
