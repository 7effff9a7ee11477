"""The process of the adapt worker: trains encoders of projects, one after the other, until it is told to stop."""

import logging
import os
import time
from importlib.util import find_spec
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar

import redis
from rq import get_current_job

from prepal.errors import PrepalError
from prepal.label_studio.client import LabelStudio
from prepal.project import Adaptation, Project
from prepal.queues import locks
from prepal.queues.requests import ADAPT, ADAPT_JOB, adapting_lock, mark, queue, request_sync
from prepal.queues.rq_worker import OwnJob, StoppableWorker, work_until
from prepal.queues.waiting import QUEUE as EMBED
from prepal.settings import Settings
from prepal.vectors import encoders, text_ids

if TYPE_CHECKING:
    from prepal_workers.training.epochs import Epoch

log = logging.getLogger(__name__)

_MAINTENANCE_S = 15
# Others of this machine come first: annotators are never to notice.
_NICENESS = 15
# One core of so many trains.
_SHARE_OF_CORES = 2
# What is tried one after the other where memory runs out, or the process is ended for it.
_SMALLER: tuple[dict[str, Any], ...] = ({}, {"batch_size": 4}, {"batch_size": 4, "lora": True})
# How far things are is told so often, and forgotten when nobody tells it any more.
_TELL_S, _TOLD_FOR_S = 1.0, 60
# A training that fails is tried again after pauses that grow up to this.
_LONGEST_PAUSE_S = 3600.0
_YIELD_S = 0.2


if find_spec("torch") is None:
    # It is loaded when something is to be trained; without it no worker need begin.
    raise ModuleNotFoundError("torch is not installed", name="torch")


class StoppedError(Exception):
    """The worker was told to stop in the middle of a training."""


class Telling:
    """Tells Redis how far a project's training is, and lets embedding on the same device go first."""

    def __init__(self, project: Project, stopping: Event, *, shares_device: bool) -> None:
        self._project = project
        self._stopping = stopping
        self._shares_device = shares_device
        self._told_at = 0.0
        self._training = 1
        self._before = 0

    def read(self, done: int, total: int) -> None:
        """While texts are read without learning."""
        self._tell(f"reading {done} of {total} texts")

    def step(self, done: int, total: int) -> None:
        """After each step."""
        self._training += done < self._before
        self._before = done
        self._tell(f"training {self._training}: {done} of {total} steps")
        while self._shares_device and len(queue(self._connection, EMBED)):
            self._tell("waiting while texts are embedded on the same device")
            time.sleep(_YIELD_S)

    def epoch(self, epoch: "Epoch") -> None:
        """After each epoch."""

    @property
    def _connection(self) -> redis.Redis:
        return self._project.connection

    def _tell(self, what: str) -> None:
        if self._stopping.is_set():
            raise StoppedError
        if time.monotonic() - self._told_at >= _TELL_S:
            self._told_at = time.monotonic()
            self._connection.set(self._project.key("adapting"), what, ex=_TOLD_FOR_S)


class Adapter:
    """What the jobs of one adapt worker do."""

    def __init__(self, settings: Settings, stopping: Event) -> None:
        self._settings = settings
        self._stopping = stopping

    def adapt(self, number: int) -> None:
        """Job: train the encoder of a project, if that is due, and let the ranking rest on it if it is better."""
        job = get_current_job()
        if job is None:
            raise PrepalError("Encoders are adapted by `prepal worker adapt` only.")
        project = Project(job.connection, number)
        job.connection.delete(mark("adapt", number))
        if not project.is_known or self._settings.prepal_adapt == "off":
            return
        with locks.held(job.connection, adapting_lock(number)) as mine:
            if mine is None:
                return
            try:
                tried = self._tried(project, int(job.meta.get("abandoned", 0)))
            except StoppedError:
                # Whoever is alive takes it up again: labels are there, and nothing was written.
                log.info("project %d: its training is left to the next worker", number)
                return
            except redis.RedisError:
                raise
            except Exception as error:
                _tell(project, error)
                return
            finally:
                job.connection.delete(project.key("adapting"))
        project.end_trouble("adapt")
        if tried is not None:
            log.info("project %d: %s", number, told(tried))
        if tried is not None and tried.encoder:
            request_sync(job.connection, number, full=True)

    def _tried(self, project: Project, abandoned: int) -> Adaptation | None:
        """Try with all there is, and with less where memory runs out; a process that was ended for it counts as one."""
        # Here, because torch takes seconds to load, and memory, and most of the time nothing is to be trained.
        import torch

        from prepal_workers.adapt.project import adapt_project
        from prepal_workers.training.recipe import Wishes

        # One thread that has to wait for a core keeps all others waiting, and what leaves cores free is done sooner.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // _SHARE_OF_CORES))
        base = encoders.identity(self._settings.prepal_encoder, project.connection)
        label_studio = LabelStudio(self._settings.label_studio_url, self._settings.label_studio_api_key)
        where = base, self._settings.prepal_vectors
        if abandoned >= len(_SMALLER):
            # Memory is the likeliest cause, not the only one: it is tried again after a pause.
            raise PrepalError(
                f"The adapt worker was ended {abandoned} times in the middle of a training, as where memory runs out: "
                "give it more, or set PREPAL_ADAPT=off."
            )
        for wishes in _SMALLER[abandoned:]:
            watch = Telling(project, self._stopping, shares_device=torch.cuda.is_available())
            try:
                return adapt_project(project, label_studio, *where, wishes=Wishes(**wishes), watch=watch)
            except RuntimeError as error:
                if not (isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)):
                    raise
                log.warning("project %d: memory ran out while its encoder was trained", project.id)
        count = len(project.annotations())
        note = "its training needs more memory than there is, also in small batches and with low-rank matrices"
        tried = Adaptation(base=base, labels=count, finished_at=time.time(), note=note)
        project.note_adaptation(tried, text_ids([]))
        return tried


def _tell(project: Project, error: Exception) -> None:
    """Let what went wrong be the project's trouble, which is tried again after growing pauses."""
    if isinstance(error, PrepalError):
        what = str(error)
    else:
        what = f"{type(error).__name__}: the adapt worker's log has more of it."
        log.error("project %d: its encoder could not be trained", project.id, exc_info=error)
    trouble = project.add_trouble("adapt", what, _LONGEST_PAUSE_S)
    log.warning("project %d: no encoder was trained (%d times): %s", project.id, trouble.count, what)


def told(tried: Adaptation) -> str:
    """One sentence on what came of an adaptation."""
    if tried.note:
        return f"the encoder was trained on {tried.labels} labels and is not used: {tried.note}"
    accuracy = f"accuracy {tried.accuracy['base']:.3f} → {tried.accuracy['adapted']:.3f} on {tried.judged} labels"
    return f"an encoder that learnt from {tried.labels} labels is better ({accuracy}): {tried.encoder}"


def run_worker(settings: Settings) -> None:
    """Adapt what is due until told to stop by SIGTERM or SIGINT, which leave a training to the next worker."""
    stopping = Event()
    os.nice(_NICENESS)
    log.info("encoders are trained as soon as labels suffice, when nothing else wants the processor")

    class AdaptJob(OwnJob):
        """A job of this adapt worker's."""

        functions: ClassVar = {ADAPT_JOB: Adapter(settings, stopping).adapt}

    connection = redis.Redis.from_url(settings.redis_url)
    work_until(stopping, connection, lambda: StoppableWorker([ADAPT], AdaptJob, connection, _MAINTENANCE_S, stopping))
