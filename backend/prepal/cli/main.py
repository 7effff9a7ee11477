"""All commands together, and what they say when something goes wrong."""

import sys
from types import TracebackType


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C while what follows is loaded, which takes a busy machine seconds, is no fault to be traced."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _told

import logging
from typing import Any

import click
import redis

from prepal import logs
from prepal import settings as settings_table
from prepal.cli import models, processes, projects
from prepal.cli.focus import focus
from prepal.errors import PrepalError

_SETTINGS_HELP = "Settings come from the environment:\n\n\b\n" + "\n".join(
    f"  {name:22} {text}{f' [{default}]' if default else ''}" for name, default, text in settings_table.table()
)
# Run by whatever restarts them; what they say goes to a log.
_SERVICES = (processes.serve, processes.worker)
log = logging.getLogger(__name__)


class _Group(click.Group):
    """Turns our own errors into one sentence on standard error, in a service's log, and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        try:
            return super().invoke(ctx)
        except PrepalError as error:
            problem = str(error)
        except redis.RedisError as error:
            url = settings_table.load().redis_url.rsplit("@", 1)[-1]
            problem = f"Redis at {url} does not answer ({error}): check REDIS_URL."
        if ctx.invoked_subcommand in [service.name for service in _SERVICES]:
            log.error(problem)
            ctx.exit(1)
        raise click.ClickException(problem)


@click.group(cls=_Group, epilog=_SETTINGS_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="prepal-label-studio")
def main() -> None:
    """Live active learning for Label Studio."""
    settings = settings_table.load()
    logs.configure(settings.log_level, settings.log_format)


for command in (
    *(processes.up, processes.demo),
    *(projects.connect, projects.disconnect, projects.status, focus),
    *(projects.doctor, projects.vectors, projects.export),
    *(models.simulate, models.finetune, models.predict),
    *_SERVICES,
):
    main.add_command(command)
