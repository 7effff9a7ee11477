"""Waits until processes answer, however slow the machine is, and gives up only what is broken.

Slow is what uses processor time or writes to its log. Broken is what has ended again and again, and what stands still:
for minutes neither the process nor anything that it started used processor time, nothing was written to its log, and
it did not answer. Minutes are counted while this very process runs, so that a machine that was paused, or has no time
for anybody, counts less of them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import psutil

from prepal.errors import PrepalError

ATTEMPTS = 4
"""So often a process may end before all answer."""
LOG_TAIL_LINES = 15
# Between two questions whether all answer, two looks at what they do, and two lines that tell of it.
_ASK_S, _LOOK_S, _TELL_S = 0.25, 1.0, 5.0


class WrongAnswerError(Exception):
    """A process answers, but not as one that works: what it does is no sign of progress. Says what it answers."""


@dataclass(frozen=True)
class Process:
    """One process to be started and supervised.

    Lower stages start earlier and end later. `answers` gets the process id and tells whether the process does its
    work, or raises WrongAnswerError. It is given up when it has stood still for `still_s` seconds; connections to a
    hub that is not there, the longest stillness of a sound process, are given up by themselves before that.
    """

    name: str
    title: str
    stage: int
    command: list[str]
    answers: Callable[[int], bool]
    still_s: float = 180.0


@dataclass(frozen=True)
class Seen:
    """What the supervisor tells of a process: its id, 0 while it does not run, and when it was last started."""

    pid: int = 0
    started: int = 0


@dataclass
class _Start:
    """A process on its way up, and what was seen of it."""

    process: Process
    log: Path
    log_began: int
    pid: int = 0
    wrong: str = ""
    processor_s: float = 0.0
    still_s: float = 0.0
    _started: set[int] = field(default_factory=set)
    _did: tuple[float, int] = (0.0, 0)

    @property
    def ended(self) -> int:
        return len(self._started) - bool(self.pid)

    def note(self, seen: Seen) -> None:
        self.pid = seen.pid
        if seen.started and seen.started not in self._started:
            self._started.add(seen.started)
            self.still_s = 0.0

    def answers(self) -> bool:
        self.wrong = ""
        try:
            return bool(self.pid) and self.process.answers(self.pid)
        except WrongAnswerError as answer:
            self.wrong = str(answer)
            return False

    def look(self, pid: int, passed_s: float) -> None:
        """See whether this process has done anything for it: it itself, or what is to start it."""
        if not pid and self._started:
            # It has ended, and is started again after a delay that grows.
            return
        self.processor_s = _processor_s(pid)
        before, self._did = self._did, (self.processor_s, _size(self.log))
        self.still_s = self.still_s + passed_s if self.wrong or before == self._did else 0.0

    def doing(self) -> str:
        if self.wrong:
            return f"it answers {self.wrong}"
        if self.still_s >= _TELL_S:
            return f"nothing seen of it for {self.still_s:.0f} s"
        ended = f"ended {self.ended} times, " if self.ended else ""
        return f"{ended}working, {self.processor_s:.1f} s of processor time so far"

    def quoted(self) -> str:
        """The end of what it has written to its log since it was started, or that there is nothing."""
        written = self.log.read_bytes() if self.log.exists() else b""
        # A log that became too long was begun anew.
        news = written[self.log_began if len(written) >= self.log_began else 0 :]
        lines = news.decode(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join([f"the end of {self.log}:", *lines]) if lines else f"it wrote nothing to {self.log}."


class Starting:
    """Processes that a supervisor is to start.

    Args:
        processes: in the order in which they are told of.
        logs: the log of each process, by name, and of the supervisor, as "supervisord"; make this object before
            anything is started, so that what an earlier run wrote there is not taken for news.
        progress: is told what is waited for.
    """

    def __init__(
        self, processes: Sequence[Process], logs: Callable[[str], Path], progress: Callable[[str], None]
    ) -> None:
        self._all = [_Start(one, logs(one.name), _size(logs(one.name))) for one in processes]
        self._pending = list(self._all)
        supervisor = Process("supervisord", "The supervisor", 0, [], bool)
        self._supervisor = _Start(supervisor, logs("supervisord"), _size(logs("supervisord")))
        self._progress = progress
        self._began = time.monotonic()

    def wait(self, supervisor: "Popen[bytes]", seen: Callable[[], Mapping[str, Seen] | None]) -> None:
        """Wait until all answer, and tell every few seconds what is waited for and what it does.

        Args:
            supervisor: its process.
            seen: what it tells of each process, by name; None while it does not answer.

        Raises:
            PrepalError: a process has ended again and again, or stands still, or the supervisor ended.
        """
        self._progress(f"Starting {_listed([start.process.title for start in self._pending])}")
        looked = told = time.monotonic()
        while True:
            if supervisor.poll() is not None:
                raise PrepalError(f"The supervisor ended; {self._supervisor.quoted()}")
            known = seen()
            self._ask(known or {})
            if not self._pending:
                return
            if (now := time.monotonic()) - looked >= _LOOK_S:
                for start in self._pending:
                    start.look(supervisor.pid if known is None else start.pid, min(now - looked, 2 * _LOOK_S))
                looked = now
            for start in self._all:
                if start.ended >= ATTEMPTS or start.still_s >= start.process.still_s:
                    raise PrepalError(_verdict(start, supervisor.pid))
            if now - told >= _TELL_S:
                waited = [f"{start.process.title} ({start.doing()})" for start in self._pending]
                self._progress(f"After {now - self._began:.0f} s waiting for {_listed(waited)}")
                told = now
            time.sleep(_ASK_S)

    def _ask(self, known: Mapping[str, Seen]) -> None:
        for start in self._all:
            start.note(known.get(start.process.name, Seen()))
        for start in list(self._pending):
            if start.answers():
                self._pending.remove(start)
                self._progress(f"{start.process.title} answers after {time.monotonic() - self._began:.0f} s")


def _verdict(start: _Start, supervisor: int) -> str:
    title = start.process.title
    if start.ended >= ATTEMPTS:
        return f"{title} ended again and again; {start.quoted()}"
    if start.wrong:
        return f"{title} has answered {start.wrong} for {start.still_s:.0f} s; {start.quoted()}"
    pid = start.pid or supervisor
    who = f"process {pid}" if start.pid else f"it does not run, and the supervisor, process {pid},"
    return (
        f"{title} stands still: for {start.still_s:.0f} s it did not answer, used no processor time and wrote nothing; "
        f"{who} is {_status(pid)} and has used {_processor_s(pid):.1f} s of processor time; {start.quoted()}"
    )


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _processor_s(pid: int) -> float:
    """Seconds of processor time that a process, and all that it started, has used so far; 0 without a process."""
    used = 0.0
    if not pid:
        return used
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for one in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                times = one.cpu_times()
                used += times.user + times.system + times.children_user + times.children_system
    return used


def _status(pid: int) -> str:
    try:
        return str(psutil.Process(pid).status())
    except psutil.Error:
        return "gone"
