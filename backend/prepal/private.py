"""Files and folders for their owner alone, and whether one that is found is such."""

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

from prepal.errors import PrepalError
from prepal.files import write_whole

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_folder(path: Path) -> None:
    """Make a folder, or take the one that is there, and keep everybody else out of it.

    Raises:
        PrepalError: it cannot be made, or it, or something in it, belongs to somebody else.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_others(path, path.stat().st_uid)
        path.chmod(0o700)
        for entry in path.iterdir():
            # What the last run leaves behind may vanish meanwhile.
            with suppress(FileNotFoundError):
                _refuse_others(entry, entry.lstat().st_uid)
    except OSError as error:
        raise PrepalError(f"The folder {path} cannot be used ({error.strerror}): choose another --home.") from error


def write(path: Path, text: str) -> None:
    """Write a file that only its owner reads: whole, or not at all.

    Raises:
        PrepalError: it cannot be written.
    """
    write_whole(path, text.encode(), mode=0o600)


def doubt(path: Path) -> str:
    """Why a file may be somebody else's work; "" where it and its folder are ours and closed to all others."""
    for one, status in ((path.parent, path.parent.stat()), (path, path.lstat())):
        if status.st_uid != os.geteuid():
            return f"{one} belongs to {_user(status.st_uid)}"
        if status.st_mode & _OTHERS:
            return f"others may use {one} (mode {stat.S_IMODE(status.st_mode):03o})"
    return "" if stat.S_ISREG(path.lstat().st_mode) else f"{path} is no file"


def _refuse_others(path: Path, owner: int) -> None:
    if owner != os.geteuid():
        raise PrepalError(f"{path} belongs to {_user(owner)}: choose another --home.")


def _user(number: int) -> str:
    try:
        return f"the user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"the user {number}"
