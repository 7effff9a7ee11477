"""Ports and secrets of an installation of `prepal up`, kept in its home from one start to the next."""

import itertools
import json
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from prepal import private, records
from prepal.errors import PrepalError

PREFERRED_PORTS = {"redis": 6379, "label-studio": 8080, "backend": 9090}
PORTS_TRIED = 100


@dataclass
class State:
    """Ports by name, and secrets."""

    ports: dict[str, int] = field(default_factory=dict)
    label_studio_password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    label_studio_token: str = field(default_factory=lambda: secrets.token_hex(20))
    redis_password: str = field(default_factory=lambda: secrets.token_hex(20))
    backend_password: str = field(default_factory=lambda: secrets.token_urlsafe(12))


@contextmanager
def kept_state(home: Path) -> Iterator[State]:
    """The state of a home, made once and kept in `state.json`; a port that is taken by now is replaced.

    Raises:
        PrepalError: what is kept cannot be read, or no port is free.
    """
    path = home / "state.json"
    state = records.read(State, path.read_bytes()) if path.exists() else State()
    if state is None:
        raise PrepalError(f"{path} cannot be read: restore it; what lies beside it has the passwords in it.")
    with ExitStack() as claims:
        for name, preferred in PREFERRED_PORTS.items():
            state.ports[name] = _free_port(state.ports.get(name, preferred), preferred, claims)
        private.write(path, json.dumps(asdict(state), indent=2) + "\n")
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
