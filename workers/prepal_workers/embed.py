"""The embed worker: takes chunks of waiting texts from the queue and puts their vectors into the vector cache."""

import logging
import signal
import time
from collections.abc import Sequence
from functools import lru_cache
from threading import Event
from types import FrameType

import numpy as np
import redis
from numpy.typing import NDArray
from rq import SimpleWorker, get_current_job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseTimeoutException

from prepal import jobs, settings
from prepal.errors import PrepalError
from prepal.jobs_recovery import recover_abandoned, worker_name
from prepal.settings import Settings
from prepal.vectors import VectorTable
from prepal.waiting import WaitingTexts
from prepal_workers.encoder import Encoder

log = logging.getLogger(__name__)

# So many vectors are stored at a time; a killed worker repeats at most these.
_BATCH_TEXTS = 64
_WORKER_TTL_S = 30
_MAINTENANCE_S = 15
# Each append adds a piece to the table; beyond some hundred, reading gets slower.
_MOST_APPENDS = 512
_COMPACT_S = 3600
# No two workers begin to compact within this time.
_COMPACT_LOCK_S = 60
_RESTART_S = 1.0
# What may interrupt the encoder without any text being to blame.
_INTERRUPTIONS = (KeyboardInterrupt, SystemExit, BaseTimeoutException)
_HARMLESS_TEXT = "text"

_vectors_uri: str | None = None


def embed_chunk(encoder: str, text_ids: list[str]) -> None:
    """Job: embed those of the texts that still wait, and tell the projects that wait for them."""
    job = get_current_job()
    if job is None:
        raise PrepalError("Texts are embedded by `prepal worker embed` only.")
    began = time.monotonic()
    waiting = WaitingTexts(job.connection, encoder)
    table = _table(_vectors_uri or settings.load().prepal_vectors, encoder)
    texts = waiting.texts(text_ids)
    lacking = sorted(table.missing(list(texts)), key=lambda key: len(texts[key]))
    refused: dict[str, str] = {}
    for start in range(0, len(lacking), _BATCH_TEXTS):
        ids = lacking[start : start + _BATCH_TEXTS]
        vectors, reasons = _embed(_encoder(encoder), [texts[key] for key in ids])
        table.append([key for key, reason in zip(ids, reasons, strict=True) if not reason], vectors)
        refused |= {key: reason for key, reason in zip(ids, reasons, strict=True) if reason}

    # A worker that is killed before the texts are marked as done tells the projects twice rather than never.
    told = waiting.projects(list(texts))
    for project in told:
        jobs.vectors_arrived(job.connection, project)
    late = waiting.done([key for key in texts if key not in refused])
    for key, reason in refused.items():
        log.warning("text %s cannot be embedded: %s", key, reason)
        late |= waiting.set_aside(key, reason)
    # Once nothing waits, the tasks that are left get their place in the ranking: the round must see that.
    for project in late - told if len(waiting) else late | told:
        jobs.vectors_arrived(job.connection, project)
    log.info("%d of %d texts embedded in %.2f s", len(lacking), len(text_ids), time.monotonic() - began)


def run_worker(settings: Settings) -> None:
    """Embed what waits until told to stop by SIGTERM or SIGINT, which let the current chunk finish.

    Raises:
        PrepalError: the encoder cannot be loaded.
    """
    global _vectors_uri
    _vectors_uri = settings.prepal_vectors
    _encoder(settings.prepal_encoder)
    connection = redis.Redis.from_url(settings.redis_url)
    stopping = Event()
    while not stopping.is_set():
        jobs.wait_for_redis(connection)
        try:
            waiting = WaitingTexts(connection, settings.prepal_encoder)
            EmbedWorker(waiting, _table(_vectors_uri, settings.prepal_encoder), stopping).work(logging_level="WARNING")
        except redis.RedisError as error:
            log.warning("Redis was lost (%s); beginning anew", error)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        stopping.wait(_RESTART_S)


class EmbedWorker(SimpleWorker):
    """RQ worker that, every few seconds, also puts back on the queue what got lost, and keeps the table tidy."""

    def __init__(self, waiting: WaitingTexts, table: VectorTable, stopping: Event) -> None:
        super().__init__(
            [waiting.queue],
            name=worker_name(),
            connection=waiting.queue.connection,
            serializer=JSONSerializer,
            worker_ttl=_WORKER_TTL_S,
            maintenance_interval=_MAINTENANCE_S,
            log_job_description=False,
        )
        self._stopping = stopping
        self._waiting = waiting
        self._table = table
        self._compact_at = 0.0

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Stop when the current chunk is finished."""
        self._stopping.set()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def teardown(self) -> None:
        """End the thread that listens for commands, also when Redis cannot be told."""
        try:
            super().teardown()  # type: ignore[no-untyped-call]
        finally:
            if self.pubsub_thread is not None:
                self.pubsub_thread.stop()

    def run_maintenance_tasks(self) -> None:
        """Recover lost jobs and lost texts, before RQ counts a job as failed; compact the table when due."""
        recover_abandoned(self._waiting.queue)
        if count := self._waiting.requeue_lost():
            log.info("%d waiting texts had no job and are queued again", count)
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self._compact()

    def _compact(self) -> None:
        idle = not len(self._waiting) and time.monotonic() >= self._compact_at
        if not (self._table.appends >= _MOST_APPENDS or (self._table.appends and idle)):
            return
        if not self.connection.set(f"prepal:compacting:{self._table.name}", 1, nx=True, ex=_COMPACT_LOCK_S):
            return
        began = time.monotonic()
        try:
            self._table.compact()
        except PrepalError as error:
            log.warning("%s", error)
        self._compact_at = time.monotonic() + _COMPACT_S
        log.info("vector cache %s: compacted in %.2f s", self._table.name, time.monotonic() - began)


@lru_cache(maxsize=1)
def _encoder(name: str) -> Encoder:
    return Encoder(name)


@lru_cache(maxsize=1)
def _table(uri: str, encoder: str) -> VectorTable:
    return VectorTable(uri, encoder)


def _embed(encoder: Encoder, texts: Sequence[str]) -> tuple[NDArray[np.float16], list[str]]:
    """Vectors of the texts that have one, and for each text the reason why it has none, or ""."""
    try:
        vectors, reasons = encoder.encode(texts), [""] * len(texts)
    except _INTERRUPTIONS:
        raise
    # Tokenizers panic past Exception.
    except BaseException as error:
        log.warning("%d texts cannot be embedded together (%s); trying one by one", len(texts), error)
        vectors, reasons = _embed_singly(encoder, texts)
    finite = np.isfinite(vectors).all(axis=1)
    for place in np.flatnonzero(~finite):
        reasons[place] = reasons[place] or "the encoder's numbers for it are not finite in float16"
    return vectors[finite], reasons


def _embed_singly(encoder: Encoder, texts: Sequence[str]) -> tuple[NDArray[np.float16], list[str]]:
    """(n, d) float16, NaN where a text cannot be embedded; and the reasons."""
    vectors = np.full((len(texts), encoder.dimension), np.nan, np.float16)
    reasons = [""] * len(texts)
    for place, text in enumerate(texts):
        try:
            vectors[place] = encoder.encode([text])[0]
        except _INTERRUPTIONS:
            raise
        except BaseException as error:
            # Raises when the encoder or its device is what fails: then the job fails, and no text is given up.
            encoder.encode([_HARMLESS_TEXT])
            reasons[place] = f"{type(error).__name__}: {error}"
    return vectors, reasons
