"""The embed worker's job: texts of one chunk become vectors, or are set aside with the reason."""

import logging
import sys
import time
from collections.abc import Sequence
from threading import Event

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rq import get_current_job
from rq.timeouts import BaseTimeoutException

from prepal.errors import PrepalError
from prepal.queues.recovery import SUSPECT
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import LostEncoderError, VectorTable
from prepal_workers.embed.own_encoder import OwnEncoder
from prepal_workers.encoder.encoder import Encoder

log = logging.getLogger(__name__)

# How long vectors that cannot be stored, as on a full disk, wait for the next try.
_STORE_AGAIN_S = 5.0
# A chunk of fewer texts tells too little of how fast they are embedded.
_RATED_TEXTS = 16
# What may interrupt the encoder without any text being to blame.
_INTERRUPTIONS = (KeyboardInterrupt, SystemExit, BaseTimeoutException)
_HARMLESS_TEXT = "text"
# So many workers that end over a text by itself are enough.
_MOST_ENDED = 2


class WaitingBar:
    """A bar of the texts that wait, where someone can see it."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def advance(self, texts: int, waiting: int) -> None:
        """Show that so many more texts are done, and how many wait."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            columns = (TextColumn("Embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.add_task("embedding", total=None)
            self._bar.start()
        task = self._bar.tasks[0]
        self._bar.advance(task.id, texts)
        self._bar.update(task.id, total=task.completed + waiting)
        if not waiting:
            self.end()

    def end(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None


class Chunks:
    """What the jobs of one embed worker do.

    Args:
        own: the worker's encoder.
        stopping: set when the worker is told to stop.
        bar: told of every text that is done.
    """

    def __init__(self, own: OwnEncoder, stopping: Event, bar: WaitingBar) -> None:
        self._own = own
        self._stopping = stopping
        self._bar = bar

    def embed_chunk(self, encoder: str, text_ids: list[str]) -> None:
        """Job: embed those of the texts that still wait, and tell the projects that wait for them."""
        job = get_current_job()
        if job is None:
            raise PrepalError("Texts are embedded by `prepal worker embed` only.")
        waiting = WaitingTexts(job.connection, encoder)
        try:
            loaded = self._own.of(encoder)
        except LostEncoderError as error:
            log.warning("%d texts are not embedded: %s", len(waiting), error)
            waiting.forget()
            return
        if loaded is None or not loaded.is_as_loaded():
            # Whoever asked for it has another encoder by now; should a worker have this one, it queues the texts again.
            log.info("%d texts are for the encoder %s and are left to a worker that has it", len(text_ids), encoder)
            return
        if job.meta.get("abandoned", 0) < SUSPECT:
            self._embed_waiting(loaded, waiting, text_ids)
            return
        # One of them may be what ends the workers: by itself it is found, and the others do not suffer from it.
        for key in text_ids:
            if waiting.among([key]) and waiting.begin(key) > _MOST_ENDED:
                waiting.finish([key], {key: f"its worker ended {_MOST_ENDED} times while it embedded it"})
            else:
                self._embed_waiting(loaded, waiting, [key])

    def _embed_waiting(self, encoder: Encoder, waiting: WaitingTexts, text_ids: list[str]) -> None:
        began, table = time.monotonic(), self._own.table(encoder.identity)
        texts = waiting.texts(text_ids)
        lacking = table.missing(list(texts))
        refused: dict[str, str] = {}
        if lacking:
            log.info("%d texts begun", len(lacking))
            vectors, reasons = _embed(encoder, [texts[key] for key in lacking])
            if not encoder.is_as_loaded():
                log.warning(
                    "%d vectors are not kept: the encoder's files changed while they were computed", len(lacking)
                )
                return
            refused = {key: reason for key, reason in zip(lacking, reasons, strict=True) if reason}
            if len(lacking) >= _RATED_TEXTS:
                waiting.note_rate(len(lacking), time.monotonic() - began)
            self._store(table, [key for key in lacking if key not in refused], vectors)
        waiting.finish(list(texts), refused)
        self._bar.advance(len(texts), len(waiting))
        log.info("%d of %d texts embedded in %.2f s", len(lacking), len(text_ids), time.monotonic() - began)

    def _store(self, table: VectorTable, ids: list[str], vectors: NDArray[np.float16]) -> None:
        """Append to the cache; what took time to compute waits until that succeeds or the job's time is over."""
        while True:
            try:
                return table.append(ids, vectors)
            except PrepalError as error:
                if self._stopping.is_set():
                    raise
                log.warning("%s Trying again in %g s.", error, _STORE_AGAIN_S)
                self._stopping.wait(_STORE_AGAIN_S)


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
