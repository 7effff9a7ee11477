"""Checks of PRepAL's own processes, which all projects share: workers, vector cache, backend, and their settings."""

import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rq import Queue

from prepal.doctor.case import Case, Check, Finding, ok, problem, skipped, warning
from prepal.errors import PrepalError
from prepal.label_studio.reaching import is_loopback, without_login
from prepal.queues.recovery import workers_of
from prepal.queues.requests import ADAPT, LEARN, SYNC, queue
from prepal.queues.rq_worker import readable_jobs
from prepal.queues.waiting import QUEUE as EMBED
from prepal.vectors import encoders

# A job of the learner takes well under a second, and the learner looks for lost ones every 10 s.
_LONGEST_WAIT_S = 60
# 100,000 texts take 80 MB; the vector cache needs as much again while it is compacted.
_LITTLE_DISK_BYTES, _NO_DISK_BYTES = 2 * 10**9, 2 * 10**8


def learner(case: Case) -> Finding:
    """Somebody runs rounds."""
    if not workers_of(case.connection, LEARN):
        return problem(
            "No learner is alive, so labels change nothing.",
            "Run `prepal worker learn`, or `prepal up` for everything.",
        )
    return ok("The learner is alive.")


def embed_worker(case: Case) -> Finding:
    """Somebody embeds texts."""
    count = len(workers_of(case.connection, EMBED))
    if not count:
        return problem(
            "No embed worker is alive, so new texts are not ranked.",
            "Run `prepal worker embed` and look at its log: it ends when its encoder cannot be loaded.",
        )
    folder = encoders.weights(case.settings.prepal_encoder)
    if Path(folder).is_dir() and encoders.here(case.settings.prepal_encoder) != case.encoder:
        return warning(
            f"An embed worker has other files in {folder} than this machine.",
            "Copy the folder to all machines that have it, and restart their embed workers.",
        )
    return ok(f"{count} embed worker{'s' if count > 1 else ''} alive.")


def adapt_worker(case: Case) -> Finding:
    """Somebody trains encoders on labels, and nothing keeps ending them."""
    if case.settings.prepal_adapt == "off":
        return skipped("PREPAL_ADAPT is off: encoders stay as they are.")
    if not workers_of(case.connection, ADAPT):
        return warning(
            "No adapt worker is alive, so encoders do not learn from labels.",
            "Run `prepal worker adapt`, or set PREPAL_ADAPT=off.",
        )
    if failed := len(queue(case.connection, ADAPT).failed_job_registry.get_job_ids(cleanup=False)):
        return problem(
            f"{failed} training{'s' if failed > 1 else ''} of an encoder failed in the last day.",
            "Look at the adapt worker's log; the ranking goes on with the encoder that there is.",
        )
    return ok("The adapt worker is alive.")


def queues(case: Case) -> Finding:
    """No job waits for long while nobody works on its queue."""
    late = []
    for name in (LEARN, SYNC, EMBED, ADAPT):
        jobs = queue(case.connection, name)
        age_s = _oldest_s(jobs)
        # An import of many texts keeps the embed queue full for hours, which is well as long as one chunk is in work.
        busy = name != LEARN and jobs.started_job_registry.get_job_ids(cleanup=False)
        if age_s > _LONGEST_WAIT_S and not busy:
            late.append(f"{name}: {len(jobs)} for {age_s:.0f} s")
    if late:
        return problem(
            f"Jobs wait and nobody takes them ({'; '.join(late)}).",
            "Look at the log of the worker of that queue, and restart it.",
        )
    return ok("No job waits for long.")


def strategy(case: Case) -> Finding:
    """PREPAL_STRATEGY exists."""
    from prepal.learning import strategies

    try:
        strategies.get(case.settings.prepal_strategy)
    except ValueError as error:
        return problem(str(error), "Set PREPAL_STRATEGY to one of them: the learner does not start with another.")
    return ok(f"The strategy is {case.settings.prepal_strategy}.")


def vector_cache(case: Case) -> Finding:
    """The vector cache can be read, and written where that can be tried."""
    uri = case.settings.prepal_vectors
    remedy = "Set PREPAL_VECTORS to a folder that the workers share and may write to."
    try:
        rows = len(case.table)
        if "://" not in uri:
            with tempfile.TemporaryFile(dir=_existing(uri)):
                pass
    except OSError as error:
        return problem(f"The vector cache cannot be written ({error.strerror}).", remedy)
    except PrepalError:
        return problem("What lies at PREPAL_VECTORS cannot be read as a vector cache.", remedy)
    return ok(f"The vector cache holds {rows} vectors of this encoder.")


def disk(case: Case) -> Finding:
    """There is room for more vectors."""
    uri = case.settings.prepal_vectors
    if "://" in uri:
        return skipped("The vector cache is not on a disk of this machine.")
    free = shutil.disk_usage(_existing(uri)).free
    told = f"{free / 1e9:.1f} GB are free where the vector cache is."
    if free < _LITTLE_DISK_BYTES:
        say = problem if free < _NO_DISK_BYTES else warning
        return say(told, "Make room, or move the vector cache and set PREPAL_VECTORS.")
    return ok(told)


def backend(case: Case) -> Finding:
    """The backend answers, asked from here."""
    url, answer = without_login(case.backend_url), case.backend_answer("/health")
    if answer is None or answer.status_code != 200:
        return warning(
            f"The backend does not answer this machine at {url}.",
            "Run `prepal serve` (or `prepal up`), or set PREPAL_BACKEND_URL to where it listens; if only Label Studio "
            "has a way to it, this does not matter.",
        )
    if "PrepalModel" not in answer.text:
        return problem(
            f"What answers at {url} is not PRepAL's backend.", "Set PREPAL_BACKEND_URL to where `prepal serve` listens."
        )
    return ok(f"The backend answers at {url}.")


def basic_auth(case: Case) -> Finding:
    """A backend that others reach asks who they are, and these settings are its own."""
    user = case.settings.basic_auth_user
    if not user and not is_loopback(case.backend_url):
        return warning(
            "The backend listens beyond this machine and asks nobody for a password.",
            "Set BASIC_AUTH_USER and BASIC_AUTH_PASS for the backend, then run `prepal connect` again.",
        )
    answer = case.backend_answer("/", signed_in=bool(user))
    if answer is None:
        return skipped("The backend does not answer this machine.")
    if answer.status_code == 401:
        return problem(
            "The backend does not accept the credentials in these settings.",
            "Give this command, the learner and the backend the same BASIC_AUTH_USER and BASIC_AUTH_PASS.",
        )
    anybody = case.backend_answer("/") if user else None
    if anybody is not None and anybody.status_code < 400:
        return warning(
            "BASIC_AUTH_USER is set here, but the backend lets anybody in.",
            "Restart the backend with BASIC_AUTH_USER and BASIC_AUTH_PASS.",
        )
    return ok("The backend asks for the credentials." if user else "Only this machine reaches the backend.")


CHECKS = [
    Check("learner", learner, ("Redis",)),
    Check("embed worker", embed_worker, ("Redis",)),
    Check("adapt worker", adapt_worker, ("Redis",)),
    Check("queues", queues, ("Redis",)),
    Check("strategy", strategy),
    Check("vector cache", vector_cache),
    Check("disk", disk),
    Check("backend", backend),
    Check("Basic auth", basic_auth),
]


def _oldest_s(jobs: Queue) -> float:
    """Seconds that the first job of a queue has waited."""
    found = readable_jobs(jobs.get_job_ids(0, 1), jobs.connection)
    began = [job.enqueued_at for job in found if job.enqueued_at is not None]
    return max(((datetime.now(UTC) - at.replace(tzinfo=UTC)).total_seconds() for at in began), default=0.0)


def _existing(path: str) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    folder = Path(os.path.abspath(path))
    return next(one for one in (folder, *folder.parents) if one.exists())
