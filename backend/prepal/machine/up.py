"""Everything on one machine: Redis, Label Studio, backend, learner and embed worker."""

import os
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis
import rq

from prepal import private
from prepal.errors import PrepalError
from prepal.label_studio import reaching
from prepal.machine import redis_server
from prepal.machine.starting import Process, WrongAnswerError
from prepal.machine.state import State, kept_state
from prepal.machine.supervision import logs_of, sole_use, supervised
from prepal.settings import Settings, credentials

# A server elsewhere that is only slow, as on a busy machine, answers within this; one that was started here is asked
# again and again.
ELSEWHERE_S, HERE_S = 30.0, 5.0
BACKEND_USER = "prepal"
LABEL_STUDIO_SERVER = Path(__file__).parent / "label_studio_server"
LABEL_STUDIO_USER = "admin@example.com"
LABEL_STUDIO_SETTINGS = {
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "LABEL_STUDIO_USERNAME": LABEL_STUDIO_USER,
    # The backend is on loopback, which Label Studio refuses unless told.
    "ML_BLOCK_LOCAL_IP": "false",
    "SSRF_PROTECTION_ENABLED": "false",
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    # Without it, storing a single prediction recounts every task of the project: 6 s at 10,000 tasks.
    "fflag_fix_back_4620_memory_efficient_predictions_import_08012025_short": "true",
}
# What `--ready-file` gets of an installation.
_READY = ("label_studio_url", "label_studio_token", "backend_url", "backend_user", "backend_password", "redis_url")


@dataclass(frozen=True)
class Installation:
    """What runs, and how to reach it; user and password are None where Label Studio is somebody else's."""

    label_studio_url: str
    label_studio_token: str
    label_studio_user: str | None
    label_studio_password: str | None
    backend_url: str
    backend_user: str
    backend_password: str
    redis_url: str
    home: Path
    logs: Path

    def ready_json(self, project: int | None) -> dict[str, str | int | None]:
        """Return what `--ready-file` gets."""
        return {**{name: getattr(self, name) for name in _READY}, "project": project}


@contextmanager
def running(
    home: Path,
    settings: Settings,
    *,
    label_studio_env: Mapping[str, str] | None = None,
    progress: Callable[[str], None],
) -> Iterator[Installation]:
    """Start all that does not run elsewhere, wait until it answers, and end it on the way out.

    Enter it in the main thread: the kernel ends everything when the thread that entered it dies.

    Args:
        home: folder that keeps all state, made when missing; one installation at a time can run on it.
        settings: REDIS_URL and LABEL_STUDIO_URL, where set, are used instead of servers of our own.
        label_studio_env: more environment variables for Label Studio, such as its database's.
        progress: is told what is being waited for.

    Raises:
        PrepalError: something is missing, does not come up, or already runs on this home.
    """
    home = home.resolve()
    private.make_folder(home)
    logs_of(home).mkdir(exist_ok=True)
    with sole_use(home, progress) as lock, kept_state(home) as state:
        installation = _installation(home, settings, state)
        _check_what_runs_elsewhere(installation, settings)
        if installation.label_studio_password and not (home / "label-studio").exists():
            progress("Label Studio makes its database when it first starts, which takes two idle cores about 40 s.")
        processes = _processes(installation, settings, state)
        environment = _environment(installation, _addresses(installation, settings), label_studio_env or {})
        with supervised(home, processes, environment, lock, progress):
            yield installation


def _installation(home: Path, settings: Settings, state: State) -> Installation:
    given = settings.model_fields_set
    own = "label_studio_url" not in given
    if not own and not settings.label_studio_api_key:
        raise PrepalError(
            f"LABEL_STUDIO_URL is {settings.label_studio_url} but LABEL_STUDIO_API_KEY is empty: "
            "set it to a token of a user there, or unset LABEL_STUDIO_URL to have one started here."
        )
    here = {name: f"127.0.0.1:{port}" for name, port in state.ports.items()}
    user, password = credentials(settings) or (BACKEND_USER, state.backend_password)
    return Installation(
        label_studio_url=f"http://{here['label-studio']}" if own else settings.label_studio_url.rstrip("/"),
        label_studio_token=state.label_studio_token if own else settings.label_studio_api_key,
        label_studio_user=LABEL_STUDIO_USER if own else None,
        label_studio_password=state.label_studio_password if own else None,
        backend_url=settings.prepal_backend_url.rstrip("/")
        if "prepal_backend_url" in given
        else f"http://{here['backend']}",
        backend_user=user,
        backend_password=password,
        redis_url=settings.redis_url if "redis_url" in given else f"redis://:{state.redis_password}@{here['redis']}/0",
        home=home,
        logs=logs_of(home),
    )


def _check_what_runs_elsewhere(installation: Installation, settings: Settings) -> None:
    connection = redis.Redis.from_url(installation.redis_url, socket_timeout=ELSEWHERE_S)
    if "redis_url" in settings.model_fields_set and not _redis_answers(connection):
        place = connection.get_connection_kwargs()
        raise PrepalError(
            f"No Redis answers at REDIS_URL ({place.get('host')}:{place.get('port')}): "
            "start it, or unset REDIS_URL to have one started here."
        )
    elsewhere = "label_studio_url" in settings.model_fields_set
    if elsewhere and (in_the_way := _in_the_way_of(installation.label_studio_url)):
        raise PrepalError(f"{in_the_way}, or unset LABEL_STUDIO_URL to have one started here.")


def _processes(installation: Installation, settings: Settings, state: State) -> list[Process]:
    ours = [sys.executable, "-P", "-m", "prepal.cli"]
    connection = redis.Redis.from_url(installation.redis_url, socket_timeout=2)
    backend_port = state.ports["backend"]

    def worker_registered(pid: int) -> bool:
        try:
            workers = rq.Worker.all(connection=connection)
        except (OSError, redis.RedisError):
            return False
        return any(worker.pid == pid and worker.hostname == socket.gethostname() for worker in workers)

    processes = []
    if "redis_url" not in settings.model_fields_set:
        command = redis_server.command(installation.home / "redis", state.ports["redis"], state.redis_password)
        processes.append(Process("redis", "Redis", 10, command, lambda _: _redis_answers(connection)))
    if installation.label_studio_password is not None:
        processes.append(_label_studio(installation, state.ports["label-studio"]))
    workers = [("learner", "Learner", "learn"), ("embed", "Embed worker", "embed")]
    if settings.prepal_adapt != "off":
        workers.append(("adapt", "Adapt worker", "adapt"))
    return [
        *processes,
        Process(
            "backend",
            "Backend",
            30,
            [*ours, "serve", "--port", str(backend_port)],
            lambda _: _backend_answers(backend_port),
        ),
        *(Process(name, title, 30, [*ours, "worker", job], worker_registered) for name, title, job in workers),
    ]


def _label_studio(installation: Installation, port: int) -> Process:
    start = ["start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    settings = [f"PYTHONPATH={LABEL_STUDIO_SERVER}", "DJANGO_SETTINGS_MODULE=prepal_label_studio"]
    return Process(
        "label-studio",
        "Label Studio",
        20,
        ["env", *settings, _label_studio_executable(), *start],
        lambda _: _label_studio_knows(installation.label_studio_url, installation.label_studio_token),
    )


def _label_studio_executable() -> str:
    beside = Path(sys.prefix).parent / ".venv-label-studio" / "bin" / "label-studio"
    if beside.exists():
        return str(beside)
    if found := shutil.which("label-studio"):
        return found
    raise PrepalError(
        f"No Label Studio found, neither {beside} nor on PATH: run `make install`, or set LABEL_STUDIO_URL."
    )


def _addresses(installation: Installation, settings: Settings) -> dict[str, str]:
    """Return what our own commands must know to reach this installation; also kept in the file `env`."""
    addresses = {
        "REDIS_URL": installation.redis_url,
        "LABEL_STUDIO_URL": installation.label_studio_url,
        "LABEL_STUDIO_API_KEY": installation.label_studio_token,
        "PREPAL_BACKEND_URL": installation.backend_url,
        "BASIC_AUTH_USER": installation.backend_user,
        "BASIC_AUTH_PASS": installation.backend_password,
    }
    if "prepal_vectors" not in settings.model_fields_set:
        addresses["PREPAL_VECTORS"] = str(installation.home / "vectors")
    private.write(
        installation.home / "env", "".join(f"{name}={shlex.quote(value)}\n" for name, value in addresses.items())
    )
    return addresses


def _environment(
    installation: Installation, addresses: Mapping[str, str], label_studio_env: Mapping[str, str]
) -> dict[str, str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **addresses}
    if installation.label_studio_password is not None:
        environment |= {
            **LABEL_STUDIO_SETTINGS,
            "LABEL_STUDIO_PASSWORD": installation.label_studio_password,
            "LABEL_STUDIO_USER_TOKEN": installation.label_studio_token,
            "LABEL_STUDIO_BASE_DATA_DIR": str(installation.home / "label-studio"),
            **label_studio_env,
        }
    # A proxy of the user's is for what is outside.
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(filter(None, [environment.get(name), "127.0.0.1", "localhost"]))
    return environment


def _redis_answers(connection: redis.Redis) -> bool:
    try:
        return bool(connection.ping())
    except (OSError, redis.RedisError):
        return False


def _in_the_way_of(url: str) -> str:
    """What is in the way of a Label Studio elsewhere and what to do, or nothing."""
    try:
        with reaching.client(url, ELSEWHERE_S) as client:
            answer = client.get(f"{url}/health")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        what, remedy = reaching.hindrance(url, error)
        return f"{what}: {remedy}"
    if answer.status_code < 500:
        return ""
    said = f"answers HTTP {answer.status_code}{reaching.by_proxy(url)}"
    return f"Label Studio at {reaching.without_login(url)} {said}: start it"


def _backend_answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=HERE_S, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


def _label_studio_knows(url: str, token: str) -> bool:
    headers = {"Authorization": f"Token {token}"}
    try:
        answer = httpx.get(f"{url}/api/current-user/whoami", headers=headers, timeout=HERE_S, trust_env=False)
    except httpx.HTTPError:
        return False
    if answer.status_code != 200:
        raise WrongAnswerError(f"HTTP {answer.status_code} to the token of this installation")
    return True
