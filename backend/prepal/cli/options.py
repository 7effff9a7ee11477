"""Options that several commands have, and what several commands do."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import redis

from prepal.errors import PrepalError
from prepal.settings import Settings
from prepal.settings import load as load_settings

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_HOME: dict[str, Any] = {"type": _FOLDER, "default": Path(".prepal"), "show_default": True}

home_option = click.option("--home", **_HOME, help="Folder that keeps all state.")
settings_option = click.option(
    "--home",
    "settings",
    **_HOME,
    callback=lambda _context, _option, home: load_settings(home),
    help="Folder of a running `prepal up`, for what the environment does not say.",
)
ready_file_option = click.option("--ready-file", type=_FILE, help="Gets addresses and token as JSON.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")


def out_option(what: str, *, folder: bool = False) -> Callable[..., Any]:
    """`--out`, which must be given, and what is written there."""
    return click.option("--out", type=_FOLDER if folder else _FILE, required=True, help=what)


class CommaList(click.ParamType[list[Any]]):
    """Values with commas between them."""

    name = "list"

    def __init__(self, kind: Callable[[str], Any] = str) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:  # noqa: ANN401
        """The values, each of the list's kind."""
        try:
            return [self._kind(part.strip()) for part in value.split(",") if part.strip()]
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 1,10.", param, ctx)


def from_workers(module: str, what: str) -> Any:  # noqa: ANN401
    """A module that needs more than the backend is installed with.

    Raises:
        PrepalError: that is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise PrepalError(
            f"{what} needs {error.name}, which is not installed: pip install 'prepal-label-studio[workers]'."
        ) from error


def connected_redis(settings: Settings) -> redis.Redis:
    """A connection to Redis, which has answered.

    Raises:
        redis.RedisError: it does not answer.
    """
    connection = redis.Redis.from_url(settings.redis_url, socket_connect_timeout=3)
    connection.ping()
    return connection


def audit_tasks(settings: Settings, project: int | None) -> set[int]:
    """Which tasks of a project were drawn at random, as far as Redis is there to tell."""
    from prepal.project import Project

    if project is None:
        return set()
    try:
        return set(Project(connected_redis(settings), project).audits())
    except redis.RedisError as error:
        click.echo(f"Redis does not answer ({type(error).__name__}), so the audit tasks are not known.", err=True)
        return set()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM ends like Ctrl-C, without a traceback; a script that starts us in the background may have hidden both."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    ended = False
    try:
        yield
    except KeyboardInterrupt:
        ended = True
    finally:
        for number, handler in before.items():
            # When all has ended, nothing is left that another one could end.
            signal.signal(number, signal.SIG_IGN if ended else handler)
    if ended:
        click.echo("Ended.", err=True)
