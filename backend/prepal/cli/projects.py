"""Commands about projects of Label Studio, and about what all of them share."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prepal.cli import screen
from prepal.cli.options import audit_tasks, connected_redis, json_option, out_option, settings_option
from prepal.errors import PrepalError
from prepal.files import json_array, write_whole
from prepal.settings import Settings

if TYPE_CHECKING:
    from prepal.label_studio.client import LabelStudio

# So many tasks are written before it is told how far an export is.
_TELL_EVERY = 1000
_number = click.argument("number", metavar="PROJECT", type=click.IntRange(min=1))


@click.command()
@_number
@settings_option
@json_option
def connect(number: int, settings: Settings, as_json: bool) -> None:
    """Make a Label Studio project ready. Safe to repeat."""
    from prepal.label_studio.connect import connect as make_ready
    from prepal.label_studio.describe import remarks
    from prepal.project import Project
    from prepal.queues.requests import request_sync

    connection, login = connected_redis(settings), (settings.basic_auth_user, settings.basic_auth_pass)
    project, label_studio = Project(connection, number), _label_studio(settings)
    changes = make_ready(project, label_studio, settings.prepal_backend_url, *login)
    request_sync(connection, number, full=True)
    notes = remarks(label_studio, number)
    _show_changes(number, changes, "Nothing to change: the project was ready.", notes, as_json=as_json)


@click.command()
@_number
@click.option("--predictions/--no-predictions", default=False, help="Delete the predictions that were made, too.")
@settings_option
@json_option
def disconnect(number: int, predictions: bool, settings: Settings, as_json: bool) -> None:
    """Undo `connect`: webhook, backend, and sampling as it was. Labels stay in Label Studio. Safe to repeat."""
    from prepal.label_studio.connect import disconnect as undo
    from prepal.project import Project

    label_studio, project = _label_studio(settings), Project(connected_redis(settings), number)
    with screen.messages().status(f"Disconnecting project {number}"):
        changes = undo(project, label_studio, settings.prepal_backend_url, predictions=predictions)
    _show_changes(number, changes, "Nothing to change: the project was not connected.", as_json=as_json)


@click.command()
@_number
@settings_option
@json_option
def status(number: int, settings: Settings, as_json: bool) -> None:
    """Tasks, embedded, labelled, rounds, accuracy with its interval."""
    from prepal.project import Project, readable
    from prepal.queues.waiting import WaitingTexts
    from prepal.reports.status import report

    connection = connected_redis(settings)
    project = Project(connection, number)
    with readable(project):
        if not project.info.label_config:
            raise PrepalError(f"Project {number} is not connected: run `prepal connect {number}`.")
        waiting = WaitingTexts.wanted(project, settings)
    told = report(project, waiting)
    if as_json:
        click.echo(json.dumps(told))
    else:
        screen.show_status(told)


@click.command()
@click.argument("number", metavar="[PROJECT]", type=click.IntRange(min=1), required=False)
@click.option("--fix", "fixing", is_flag=True, help="Do the remedies that are safe, then look again.")
@settings_option
@json_option
def doctor(number: int | None, fixing: bool, settings: Settings, as_json: bool) -> None:
    """Look for what keeps it from working; without PROJECT, in all. Exit status 1: there is a problem."""
    from prepal.doctor.examination import examine, mend

    findings = examine(settings, number)
    treated: list[str] = []
    if fixing:
        treated, findings = mend(findings, lambda: examine(settings, number))
    healthy = all(finding.state != "problem" for finding in findings)
    if as_json:
        rows = [{name: getattr(f, name) for name in ("project", "name", "state", "what", "remedy")} for f in findings]
        click.echo(json.dumps({"healthy": healthy, "treated": treated, "findings": rows}))
    else:
        screen.show_findings(treated, findings)
    sys.exit(0 if healthy else 1)


@click.command()
@click.option(
    "--prune",
    "pruning",
    is_flag=True,
    help="Delete the vectors and adapted encoders that no project of this Redis uses.",
)
@click.option("--yes", is_flag=True, help="Do not ask before deleting.")
@settings_option
@json_option
def vectors(pruning: bool, yes: bool, settings: Settings, as_json: bool) -> None:
    """Show what the vector cache holds, and who uses it."""
    from prepal.doctor import upkeep

    connection, uri = connected_redis(settings), settings.prepal_vectors
    with screen.messages().status(f"Looking into {uri}"):
        stored = upkeep.survey(connection, uri, settings.prepal_encoder)
    adapted = sum(one.unused for one in stored if one.encoder == upkeep.ADAPTED)
    spare = sum(one.rows if one.encoder is None else one.unused for one in stored) - adapted
    what = f"{spare:,} vectors" + (f" and {adapted:,} adapted encoders" if adapted else "")
    if pruning and (spare or adapted) and (yes or click.confirm(f"Delete {what} that no project uses?", err=True)):
        with screen.messages().status("Deleting") as shown:
            upkeep.prune(connection, uri, stored, shown.update)
        stored = upkeep.survey(connection, uri, settings.prepal_encoder)
    if as_json:
        click.echo(json.dumps({"vectors": uri, "tables": [asdict(one) for one in stored]}))
    else:
        screen.show_vectors(uri, stored)


@click.command()
@_number
@out_option("Where it goes.")
@click.option("--all", "everything", is_flag=True, help="Tasks without a label, too, with what is believed of each.")
@settings_option
def export(number: int, out: Path, everything: bool, settings: Settings) -> None:
    """Write Label Studio's JSON export, in which `meta` marks the audit tasks, and has the label config once.

    With --all, `meta` also has what the classifier that knows all labels believes of tasks without one, and the label
    that a task takes from one with the same text.
    """
    from prepal.labels.events import LABEL_CONFIG, marked

    with screen.messages().status(f"Exporting project {number}") as shown:
        label_studio = _label_studio(settings)
        if everything:
            told = _export_all(number, out, settings, label_studio, shown.update)
        else:
            tasks = label_studio.export(number)
            audits = audit_tasks(settings, number)
            config = {LABEL_CONFIG: label_studio.project(number)["label_config"]} if tasks else {}
            rows = (marked(task, audits, config if place == 0 else None) for place, task in enumerate(tasks))
            write_whole(out, json_array(rows))
            told = f"{len(tasks)} annotated tasks in {out}"
    screen.messages().print(told)


def _export_all(
    number: int, out: Path, settings: Settings, label_studio: "LabelStudio", show: Callable[[str], None]
) -> str:
    """Write all tasks, and return what is to be said of them."""
    from prepal.learner.fitting import Choosing
    from prepal.learner.handing_on import Believer, Counts, all_tasks
    from prepal.project import Project, readable
    from prepal.vectors import VectorTable, encoders, table_name

    total = int(label_studio.project(number).get("task_number") or 0)
    connection = connected_redis(settings)
    project = Project(connection, number)
    with readable(project):
        encoder = project.encoder or encoders.identity(settings.prepal_encoder, connection)
        table = VectorTable(settings.prepal_vectors, encoder, table_name(encoder))
        believer = Believer(project, table, Choosing(settings.prepal_strategy, settings.prepal_audit_fraction))
        audits = project.audits()
    counts = Counts()

    def tasks() -> Iterator[dict[str, Any]]:
        exported = label_studio.export(number)
        for place, task in enumerate(all_tasks(number, exported, label_studio, believer, audits, counts)):
            if place % _TELL_EVERY == 0:
                show(f"Exporting project {number}: {place:,} of {total:,} tasks")
            yield task

    write_whole(out, json_array(tasks()))
    told = f"{counts.annotated} annotated tasks and {counts.others} others in {out}"
    if counts.twins:
        told += f", {counts.twins} of them with the label of a task with the same text"
    if not believer.can_predict:
        return f"{told}, without beliefs: no two labels differ yet, and the names of the choices have no vectors."
    if counts.without_beliefs:
        told += f"; {counts.without_beliefs} of these have no text or no vector yet, and no beliefs"
    return f"{told}."


def _label_studio(settings: Settings) -> "LabelStudio":
    from prepal.label_studio.client import LabelStudio

    return LabelStudio(settings.label_studio_url, settings.label_studio_api_key)


def _show_changes(number: int, changes: Sequence[str], none: str, notes: Sequence[str] = (), *, as_json: bool) -> None:
    """Show what was changed, a sentence each, or that there was nothing to change, and what else is to be known."""
    if as_json:
        click.echo(json.dumps({"project": number, "changes": changes, "notes": notes}))
    else:
        click.echo("\n".join([*(changes or [none]), *notes]))
