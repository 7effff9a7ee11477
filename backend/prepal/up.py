"""Everything on one machine: Redis, Label Studio, backend, learner and embed worker."""

import itertools
import json
import os
import secrets
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis
import rq

from prepal import redis_server
from prepal.errors import PrepalError
from prepal.settings import Settings
from prepal.supervision import Process, logs_of, sole_use, supervised

PREFERRED_PORTS = {"redis": 6379, "label-studio": 8080, "backend": 9090}
PORTS_TRIED = 100

# Label Studio's first start makes its database: 40 s on two idle cores, several times that on busy ones.
LABEL_STUDIO_START_S = 300.0
# The embed worker imports torch, and may download its encoder first.
WORKER_START_S = 180.0

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


@dataclass(frozen=True)
class Installation:
    """What runs, and how to reach it; user and password are None where Label Studio is somebody else's."""

    label_studio_url: str
    label_studio_token: str
    label_studio_user: str | None
    label_studio_password: str | None
    backend_url: str
    redis_url: str
    home: Path
    logs: Path

    def ready_json(self, project: int | None) -> dict[str, str | int | None]:
        """Return what `--ready-file` gets."""
        return {
            "label_studio_url": self.label_studio_url,
            "label_studio_token": self.label_studio_token,
            "backend_url": self.backend_url,
            "redis_url": self.redis_url,
            "project": project,
        }


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
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    logs_of(home).mkdir(exist_ok=True)
    with sole_use(home, progress) as lock, _state(home) as state:
        installation = _installation(home, settings, state)
        _check_what_runs_elsewhere(installation, settings)
        processes = _processes(installation, settings, state)
        environment = _environment(installation, _addresses(installation, settings), label_studio_env or {})
        with supervised(home, processes, environment, lock, progress):
            yield installation


@dataclass
class _State:
    """Ports and secrets of an installation."""

    ports: dict[str, int]
    label_studio_password: str
    label_studio_token: str
    redis_password: str


@contextmanager
def _state(home: Path) -> Iterator[_State]:
    """Make the state once and keep it in `state.json`; a port that is taken by now is replaced."""
    path = home / "state.json"
    if path.exists():
        state = _State(**json.loads(path.read_text()))
    else:
        state = _State({}, secrets.token_urlsafe(12), secrets.token_hex(20), secrets.token_hex(20))
    with ExitStack() as claims:
        for name, preferred in PREFERRED_PORTS.items():
            state.ports[name] = _free_port(state.ports.get(name, preferred), preferred, claims)
        _write_private(path, json.dumps(vars(state), indent=2) + "\n")
        yield state


def _free_port(kept: int, preferred: int, claims: ExitStack) -> int:
    for port in itertools.chain([kept], range(preferred, preferred + PORTS_TRIED)):
        if _is_free(port) and _claim(port, claims):
            return port
    raise PrepalError(f"No port from {preferred} to {preferred + PORTS_TRIED - 1} is free: end what uses them.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _claim(port: int, claims: ExitStack) -> bool:
    """Keep other installations off the port: Label Studio binds it only when its database is made."""
    if sys.platform != "linux":
        return True
    claim = claims.enter_context(socket.socket(socket.AF_UNIX))
    try:
        # Linux frees a name that begins with a null byte together with its socket.
        claim.bind(f"\0prepal-port-{port}")
    except OSError:
        return False
    return True


def _installation(home: Path, settings: Settings, state: _State) -> Installation:
    given = settings.model_fields_set
    own = "label_studio_url" not in given
    if not own and not settings.label_studio_api_key:
        raise PrepalError(
            f"LABEL_STUDIO_URL is {settings.label_studio_url} but LABEL_STUDIO_API_KEY is empty: "
            "set it to a token of a user there, or unset LABEL_STUDIO_URL to have one started here."
        )
    here = {name: f"127.0.0.1:{port}" for name, port in state.ports.items()}
    return Installation(
        label_studio_url=f"http://{here['label-studio']}" if own else settings.label_studio_url.rstrip("/"),
        label_studio_token=state.label_studio_token if own else settings.label_studio_api_key,
        label_studio_user=LABEL_STUDIO_USER if own else None,
        label_studio_password=state.label_studio_password if own else None,
        backend_url=settings.prepal_backend_url.rstrip("/")
        if "prepal_backend_url" in given
        else f"http://{here['backend']}",
        redis_url=settings.redis_url if "redis_url" in given else f"redis://:{state.redis_password}@{here['redis']}/0",
        home=home,
        logs=logs_of(home),
    )


def _check_what_runs_elsewhere(installation: Installation, settings: Settings) -> None:
    connection = redis.Redis.from_url(installation.redis_url, socket_timeout=5)
    if "redis_url" in settings.model_fields_set and not _redis_answers(connection):
        place = connection.get_connection_kwargs()
        raise PrepalError(
            f"No Redis answers at REDIS_URL ({place.get('host')}:{place.get('port')}): "
            "start it, or unset REDIS_URL to have one started here."
        )
    url = installation.label_studio_url
    if "label_studio_url" in settings.model_fields_set and not _http_answers(f"{url}/health"):
        raise PrepalError(
            f"No Label Studio answers at LABEL_STUDIO_URL ({url}): "
            "start it, or unset LABEL_STUDIO_URL to have one started here."
        )


def _processes(installation: Installation, settings: Settings, state: _State) -> list[Process]:
    ours = [sys.executable, "-P", "-m", "prepal.cli"]
    connection = redis.Redis.from_url(installation.redis_url, socket_timeout=2)
    backend_port = state.ports["backend"]

    def worker_registered(pid: int) -> bool:
        here = socket.gethostname()
        workers = rq.Worker.all(connection=connection) if _redis_answers(connection) else []
        return any(worker.pid == pid and worker.hostname == here for worker in workers)

    processes = []
    if "redis_url" not in settings.model_fields_set:
        command = redis_server.command(installation.home / "redis", state.ports["redis"], state.redis_password)
        processes.append(Process("redis", "Redis", 10, command, lambda _: _redis_answers(connection)))
    if "label_studio_url" not in settings.model_fields_set:
        processes.append(_label_studio(installation, state.ports["label-studio"]))
    return [
        *processes,
        Process(
            "backend",
            "Backend",
            30,
            [*ours, "serve", "--port", str(backend_port)],
            lambda _: _http_answers(f"http://127.0.0.1:{backend_port}/health", trust_env=False),
        ),
        Process("learner", "Learner", 30, [*ours, "worker", "learn"], worker_registered, WORKER_START_S),
        Process("embed", "Embed worker", 30, [*ours, "worker", "embed"], worker_registered, WORKER_START_S),
    ]


def _label_studio(installation: Installation, port: int) -> Process:
    first = not (installation.home / "label-studio").exists()
    start = ["start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    settings = [f"PYTHONPATH={LABEL_STUDIO_SERVER}", "DJANGO_SETTINGS_MODULE=prepal_label_studio"]
    return Process(
        "label-studio",
        "Label Studio (its first start takes about 40 s)" if first else "Label Studio",
        20,
        ["env", *settings, _label_studio_executable(), *start],
        lambda _: _label_studio_knows(installation.label_studio_url, installation.label_studio_token),
        LABEL_STUDIO_START_S,
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
    }
    if "prepal_vectors" not in settings.model_fields_set:
        addresses["PREPAL_VECTORS"] = str(installation.home / "vectors")
    _write_private(
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


def _write_private(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)


def _redis_answers(connection: redis.Redis) -> bool:
    try:
        return bool(connection.ping())
    except (OSError, redis.RedisError):
        return False


def _http_answers(url: str, *, trust_env: bool = True) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=trust_env, follow_redirects=True).status_code < 500
    except httpx.HTTPError:
        return False


def _label_studio_knows(url: str, token: str) -> bool:
    headers = {"Authorization": f"Token {token}"}
    try:
        answer = httpx.get(f"{url}/api/current-user/whoami", headers=headers, timeout=10, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200
