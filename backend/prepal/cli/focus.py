"""`prepal focus`: what the queue serves first for a while."""

import getpass
import json
import os

import click

from prepal.cli.options import connected_redis, json_option, settings_option
from prepal.errors import PrepalError
from prepal.settings import Settings


@click.command()
@click.argument("number", metavar="PROJECT", type=click.IntRange(min=1))
@click.option("--choice", metavar="NAME", help="Texts that are likely of a choice, the surest first.")
@click.option("--like", metavar="TASK|WORDS", help="Texts like that of a task, by its number, or like some words.")
@click.option("--filter", "field", metavar="FIELD=VALUE", help="Tasks with this value in a field of their data.")
@click.option("--doubt", is_flag=True, help="Texts of which the classifier is least sure.")
@click.option("--off", is_flag=True, help="The ordinary order again.")
@click.option("--labels", type=click.IntRange(min=1), help="Until there are so many labels more; else until --off.")
@click.option("--annotator", metavar="MAIL", help="For one person: Label Studio cannot.")
@settings_option
@json_option
def focus(
    number: int,
    choice: str | None,
    like: str | None,
    field: str | None,
    doubt: bool,
    off: bool,
    labels: int | None,
    annotator: str | None,
    settings: Settings,
    as_json: bool,
) -> None:
    """Choose what is labelled next; without an option, tell the present focus, and who asked for it when.

    Audit tasks keep their share. What the focus has no tasks for, the ordinary order fills.
    """
    from prepal.project import Project, readable
    from prepal.project.focus import Kind
    from prepal.queues.asking import ask
    from prepal.reports.steering import focus_told
    from prepal.reports.view import View

    if annotator is not None:
        raise PrepalError(
            f"Label Studio's community edition has one queue for all, so {annotator} cannot have an order alone: leave "
            "--annotator out."
        )
    is_task = like is not None and like.strip().isdecimal()
    values: dict[Kind, str | None] = {
        "choice": choice,
        "task": like if is_task else None,
        "words": None if is_task else like,
        "filter": field,
        "doubt": "" if doubt else None,
        "": "" if off else None,
    }
    asked = {kind: value for kind, value in values.items() if value is not None}
    if len(asked) > 1:
        raise click.UsageError("There is one focus at a time: give one of --choice, --like, --filter, --doubt, --off.")
    if labels and not any(asked):
        raise click.UsageError("--labels says how long a focus is: give --choice, --like, --filter or --doubt, too.")
    connection = connected_redis(settings)
    project = Project(connection, number)
    with readable(project):
        if not project.info.label_config:
            raise PrepalError(f"Project {number} is not connected: run `prepal connect {number}`.")
        for kind, value in asked.items():
            ask(project, kind, value, _user(), labels or 0)
        told = focus_told(View(project))
    if as_json:
        click.echo(json.dumps({"project": number, "focus": told}))
    else:
        click.echo(told["told"] if told else "The ordinary order is served: nobody has asked for a focus yet.")


def _user() -> str:
    """Who asks, as this machine calls them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # As in a container whose user has no name.
        return f"user {os.getuid()}"
