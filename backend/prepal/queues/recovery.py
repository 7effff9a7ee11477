"""Jobs whose worker was killed are put back on their queue."""

import logging
import os
import socket
import uuid
from pathlib import Path

import redis
from redis.client import Pipeline
from redis.exceptions import WatchError
from rq import Queue, Worker
from rq.exceptions import NoSuchJobError
from rq.executions import WORKER_EXECUTIONS_KEY_TEMPLATE, Execution
from rq.job import JobStatus
from rq.serializers import JSONSerializer

log = logging.getLogger(__name__)

# A job that was abandoned this often may be what kills its workers: it lets all others go first.
SUSPECT = 2
# And one that was abandoned this often is not run again; whoever asked for it asks anew.
_GIVEN_UP = 5

# The names of this process that are in use: its own threads must not take each other for dead.
_names_in_use: set[str] = set()


def worker_name() -> str:
    """A new name for a worker, or a holder of a lock, of this process: `{hostname}.{pid}.{start}-{random}`.

    `start` tells the process from a later one with the same pid, as in a container that was started again.
    """
    name = f"{socket.gethostname()}.{os.getpid()}.{_start(os.getpid())}-{uuid.uuid4().hex[:8]}"
    _names_in_use.add(name)
    return name


def retire_name(name: str) -> None:
    """Let others of this process know that nobody of this name works any more."""
    _names_in_use.discard(name)


def recover_abandoned(queue: Queue, caller: str = "") -> int:
    """Put the jobs of workers that are gone back at the front of the queue; returns how many there were.

    A worker is gone when Redis has no key of it (RQ lets it expire when its job's time is over), when it does
    something else by now, or when it ran on this host and its process is no more.

    Args:
        queue: whose jobs are looked at.
        caller: the worker that looks, between its jobs: what it seems to be doing itself is abandoned, too.
    """
    registry = queue.started_job_registry
    recovered = 0
    for job_id, execution_id in registry.get_job_and_execution_ids(cleanup=False):
        recovered += _recover(queue, Execution(execution_id, job_id, queue.connection), caller)
    return recovered


def _recover(queue: Queue, execution: Execution, caller: str) -> bool:
    """Of several processes that see the same job here, one puts it back."""
    with queue.connection.pipeline() as pipe:
        while True:
            try:
                pipe.watch(queue.started_job_registry.key)  # type: ignore[no-untyped-call]
                recovered = _put_back(pipe, queue, execution, caller)
                pipe.execute()
            except WatchError:
                continue
            return recovered


def _put_back(pipe: Pipeline, queue: Queue, execution: Execution, caller: str) -> bool:
    registry = queue.started_job_registry
    if queue.connection.zscore(registry.key, execution.composite_key) is None or not _is_abandoned(execution, caller):
        return False
    try:
        job = queue.job_class.fetch(execution.job_id, queue.connection, queue.serializer)
    except NoSuchJobError:
        pipe.multi()
        pipe.zrem(registry.key, execution.composite_key)
        return False
    unfinished = job.get_status(refresh=False) in (JobStatus.STARTED, JobStatus.QUEUED)
    lost = unfinished and queue.get_job_position(job) is None
    pipe.multi()
    execution.delete(job, pipe)
    pipe.lrem(queue.intermediate_queue_key, 0, job.id)
    if lost:
        job.meta["abandoned"] = job.meta.get("abandoned", 0) + 1
        job.save(pipeline=pipe)
        if job.meta["abandoned"] >= _GIVEN_UP:
            job.set_status(JobStatus.FAILED, pipeline=pipe)
            queue.failed_job_registry.add(job, ttl=job.failure_ttl or -1, pipeline=pipe)
            log.error("job %s (%s) ended its worker %d times and is given up", job.id, job.description, _GIVEN_UP)
            return False
        job.set_status(JobStatus.QUEUED, pipeline=pipe)
        queue.push_job_id(job.id, pipeline=pipe, at_front=job.meta["abandoned"] < SUSPECT)
        log.warning("job %s was abandoned by worker %s and is put back", job.id, execution.worker_name)
    return lost


def _is_abandoned(execution: Execution, caller: str) -> bool:
    try:
        execution.refresh()  # type: ignore[no-untyped-call]
    except ValueError:
        return True
    connection, name = execution.connection, execution.worker_name
    key = Worker.redis_worker_namespace_prefix + name
    doing = WORKER_EXECUTIONS_KEY_TEMPLATE.format(name)
    return (
        name == caller
        or not connection.exists(key)
        or bool(connection.hexists(key, "death"))
        or not connection.sismember(doing, execution.composite_key)
        or is_dead(name)
    )


def workers_of(connection: redis.Redis, queue_name: str) -> list[str]:
    """Names of the workers of a queue that are alive, as far as that can be known from here."""
    workers = Worker.all(connection=connection, serializer=JSONSerializer)
    return [worker.name for worker in workers if queue_name in worker.queue_names() and not is_dead(worker.name)]


def is_alive_here(connection: redis.Redis, queue_name: str) -> bool:
    """Whether one of these workers runs on this host."""
    return any(name.startswith(f"{socket.gethostname()}.") for name in workers_of(connection, queue_name))


def is_dead(worker: str) -> bool:
    """Whether the worker ran on this host and its process is no more; False where that cannot be known."""
    host, _, process = worker.partition(f"{socket.gethostname()}.")
    pid, _, token = process.partition(".")
    if host or not pid.isdigit():
        return False
    began, start = token.rpartition("-")[0], _start(int(pid))
    if int(pid) == os.getpid() and began == start:
        return worker not in _names_in_use
    return start is None or (began != "" and began != start)


def _start(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; "" where the system does not tell, None when it is no more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
        import psutil

        return "" if psutil.pid_exists(pid) else None
    # The states of processes that were killed and that nobody has asked about yet.
    return None if fields[0] in "ZX" else fields[19]
