"""Processes on their way up, under a real supervisor: the slow are waited for, the broken are named and told why."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from prepal.errors import PrepalError
from prepal.machine.starting import Process, WrongAnswerError
from prepal.machine.supervision import logs_of, process_ids, sole_use, supervised

STILL_S = 3.0
BURN = "import time; end = time.monotonic() + {0}\nwhile time.monotonic() < end: pass\n"


def python(folder: Path, code: str) -> list[str]:
    (folder / "program.py").write_text(code)
    return [sys.executable, str(folder / "program.py")]


@contextmanager
def supervise(
    home: Path,
    command: list[str],
    answers: Callable[[int], bool] | None = None,
    progress: Callable[[str], None] = print,
) -> Iterator[None]:
    """The command, which answers once there is a file `ready`, unless something else says so."""
    logs_of(home).mkdir(exist_ok=True)
    process = Process("it", "The thing", 10, command, answers or (lambda _: (home / "ready").exists()), STILL_S)
    with sole_use(home, print) as lock, supervised(home, [process], os.environ, lock, progress):
        yield


def refusal(home: Path, command: list[str], answers: Callable[[int], bool] | None = None) -> str:
    with pytest.raises(PrepalError) as refused, supervise(home, command, answers):
        pass
    return str(refused.value)


def test_what_works_is_waited_for_and_told_of_while_it_works(tmp_path: Path) -> None:
    told: list[str] = []
    # Nothing but a child of a child does anything.
    busy = BURN.format(3 * STILL_S) + f"open({str(tmp_path / 'ready')!r}, 'w')"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    with supervise(tmp_path, python(tmp_path, f"{child}; import time; time.sleep(1000)"), progress=told.append):
        pass
    waits = [line for line in told if "waiting for The thing (working, " in line]
    assert waits
    assert waits[0].startswith("After 5 s")
    assert told[-1].startswith("The thing answers after ")


def test_what_writes_to_its_log_is_waited_for(tmp_path: Path) -> None:
    write = f"import time\nfor n in range({int(2 * STILL_S)}): print(n, flush=True); time.sleep(1)\n"
    with supervise(tmp_path, python(tmp_path, f"{write}open({str(tmp_path / 'ready')!r}, 'w'); time.sleep(1000)")):
        pass


def test_what_does_nothing_is_given_up_and_told_from_its_empty_log(tmp_path: Path) -> None:
    said = refusal(tmp_path, ["sleep", "1000"])
    assert said.startswith(
        "The thing stands still: for 3 s it did not answer, used no processor time and wrote nothing;"
    )
    assert " is sleeping and has used 0.0 s of processor time; it wrote nothing to " in said
    assert said.endswith("/it.log.")


def test_what_is_stopped_is_told_to_be(tmp_path: Path) -> None:
    assert "is stopped" in refusal(tmp_path, ["sh", "-c", "kill -STOP $$"])


def test_what_has_ended_is_told_of_with_what_it_said(tmp_path: Path) -> None:
    assert "ended again and again; the end of" in (said := refusal(tmp_path, ["sh", "-c", "echo why; exit 1"]))
    assert said.endswith("it.log:\nwhy\nwhy\nwhy\nwhy")


def test_what_an_earlier_run_said_is_not_told_of_this_one(tmp_path: Path) -> None:
    logs_of(tmp_path).mkdir()
    (logs_of(tmp_path) / "it.log").write_text("of the day before\n")
    assert "day before" not in (said := refusal(tmp_path, ["sh", "-c", "exit 1"]))
    assert "The thing ended again and again; it wrote nothing to" in said


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "No such file or directory" in refusal(tmp_path, ["/no/such/program"])


def test_wrong_answers_are_no_sign_of_progress(tmp_path: Path) -> None:
    def answers(_: int) -> bool:
        raise WrongAnswerError("HTTP 401")

    assert "The thing has answered HTTP 401 for 3 s" in refusal(tmp_path, python(tmp_path, BURN.format(1000)), answers)


def test_the_end_of_the_supervisor_is_told(tmp_path: Path) -> None:
    def answers(pid: int) -> bool:
        os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
        return False

    assert refusal(tmp_path, ["sleep", "1000"], answers).startswith("The supervisor ended; ")


def test_what_is_written_by_what_was_started_is_private(tmp_path: Path) -> None:
    with supervise(tmp_path, ["sh", "-c", f"touch {tmp_path / 'ready'}; exec sleep 1000"]):
        pass
    assert (tmp_path / "ready").stat().st_mode & 0o077 == 0
    assert (logs_of(tmp_path) / "it.log").stat().st_mode & 0o077 == 0


RUN = """
import os, sys
from pathlib import Path
from prepal.cli.options import ended_by_signals
from prepal.machine.starting import Process
from prepal.machine.supervision import logs_of, sole_use, supervised
home = Path(sys.argv[1])
logs_of(home).mkdir()
command = ["sh", "-c", "trap '' INT; sleep 1000 & wait"]
process = Process("it", "The thing", 10, command, lambda _: False)
with ended_by_signals():
    print("begun", flush=True)
    with sole_use(home, print) as lock, supervised(home, [process], os.environ, lock, lambda _: None):
        pass
"""


@pytest.mark.parametrize("seed", range(8))
def test_ctrl_c_at_any_moment_ends_everything_cleanly(
    tmp_path: Path, seed: int, wait_until: Callable[..., None]
) -> None:
    draw = random.Random(seed)
    process = subprocess.Popen([*python(tmp_path, RUN), str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    for _ in range(draw.randint(1, 3)):
        time.sleep(draw.uniform(0, 1.5))
        process.send_signal(draw.choice([signal.SIGINT, signal.SIGTERM]))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert errors == b"Ended.\n"
    assert process_ids(tmp_path) == {}
    wait_until(lambda: not [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in belongs_to(one)], 5)


@pytest.mark.parametrize("after_s", [0.2, 0.5, 1.0])
def test_ctrl_c_while_the_command_is_loaded_shows_no_traceback(tmp_path: Path, after_s: float) -> None:
    environment = {**os.environ, "LABEL_STUDIO_URL": "http://127.0.0.1:1", "LABEL_STUDIO_API_KEY": "token"}
    command = [sys.executable, "-m", "prepal.cli", "up", "--home", str(tmp_path / "home")]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert b"Traceback" not in errors


def belongs_to(process: psutil.Process) -> str:
    return " ".join(process.info["cmdline"] or []) if process.pid != os.getpid() else ""
