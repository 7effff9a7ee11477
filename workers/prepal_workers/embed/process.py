"""The embed worker: takes chunks of waiting texts from the queue and puts their vectors into the vector cache."""

import logging
import signal
import sys
import time
from collections.abc import Sequence
from threading import Event, Thread
from types import FrameType
from typing import ClassVar

import numpy as np
import redis
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rq import get_current_job
from rq.timeouts import BaseTimeoutException

from prepal.errors import PrepalError
from prepal.queues.recovery import SUSPECT
from prepal.queues.requests import vectors_arrived, wait_for_redis
from prepal.queues.rq_worker import OwnJob, OwnWorker
from prepal.queues.waiting import JOB, QUEUE, WaitingTexts
from prepal.settings import Settings
from prepal.vectors import VectorTable, encoders
from prepal_workers.encoder.encoder import Encoder

log = logging.getLogger(__name__)

_MAINTENANCE_S = 15
# Each append adds a piece to the table; beyond some, looking ids up gets slower.
_MOST_APPENDS = 32
_COMPACT_S = 3600
# No two workers begin to compact within this time.
_COMPACT_LOCK_S = 60
_RESTART_S = 1.0
# How long vectors that cannot be stored, as on a full disk, wait for the next try.
_STORE_AGAIN_S = 5.0
# A chunk of fewer texts tells too little of how fast they are embedded.
_RATED_TEXTS = 16
# What may interrupt the encoder without any text being to blame.
_INTERRUPTIONS = (KeyboardInterrupt, SystemExit, BaseTimeoutException)
_HARMLESS_TEXT = "text"
# So many workers that end over a text by itself are enough.
_MOST_ENDED = 2

_own: "_Own | None" = None
_stopping = Event()


def embed_chunk(encoder: str, text_ids: list[str]) -> None:
    """Job: embed those of the texts that still wait, and tell the projects that wait for them."""
    job, own = get_current_job(), _own
    if job is None or own is None:
        raise PrepalError("Texts are embedded by `prepal worker embed` only.")
    if encoder != own.encoder.identity or not own.encoder.is_as_loaded():
        # Whoever asked for it has another encoder by now; should a worker have this one, it queues the texts again.
        log.info("%d texts are for the encoder %s and are left to a worker that has it", len(text_ids), encoder)
        return
    waiting = WaitingTexts(job.connection, encoder)
    if job.meta.get("abandoned", 0) < SUSPECT:
        _embed_waiting(own, waiting, job.connection, text_ids)
        return
    # One of them may be what ends the workers: by itself it is found, and the others do not suffer from it.
    for key in text_ids:
        if waiting.among([key]) and waiting.begin(key) > _MOST_ENDED:
            _tell(job.connection, waiting, [key], {key: f"its worker ended {_MOST_ENDED} times while it embedded it"})
        else:
            _embed_waiting(own, waiting, job.connection, [key])


def _embed_waiting(own: "_Own", waiting: WaitingTexts, connection: redis.Redis, text_ids: list[str]) -> None:
    began = time.monotonic()
    texts = waiting.texts(text_ids)
    lacking = own.table.missing(list(texts))
    refused: dict[str, str] = {}
    if lacking:
        log.info("%d texts begun", len(lacking))
        vectors, reasons = _embed(own.encoder, [texts[key] for key in lacking])
        if not own.encoder.is_as_loaded():
            log.warning("%d vectors are not kept: the encoder's files changed while they were computed", len(lacking))
            return
        refused = {key: reason for key, reason in zip(lacking, reasons, strict=True) if reason}
        if len(lacking) >= _RATED_TEXTS:
            waiting.note_rate(len(lacking), time.monotonic() - began)
        _store(own.table, [key for key in lacking if key not in refused], vectors)
    _tell(connection, waiting, list(texts), refused)
    _progress.advance(len(texts), len(waiting))
    log.info("%d of %d texts embedded in %.2f s", len(lacking), len(text_ids), time.monotonic() - began)


def _tell(connection: redis.Redis, waiting: WaitingTexts, ids: list[str], refused: dict[str, str]) -> None:
    """Let texts wait no longer, and tell the projects that waited for them; `refused` says why some have no vector."""
    embedded = [key for key in ids if key not in refused]
    # A worker that is killed before the texts are marked as done tells the projects twice rather than never.
    told = waiting.projects(embedded)
    for project, keys in told.items():
        vectors_arrived(connection, project, keys)
    late = waiting.done(embedded)
    for key, reason in refused.items():
        log.warning("text %s cannot be embedded: %s", key, reason)
        for project in waiting.set_aside(key, reason):
            late.setdefault(project, [])
    # Once nothing waits, the tasks that are left get their place in the ranking: the round must see that.
    is_last = not len(waiting)
    for project, keys in late.items():
        more = sorted(set(keys) - set(told.get(project, ())))
        if more or project not in told or is_last:
            vectors_arrived(connection, project, more)


def run_worker(settings: Settings) -> None:
    """Embed what waits until told to stop by SIGTERM or SIGINT, which let the current chunk finish.

    Raises:
        PrepalError: the encoder cannot be loaded.
    """
    global _own
    _own = _Own(settings.prepal_encoder, settings.prepal_vectors)
    connection = redis.Redis.from_url(settings.redis_url)
    while not _stopping.is_set():
        wait_for_redis(connection)
        try:
            _own.announce(connection)
            EmbedWorker(_own, connection).work(logging_level="WARNING")
        except redis.RedisError as error:
            log.warning("Redis was lost (%s); beginning anew", error)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _stopping.wait(_RESTART_S)
    _progress.end()


class _Own:
    """The encoder of this process, and where its vectors go.

    Args:
        name: of the encoder, as in PREPAL_ENCODER.
        vectors: the vector cache.
    """

    def __init__(self, name: str, vectors: str) -> None:
        self._name = name
        self._vectors = vectors
        self._seen = ""
        self._before: str | None = None
        self.load()

    def load(self) -> None:
        """Load the encoder as its files are now."""
        self.encoder = Encoder(self._name)
        self.table = VectorTable(self._vectors, self.encoder.identity)

    def announce(self, connection: redis.Redis) -> None:
        """Tell all what the encoder's name means here; what waits for what it meant before would wait for ever."""
        now = self.encoder.identity
        announced = encoders.announce(self._name, now, self.encoder.seen, connection)
        for before in {announced, self._before} - {None, now}:
            log.warning("the encoder %s is %s from now on, and no more %s", self._name, now, before)
            WaitingTexts(connection, str(before)).forget()
        self._before = now

    def follow(self, connection: redis.Redis) -> None:
        """Load the encoder again when its files have changed, unless they were still changing since the last look."""
        if self.encoder.is_as_loaded():
            if not encoders.is_announced(self._name, connection):
                self.announce(connection)
            return
        before, self._seen = self._seen, encoders.look(encoders.weights(self._name)).digest
        if before != self._seen:
            log.warning(
                "the encoder %s is loaded again when its files, which have changed, stay as they are", self._name
            )
            return
        try:
            self.load()
        except PrepalError as error:
            log.error("%s", error)
        else:
            self.announce(connection)


class EmbedJob(OwnJob):
    """A job of the embed worker's."""

    functions: ClassVar = {JOB: embed_chunk}


class EmbedWorker(OwnWorker):
    """RQ worker that, every few seconds, also puts back on the queue what got lost, and keeps the table tidy."""

    def __init__(self, own: _Own, connection: redis.Redis) -> None:
        super().__init__([QUEUE], EmbedJob, connection, _MAINTENANCE_S)
        self._own = own
        self._compact_at = 0.0
        self._compacting: Thread | None = None

    @property
    def _waiting(self) -> WaitingTexts:
        return WaitingTexts(self.connection, self._own.encoder.identity)

    @property
    def _table(self) -> VectorTable:
        return self._own.table

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Stop when the current chunk is finished."""
        _stopping.set()
        super().request_stop(signum, frame)

    def teardown(self) -> None:
        """Wait until the table is compacted, if it is right now."""
        try:
            super().teardown()
        finally:
            if self._compacting is not None:
                self._compacting.join()

    def maintain(self) -> None:
        """Follow the encoder's files, queue lost texts again, compact the table when due."""
        self._own.follow(self.connection)
        if count := self._waiting.requeue_lost():
            log.info("%d waiting texts had no job and are queued again", count)
        self._compact()

    def _compact(self) -> None:
        """Compact when due, beside the next chunks."""
        idle = not len(self._waiting) and time.monotonic() >= self._compact_at
        if not (self._table.appends >= _MOST_APPENDS or (self._table.appends and idle)):
            return
        if self._compacting is not None and self._compacting.is_alive():
            return
        if not self.connection.set(f"prepal:compacting:{self._table.name}", 1, nx=True, ex=_COMPACT_LOCK_S):
            return
        self._compact_at = time.monotonic() + _COMPACT_S
        # A handle of its own: one is not meant for several threads.
        self._compacting = Thread(target=_compact, args=(VectorTable(self._table.uri, self._table.encoder),))
        self._compacting.start()
        self._table.appends = 0


def _compact(table: VectorTable) -> None:
    began = time.monotonic()
    try:
        table.compact()
    except PrepalError as error:
        log.warning("%s", error)
    log.info("vector cache %s: compacted in %.2f s", table.name, time.monotonic() - began)


class _Progress:
    """A bar of the texts that wait, where someone can see it."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def advance(self, texts: int, waiting: int) -> None:
        """So many more are done, and so many wait."""
        if not sys.stderr.isatty():
            return
        if self._bar is None or self._task is None:
            self._bar = Progress(
                TextColumn("Embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                console=Console(stderr=True),
            )  # fmt: skip
            self._task = self._bar.add_task("embedding", total=None)
            self._bar.start()
        self._bar.advance(self._task, texts)
        self._bar.update(self._task, total=self._bar.tasks[0].completed + waiting)
        if not waiting:
            self.end()

    def end(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None


_progress = _Progress()


def _store(table: VectorTable, ids: list[str], vectors: NDArray[np.float16]) -> None:
    """Append to the cache; what took time to compute waits until that succeeds or the job's time is over."""
    while True:
        try:
            return table.append(ids, vectors)
        except PrepalError as error:
            if _stopping.is_set():
                raise
            log.warning("%s Trying again in %g s.", error, _STORE_AGAIN_S)
            _stopping.wait(_STORE_AGAIN_S)


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
