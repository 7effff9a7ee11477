"""Runs processes under supervisor: restarts what dies, keeps logs, and leaves nothing behind."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import psutil
from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from prepal.errors import PrepalError
from prepal.machine.starting import Process, Seen, Starting

# The stages end one after another, three of them within 12 s on a machine that has time; supervisor kills what takes
# longer, and the kernel the rest together with it.
STOP_S = 4
END_S = 30.0
# So long the end of the last run may take.
LAST_RUN_S = 60.0
# A process that lives shorter than this is restarted with a growing delay, a longer-lived one at once.
STEADY_S = 10
# sockaddr_un holds 108 bytes (104 on macOS), and supervisor binds a temporary name, longer by its process id.
SOCKET_PATH_BYTES = 92
# What all of it writes is for its owner alone.
UMASK = 0o077
_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def sole_use(home: Path, progress: Callable[[str], None]) -> Iterator[IO[str]]:
    """Hold the lock of this home.

    The supervisor inherits it, so that it is free only once all has ended, however that was.

    Raises:
        PrepalError: somebody else holds it.
    """
    with (home / "lock").open("a+") as lock:
        deadline = time.monotonic() + LAST_RUN_S
        while not _locked(lock):
            lock.seek(0)
            owner = int(lock.read() or 0)
            if psutil.pid_exists(owner):
                raise PrepalError(f"prepal already runs on {home} (process {owner}): end it, or choose another --home.")
            if time.monotonic() > deadline:
                raise PrepalError(
                    f"What the last run on {home} started has not ended for {LAST_RUN_S:.0f} s: end the process whose "
                    f"number is in {_pid_file(home)}."
                )
            progress("Waiting for the end of the last run")
            time.sleep(1)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock


@contextmanager
def supervised(
    home: Path,
    processes: Sequence[Process],
    environment: Mapping[str, str],
    lock: IO[str],
    progress: Callable[[str], None],
) -> Iterator[None]:
    """Start the processes, wait until all answer, and end them on the way out.

    Enter it in the main thread: the kernel ends everything when the thread that entered it dies.

    Raises:
        PrepalError: a process does not come up.
    """
    if len(os.fsencode(_socket(home))) > SOCKET_PATH_BYTES:
        raise PrepalError(f"The path {home} is too long for a Unix socket in it: choose a shorter --home.")
    config = _write_config(home, processes)
    starting = Starting(processes, lambda name: logs_of(home) / f"{name}.log", progress)
    with ExitStack() as ends:
        with _signals_later():
            supervisor = _start(config, environment, lock, logs_of(home))
            ends.callback(_end, supervisor)
        starting.wait(supervisor, lambda: _seen(home))
        yield


def process_ids(home: Path) -> dict[str, int]:
    """Return the process id of each supervised process that runs now, by name."""
    return {name: seen.pid for name, seen in (_seen(home) or {}).items() if seen.pid}


def _seen(home: Path) -> dict[str, Seen] | None:
    """What the supervisor tells of each process; None while it does not answer."""
    transport = SupervisorTransport(None, None, f"unix://{_socket(home)}")
    server = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
    try:
        infos: Any = server.supervisor.getAllProcessInfo()
    except (OSError, xmlrpc.client.Error):
        return None
    finally:
        transport.close()
    return {info["name"]: Seen(info["pid"], info["start"]) for info in infos}


@contextmanager
def _signals_later() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait, so that nothing is left half started or half ended."""
    came: set[int] = set()
    before = {number: signal.signal(number, lambda number, _: came.add(number)) for number in _ENDING}
    try:
        yield
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)
        for number in came:
            signal.raise_signal(number)


def logs_of(home: Path) -> Path:
    """Return the folder of the logs, one file a process."""
    return home / "logs"


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _socket(home: Path) -> Path:
    return home / "supervisor.sock"


def _pid_file(home: Path) -> Path:
    return home / "supervisord.pid"


def _write_config(home: Path, processes: Sequence[Process]) -> Path:
    sections = [
        f"""\
[supervisord]
nodaemon = true
silent = true
logfile = {_escaped(logs_of(home) / "supervisord.log")}
logfile_maxbytes = 5MB
pidfile = {_escaped(_pid_file(home))}

[unix_http_server]
file = {_escaped(_socket(home))}
chmod = 0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl = unix://{_escaped(_socket(home))}
"""
    ]
    for stage in sorted({process.stage for process in processes}):
        names = ",".join(process.name for process in processes if process.stage == stage)
        sections.append(f"[group:stage-{stage}]\nprograms = {names}\npriority = {stage}\n")
    sections += [
        f"""\
[program:{process.name}]
command = {_escaped(shlex.join(_dying_with_parent("KILL", process.command)))}
umask = {UMASK:03o}
autorestart = true
startsecs = {STEADY_S}
startretries = 1000000
stopwaitsecs = {STOP_S}
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = {_escaped(logs_of(home) / process.name)}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 3
"""
        for process in processes
    ]
    config = home / "supervisord.conf"
    config.write_text("\n".join(sections))
    return config


def _escaped(value: str | Path) -> str:
    return str(value).replace("%", "%%")


def _dying_with_parent(signal_name: str, command: list[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "prepal.machine.die_with_parent", signal_name, *command]


def _start(config: Path, environment: Mapping[str, str], lock: IO[str], logs: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(config)]
    with (logs / "supervisord.log").open("ab") as log:
        return subprocess.Popen(
            _dying_with_parent("TERM", command),
            env=environment,
            # supervisor closes every other inherited file when it starts.
            stdin=lock,
            stdout=log,
            stderr=log,
            # Keeps the terminal's Ctrl-C away from it, because the order in which things end is ours.
            start_new_session=True,
            umask=UMASK,
        )


@_signals_later()
def _end(supervisor: "subprocess.Popen[bytes]") -> None:
    supervisor.terminate()
    try:
        supervisor.wait(END_S)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()
