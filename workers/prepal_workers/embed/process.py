"""The process of the embed worker: takes chunks of waiting texts from the queue until it is told to stop."""

import logging
import os
import time
from threading import Event, Thread
from typing import ClassVar

import redis

from prepal.errors import PrepalError
from prepal.queues.rq_worker import OwnJob, StoppableWorker, work_until
from prepal.queues.waiting import JOB, QUEUE, WaitingTexts
from prepal.settings import Settings
from prepal.vectors import VectorTable
from prepal_workers.embed.chunk import Chunks, WaitingBar
from prepal_workers.embed.own_encoder import OwnEncoder

log = logging.getLogger(__name__)

_MAINTENANCE_S = 15
# Rounds, and Label Studio on the same machine, come first: somebody waits for them.
_NICENESS = 10
# Each append adds a piece to the table; beyond some, looking ids up gets slower.
_MOST_APPENDS = 32
_COMPACT_S = 3600
# No two workers begin to compact within this time.
_COMPACT_LOCK_S = 60


def run_worker(settings: Settings) -> None:
    """Embed what waits until told to stop by SIGTERM or SIGINT, which let the current chunk finish.

    Raises:
        PrepalError: the encoder cannot be loaded.
    """
    os.nice(_NICENESS)
    own, stopping, bar = OwnEncoder(settings.prepal_encoder, settings.prepal_vectors), Event(), WaitingBar()

    class EmbedJob(OwnJob):
        """A job of this embed worker's."""

        functions: ClassVar = {JOB: Chunks(own, stopping, bar).embed_chunk}

    connection = redis.Redis.from_url(settings.redis_url)

    def begin() -> EmbedWorker:
        own.announce(connection)
        return EmbedWorker(own, EmbedJob, connection, stopping)

    work_until(stopping, connection, begin)
    bar.end()


class EmbedWorker(StoppableWorker):
    """RQ worker that, every few seconds, also puts back on the queue what got lost, and keeps the tables tidy."""

    def __init__(self, own: OwnEncoder, job_class: type[OwnJob], connection: redis.Redis, stopping: Event) -> None:
        super().__init__([QUEUE], job_class, connection, _MAINTENANCE_S, stopping)
        self._own = own
        self._compact_at = 0.0
        self._compacting: Thread | None = None

    def teardown(self) -> None:
        """Wait until the table is compacted, if it is right now."""
        try:
            super().teardown()
        finally:
            if self._compacting is not None:
                self._compacting.join()

    def maintain(self) -> None:
        """Follow the encoder's files, queue lost texts again, compact a table that is due."""
        self._own.follow(self.connection)
        for identity in self._own.used(self.connection):
            if count := WaitingTexts(self.connection, identity).requeue_lost():
                log.info("%d waiting texts had no job and are queued again", count)
        self._compact()

    def _compact(self) -> None:
        """Compact one table that is due, beside the next chunks."""
        if self._compacting is not None and self._compacting.is_alive():
            return
        for table in filter(self._is_due, self._own.tables.values()):
            if self.connection.set(f"prepal:compacting:{table.name}", 1, nx=True, ex=_COMPACT_LOCK_S):
                self._compact_at = time.monotonic() + _COMPACT_S
                # A handle of its own: one is not meant for several threads.
                self._compacting = Thread(target=_compact, args=(VectorTable(table.uri, table.encoder),))
                self._compacting.start()
                table.appends = 0
                return

    def _is_due(self, table: VectorTable) -> bool:
        idle = time.monotonic() >= self._compact_at and not len(WaitingTexts(self.connection, table.encoder))
        return table.appends >= _MOST_APPENDS or (table.appends > 0 and idle)


def _compact(table: VectorTable) -> None:
    began = time.monotonic()
    try:
        table.compact()
    except PrepalError as error:
        log.warning("%s", error)
    log.info("vector cache %s: compacted in %.2f s", table.name, time.monotonic() - began)
