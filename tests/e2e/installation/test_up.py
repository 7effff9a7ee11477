"""`prepal up`: it comes up, restarts what dies, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import redis
from tests.helpers.api import LabelStudioApi, wait_until

from prepal.errors import PrepalError
from prepal.machine.supervision import Process, logs_of, process_ids, sole_use, supervised
from prepal.machine.up import Installation, running
from prepal.settings import Settings

OURS = {"redis", "backend", "learner", "embed"}


@contextmanager
def up(home: Path, installation: Installation) -> Iterator["subprocess.Popen[bytes]"]:
    """The command itself, on the Label Studio of another installation, from its ready file on."""
    ready = home.with_name("ready.json")
    environment = {
        **os.environ,
        "LABEL_STUDIO_URL": installation.label_studio_url,
        "LABEL_STUDIO_API_KEY": installation.label_studio_token,
    }
    command = [sys.executable, "-m", "prepal.cli", "up", "--home", home, "--ready-file", ready]
    process = subprocess.Popen(command, env=environment)
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, 600)
        assert process.poll() is None
        yield process
    finally:
        process.terminate()
        process.wait(60)


def processes_of(home: Path) -> list[str]:
    """Command lines and environments tell what belongs to a home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            belongs = str(home).encode() in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if belongs and int(process.name) != os.getpid():
            found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


@contextmanager
def supervise(home: Path, command: list[str], answers: Callable[[int], bool] = bool) -> Iterator[None]:
    logs_of(home).mkdir()
    process = Process("it", "The thing", 10, command, answers)
    with sole_use(home, print) as lock, supervised(home, [process], os.environ, lock, print):
        yield


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def alive(pid: int) -> bool:
    """A process that ended and that nobody asked for counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_all_that_the_ready_file_names_answers(installation: Installation, label_studio: LabelStudioApi) -> None:
    ready = json.loads(json.dumps(installation.ready_json(7)))
    assert list(ready) == [
        *("label_studio_url", "label_studio_token"),
        *("backend_url", "backend_user", "backend_password"),
        *("redis_url", "project"),
    ]
    assert ready["project"] == 7
    assert label_studio.call("GET", "/api/current-user/whoami")["email"] == installation.label_studio_user
    assert httpx.get(f"{ready['backend_url']}/health").status_code == 200
    assert httpx.get(f"{ready['backend_url']}/").status_code == 401
    login = (ready["backend_user"], ready["backend_password"])
    assert httpx.get(f"{ready['backend_url']}/metrics", auth=login).status_code == 200
    with redis.Redis.from_url(ready["redis_url"]) as connection:
        assert connection.config_get("appendonly") == {"appendonly": "yes"}
    assert set(process_ids(installation.home)) == OURS | {"label-studio"}


def test_secrets_are_readable_by_their_owner_alone(installation: Installation) -> None:
    assert installation.home.stat().st_mode & 0o777 == 0o700
    for name in ("state.json", "env", "redis/redis.conf", "redis/appendonlydir", "label-studio", "logs/backend.log"):
        for path in installation.home.glob(name):
            assert path.stat().st_mode & 0o077 == 0, path


def test_no_secret_is_an_argument_of_a_process(installation: Installation) -> None:
    state = json.loads((installation.home / "state.json").read_text())
    secrets = [value for name, value in state.items() if name.endswith(("password", "token"))]
    assert len(secrets) == 4
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            assert not any(secret.encode() in line.read_bytes() for secret in secrets), line


def test_commands_sign_in_by_what_is_in_the_home(installation: Installation) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "prepal.cli", "doctor", "--home", installation.home, "--json"],
        check=False,
        capture_output=True,
        text=True,
    )
    found = {row["name"]: row for row in json.loads(shown.stdout)["findings"]}
    assert found["Basic auth"]["what"] == "The backend asks for the credentials."


def test_redis_asks_for_its_password(installation: Installation) -> None:
    port = redis.Redis.from_url(installation.redis_url).get_connection_kwargs()["port"]
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_a_second_one_on_the_same_home_is_refused(installation: Installation) -> None:
    message = f"prepal already runs on {installation.home} \\(process {os.getpid()}\\): end it, or choose another"
    with pytest.raises(PrepalError, match=message), running(installation.home, Settings(), progress=print):
        pass


def test_label_studio_that_was_killed_comes_back(installation: Installation, label_studio: LabelStudioApi) -> None:
    killed = process_ids(installation.home)["label-studio"]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: process_ids(installation.home).get("label-studio", killed) != killed)
    wait_until(lambda: answers(f"{label_studio.url}/health"), 120)


def test_whatever_is_killed_comes_back_and_nothing_survives_the_end(installation: Installation, tmp_path: Path) -> None:
    home, ready_file = tmp_path / "home", tmp_path / "ready.json"
    with up(home, installation) as process:
        ready = json.loads(ready_file.read_text())
        assert ready["label_studio_url"] == installation.label_studio_url
        before = process_ids(home)
        assert set(before) == OURS
        with redis.Redis.from_url(ready["redis_url"]) as connection:
            connection.set("kept", 1)
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: process_ids(home).keys() == OURS and not set(process_ids(home).values()) & set(before.values())
        )
        wait_until(lambda: answers(f"{ready['backend_url']}/health"))
        process.kill()
        process.wait()
        wait_until(lambda: processes_of(home) == [], 20)
    ready_file.unlink()
    with up(home, installation) as process:
        assert json.loads(ready_file.read_text()) == ready
        with redis.Redis.from_url(ready["redis_url"]) as connection:
            assert connection.get("kept") == b"1"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert processes_of(home) == []


def test_processes_die_with_their_supervisor(tmp_path: Path) -> None:
    started = tmp_path / "started"
    with supervise(tmp_path, ["sh", "-c", f"touch {started}; exec sleep 1000"], lambda _: started.exists()):
        pid = process_ids(tmp_path)["it"]
        os.kill(int((tmp_path / "supervisord.pid").read_text()), signal.SIGKILL)
        wait_until(lambda: not alive(pid))


def test_a_process_that_ignores_the_end_is_killed_with_its_children(tmp_path: Path) -> None:
    stubborn = f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/child; while true; do wait; done"
    with supervise(tmp_path, ["sh", "-c", stubborn]):
        wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
        pid, child = process_ids(tmp_path)["it"], int((tmp_path / "child").read_text())
        assert alive(pid)
        assert alive(child)
    assert not alive(pid)
    assert not alive(child)


def test_a_process_that_does_not_come_up_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(PrepalError, match=r"(?s)The thing ended again and again; the end of .*/it\.log:.*this is why"),
        supervise(tmp_path, ["sh", "-c", "echo this is why; exit 1"], answers=lambda _: False),
    ):
        pass


def test_a_label_studio_elsewhere_needs_its_token(installation: Installation, tmp_path: Path) -> None:
    settings = Settings(label_studio_url=installation.label_studio_url)
    with (
        pytest.raises(PrepalError, match="LABEL_STUDIO_API_KEY is empty"),
        running(tmp_path, settings, progress=print),
    ):
        pass


def test_a_redis_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    settings = Settings(redis_url="redis://:hidden@127.0.0.1:1/0")
    with pytest.raises(PrepalError) as refusal, running(tmp_path, settings, progress=print):
        pass
    assert "127.0.0.1:1" in str(refusal.value)
    assert "hidden" not in str(refusal.value)


def test_label_studio_runs_on_postgresql(postgres_installation: Installation) -> None:
    version = httpx.get(
        f"{postgres_installation.label_studio_url}/api/current-user/whoami",
        headers={"Authorization": f"Token {postgres_installation.label_studio_token}"},
    )
    assert version.status_code == 200
    assert not list(postgres_installation.home.glob("label-studio/*.sqlite3"))
