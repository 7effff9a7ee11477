"""The texts that wait for the encoder, in Redis: put on its queue, found again when lost, told when embedded."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Self, cast

import redis
from redis.exceptions import LockError

from prepal.project import Project
from prepal.queues.requests import queue, request_round, vectors_arrived
from prepal.vectors import encoders, table_name

if TYPE_CHECKING:
    from rq import Queue
    from rq.job import Job

    from prepal.settings import Settings

log = logging.getLogger(__name__)

QUEUE = "embed"
# Until it is known how fast texts are embedded; then a job takes a few seconds.
CHUNK_TEXTS = 64
_FEWEST, _MOST, _CHUNK_S = 16, 2048, 3.0
# Ids that one command names.
_AT_ONCE = 256
JOB = "prepal_workers.embed.embed_chunk"
_JOB_TIMEOUT_S = 600
_FAILURE_TTL_S = 24 * 3600
# Longer than it takes to look through the queue.
_LOCK_S = 10

# KEYS: texts, projects, failed. ARGV: a project, then id and text in turn. Returns the ids that did not wait before.
_ADD = """
local new = {}
for i = 2, #ARGV, 2 do
    if redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) == 1 then
        redis.call('HDEL', KEYS[3], ARGV[i])
        new[#new + 1] = ARGV[i]
    end
    local projects = redis.call('HGET', KEYS[2], ARGV[i]) or ' '
    if not string.find(projects, ' ' .. ARGV[1] .. ' ', 1, true) then
        redis.call('HSET', KEYS[2], ARGV[i], projects .. ARGV[1] .. ' ')
    end
end
return new
"""
# KEYS: texts, projects, failed, hurried, begun. ARGV: ids that no longer wait. Returns the projects that waited for
# each.
_DONE = """
local projects = {}
for i = 1, #ARGV do
    projects[#projects + 1] = redis.call('HGET', KEYS[2], ARGV[i]) or ''
    for k = 1, 3 do
        redis.call('HDEL', KEYS[k], ARGV[i])
    end
    redis.call('SREM', KEYS[4], ARGV[i])
    redis.call('HDEL', KEYS[5], ARGV[i])
end
return projects
"""


class _Keys(NamedTuple):
    """Redis keys of the texts that wait for one encoder."""

    texts: str
    projects: str
    failed: str
    hurried: str
    begun: str
    rate: str
    requeue: str


class WaitingTexts:
    """The texts that wait for one encoder, and the projects that wait for them.

    Args:
        connection: to Redis.
        encoder: its name or its identity; what a name means is asked when this object is first used, and kept.
    """

    def __init__(self, connection: redis.Redis, encoder: str) -> None:
        self._name = encoder
        self._connection = connection
        self._add = connection.register_script(_ADD)
        self._done = connection.register_script(_DONE)

    @classmethod
    def wanted(cls, project: Project, settings: "Settings") -> Self:
        """What waits for the encoder that a project's ranking is to rest on."""
        base = encoders.identity(settings.prepal_encoder, project.connection)
        adapts = settings.prepal_adapt != "off"
        return cls(project.connection, project.encoder_wanted(base, adapts=adapts))

    @cached_property
    def queue(self) -> "Queue":
        """The jobs that embed texts."""
        return queue(self._connection, QUEUE)

    @cached_property
    def encoder(self) -> str:
        """The encoder's identity."""
        return encoders.identity(self._name, self._connection)

    @cached_property
    def _at(self) -> "_Keys":
        keys = _Keys(*(f"prepal:waiting:{table_name(self.encoder)}:{part}" for part in _Keys._fields))
        # Adapted encoders are as fast as their base.
        return keys._replace(rate=f"prepal:waiting:{table_name(encoders.base_of(self.encoder))}:rate")

    def __len__(self) -> int:
        return int(self._connection.hlen(self._at.texts))

    def add(self, texts: Mapping[str, str], project: int, urgent: bool = False) -> int:
        """Let texts, by text id, wait on behalf of a project; returns how many did not wait already.

        The project is told when the texts have vectors. What is urgent goes before all that waits.
        """
        new: list[str] = []
        for ids in _chunks(list(texts), _AT_ONCE):
            pairs = [part for key in ids for part in (key, texts[key].encode("utf-8", "surrogatepass"))]
            new += [key.decode() for key in self._add(keys=self._keys[:3], args=[project, *pairs])]
        self._enqueue(new, urgent=urgent)
        return len(new)

    def hurry(self, ids: Sequence[str]) -> int:
        """Let those of the texts that wait go before all others; returns how many were not told to already."""
        waits = sorted(self.among(ids))
        if not waits:
            return 0
        with self._connection.pipeline() as pipe:
            for key in waits:
                pipe.sadd(self._at.hurried, key)
            new = [key for key, is_new in zip(waits, pipe.execute(), strict=True) if is_new]
        self._enqueue(new, urgent=True)
        return len(new)

    @property
    def rate(self) -> float | None:
        """How many texts a second one worker embeds; None while that is not known."""
        raw = cast(bytes | None, self._connection.get(self._at.rate))
        return float(raw) if raw else None

    def note_rate(self, texts: int, seconds: float) -> None:
        """Remember how long a worker took for some texts."""
        self._connection.set(self._at.rate, texts / max(seconds, 1e-3))

    def ids(self) -> set[str]:
        """All texts that wait."""
        return {key.decode() for key in cast(list[bytes], self._connection.hkeys(self._at.texts))}

    def among(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids that wait."""
        return {key for key, _ in self._get(self._at.projects, list(ids))}

    def texts(self, ids: Sequence[str]) -> dict[str, str]:
        """The texts of those ids that wait."""
        return {key: value.decode("utf-8", "surrogatepass") for key, value in self._get(self._at.texts, ids)}

    def projects(self, ids: Sequence[str]) -> dict[int, list[str]]:
        """The projects that wait for any of the texts, and for which."""
        return _by_project(self._get(self._at.projects, ids))

    def begin(self, id: str) -> int:
        """Note that a text is embedded by itself, because it may end its worker; returns how often that was begun."""
        return int(self._connection.hincrby(self._at.begun, id, 1))

    def done(self, ids: Sequence[str]) -> dict[int, list[str]]:
        """Let texts wait no longer; returns the projects that waited for any of them, and for which."""
        waited: list[tuple[str, bytes]] = []
        for chunk in _chunks(ids, _AT_ONCE):
            waited += zip(chunk, self._done(keys=self._keys, args=chunk), strict=True)
        return _by_project(waited)

    def set_aside(self, id: str, reason: str) -> dict[int, list[str]]:
        """Let a text wait no longer because it cannot be embedded; returns the projects that waited for it."""
        projects = self.done([id])
        self._connection.hset(self._at.failed, id, reason.encode("utf-8", "replace"))
        return projects

    def finish(self, ids: Sequence[str], refused: Mapping[str, str]) -> None:
        """Let texts wait no longer, and tell the projects that waited for them.

        They have a vector by now, but for those that were refused: of these there is a reason, by id.
        """
        embedded = [key for key in ids if key not in refused]
        # A worker that is killed before the texts are marked as done tells the projects twice rather than never.
        told = self.projects(embedded)
        for number, keys in told.items():
            vectors_arrived(self._connection, number, self.encoder, keys)
        late = self.done(embedded)
        for key, reason in refused.items():
            log.warning("text %s cannot be embedded: %s", key, reason)
            for number in self.set_aside(key, reason):
                late.setdefault(number, [])
        # Once nothing waits, the tasks that are left get their place in the ranking, or it comes to rest on this
        # encoder: a round must see that.
        is_last = not len(self)
        for number, keys in late.items():
            more = sorted(set(keys) - set(told.get(number, ())))
            if more or number not in told or is_last:
                vectors_arrived(self._connection, number, self.encoder, more)
            if is_last:
                request_round(self._connection, number)

    def failures(self, ids: Iterable[str]) -> dict[str, str]:
        """Why texts were set aside, for those of the ids that were."""
        return {key: value.decode() for key, value in self._get(self._at.failed, list(ids))}

    def all_failures(self) -> dict[str, str]:
        """Why texts were set aside, for all that were."""
        raw = cast(dict[bytes, bytes], self._connection.hgetall(self._at.failed))
        return {key.decode(): value.decode() for key, value in raw.items()}

    def forget(self) -> None:
        """Let nothing wait for this encoder any more."""
        self._connection.delete(*self._keys, *([] if encoders.is_adapted(self.encoder) else [self._at.rate]))

    def requeue_lost(self) -> int:
        """Queue the texts that wait while no job will embed them; returns how many there were.

        Call `recover_abandoned` first: jobs that a dead worker seems to run count as alive here.
        """
        lock = self._connection.lock(self._at.requeue, timeout=_LOCK_S)
        if not len(self) or not lock.acquire(blocking=False):
            return 0
        try:
            before = self.ids()
            alive = [*self.queue.get_job_ids(), *self.queue.started_job_registry.get_job_ids(cleanup=False)]
            covered = {key for _, ids in self._chunk_jobs(alive) for key in ids}
            # What was embedded while the jobs were read is not lost either.
            lost = (before & self.ids()) - covered
            count = len(lost)
            failed = self.queue.failed_job_registry
            for job, ids in self._chunk_jobs(failed.get_job_ids() if lost else []):
                if not lost.isdisjoint(ids):
                    failed.requeue(job)
                    lost.difference_update(ids)
            self._enqueue(sorted(lost), urgent=False)
            return count
        finally:
            with suppress(LockError):
                lock.release()

    @property
    def _keys(self) -> list[str]:
        return list(self._at[:5])

    def _get(self, name: str, ids: Sequence[str]) -> list[tuple[str, bytes]]:
        # Mostly nothing waits, and asking for thousands of ids is what the project page takes longest for.
        if not ids or not self._connection.hlen(name):
            return []
        values = cast(list[bytes | None], self._connection.hmget(name, list(ids)))
        return [(key, value) for key, value in zip(ids, values, strict=True) if value is not None]

    def _enqueue(self, ids: Sequence[str], *, urgent: bool) -> None:
        rate = self.rate
        size = CHUNK_TEXTS if rate is None else round(min(max(rate * _CHUNK_S, _FEWEST), _MOST))
        chunks = [
            self.queue.prepare_data(
                JOB,
                args=[self.encoder, chunk],
                timeout=_JOB_TIMEOUT_S,
                result_ttl=0,
                failure_ttl=_FAILURE_TTL_S,
                description=f"embed {len(chunk)} texts",
                at_front=urgent,
            )
            for chunk in _chunks(ids, size)
        ]
        if chunks:
            self.queue.enqueue_many(chunks)

    def _chunk_jobs(self, job_ids: Sequence[str]) -> "Iterator[tuple[Job, list[str]]]":
        """Those of the jobs that embed texts with this encoder, and the ids of their texts."""
        from prepal.queues.rq_worker import readable_jobs

        for job in readable_jobs(job_ids, self._connection):
            match job.func_name, job.args:
                case [name, [encoder, [*ids]]] if name == JOB and encoder == self.encoder:
                    yield job, [key for key in ids if isinstance(key, str)]


def _chunks(ids: Sequence[str], size: int) -> list[list[str]]:
    return [list(ids[start : start + size]) for start in range(0, len(ids), size)]


def _by_project(waited: Iterable[tuple[str, bytes]]) -> dict[int, list[str]]:
    """Text ids by project, from text ids and the projects that wait for each."""
    ids: dict[int, list[str]] = {}
    for key, projects in waited:
        for project in projects.split():
            ids.setdefault(int(project), []).append(key)
    return ids
