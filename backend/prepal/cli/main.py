"""The command line: `prepal`."""

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C while what follows is loaded, which takes a busy machine seconds, is no fault to be traced."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _told

import click
import redis
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prepal import logs, private, records
from prepal import settings as settings_table
from prepal.errors import PrepalError
from prepal.files import write_whole
from prepal.labels.events import AUDIT_MARK
from prepal.project import Project, readable
from prepal.settings import Settings

if TYPE_CHECKING:
    from prepal.doctor.finding import Finding

_SETTINGS_HELP = "Settings come from the environment:\n\n\b\n" + "\n".join(
    f"  {name:22} {text}{f' [{default}]' if default else ''}" for name, default, text in settings_table.table()
)
_home = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".prepal"),
    show_default=True,
    help="Folder that keeps all state.",
)
_started_home = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".prepal"),
    show_default=True,
    help="Folder of a running `prepal up`, for what the environment does not say.",
)
_ready_file = click.option(
    "--ready-file", type=click.Path(dir_okay=False, path_type=Path), help="Gets addresses and token as JSON."
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
_existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)
# The experiments of `prepal_workers.simulate.presets`, which cannot be imported where torch is missing.
_PRESETS = {
    "baseline": "PRepAL against random labels and against fine-tuning in every round (AL+FT)",
    "transfer": "labels that were acquired with another encoder, or at random, serve this one",
    "batch-size": "one label at a time, ten, or a hundred",
    "linearity": "the logistic regression against a network with a hidden layer",
    "mismatch": "a poor encoder: word counts",
}
# Run by whatever restarts them; what they say goes to a log.
_SERVICES = ("serve", "worker")
_messages = Console(stderr=True, highlight=False)
log = logging.getLogger(__name__)


class _List(click.ParamType[list[Any]]):
    """Values with commas between them."""

    name = "list"

    def __init__(self, kind: Callable[[str], Any] = str) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:  # noqa: ANN401
        try:
            return [self._kind(part.strip()) for part in value.split(",") if part.strip()]
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 1,10.", param, ctx)


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
        if ctx.invoked_subcommand in _SERVICES:
            log.error(problem)
            ctx.exit(1)
        raise click.ClickException(problem)


@click.group(cls=_Group, epilog=_SETTINGS_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="prepal-label-studio")
def main() -> None:
    """Live active learning for Label Studio."""
    settings = settings_table.load()
    logs.configure(settings.log_level, settings.log_format)


@main.command()
@_home
@_ready_file
def up(home: Path, ready_file: Path | None) -> None:
    """Run everything on this machine."""
    from prepal.machine.up import running

    with _ended_by_signals(), running(home, settings_table.load(), progress=_messages.print) as installation:
        _write_ready(ready_file, installation.ready_json(None))
        _messages.print(f"[bold]Label Studio[/bold]  {installation.label_studio_url}")
        if installation.label_studio_user:
            _messages.print(f"  sign in with {installation.label_studio_user} / {installation.label_studio_password}")
        _messages.print(f"[bold]Backend[/bold]       {installation.backend_url}   (logs: {installation.logs})")
        _messages.print(f"  sign in with {installation.backend_user} / {installation.backend_password}")
        _messages.print("Next: prepal connect PROJECT. Ctrl-C ends everything.")
        _wait_for_the_end()


@main.command()
@_home
@_ready_file
@click.option("--annotate", type=click.IntRange(min=1), help="Play an annotator for so many tasks, then end.")
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Your own texts: CSV or JSONL with `text` and, if there is one, `label`.",
)
def demo(home: Path, ready_file: Path | None, annotate: int | None, data: Path | None) -> None:
    """`up`, with a project of sample tickets that is already connected."""
    from prepal.demo.run import run_demo

    def ready(document: dict[str, Any]) -> None:
        _write_ready(ready_file, document)

    with _ended_by_signals():
        run_demo(
            home,
            settings_table.load(),
            _messages,
            annotate=annotate,
            data=data,
            ready=ready,
            wait=_wait_for_the_end,
        )


@main.command()
@click.argument("project", type=click.IntRange(min=1))
@_started_home
@_json
def connect(project: int, home: Path, as_json: bool) -> None:
    """Make a Label Studio project ready. Safe to repeat."""
    from prepal.label_studio.client import LabelStudio
    from prepal.label_studio.connect import connect as make_ready
    from prepal.queues.requests import request_sync

    settings = settings_table.load(home)
    connection = _redis(settings)
    known = Project(connection, project)
    label_studio = LabelStudio(settings.label_studio_url, settings.label_studio_api_key)
    changes = make_ready(
        known, label_studio, settings.prepal_backend_url, settings.basic_auth_user, settings.basic_auth_pass
    )
    request_sync(connection, project, full=True)
    if as_json:
        click.echo(json.dumps({"project": project, "changes": changes}))
    else:
        for change in changes or ["Nothing to change: the project was ready."]:
            click.echo(change)


@main.command()
@click.argument("project", type=click.IntRange(min=1))
@click.option("--predictions/--no-predictions", default=False, help="Delete the predictions that were made, too.")
@_started_home
@_json
def disconnect(project: int, predictions: bool, home: Path, as_json: bool) -> None:
    """Undo `connect`: webhook, backend, and sampling as it was. Labels stay in Label Studio. Safe to repeat."""
    from prepal.label_studio.client import LabelStudio
    from prepal.label_studio.connect import disconnect as undo

    settings = settings_table.load(home)
    label_studio = LabelStudio(settings.label_studio_url, settings.label_studio_api_key)
    known = Project(_redis(settings), project)
    with _messages.status(f"Disconnecting project {project}"):
        changes = undo(known, label_studio, settings.prepal_backend_url, predictions=predictions)
    if as_json:
        click.echo(json.dumps({"project": project, "changes": changes}))
    else:
        for change in changes or ["Nothing to change: the project was not connected."]:
            click.echo(change)


@main.command()
@click.argument("project", type=click.IntRange(min=1))
@_started_home
@_json
def status(project: int, home: Path, as_json: bool) -> None:
    """Tasks, embedded, labelled, rounds, accuracy with its interval."""
    from prepal.queues.waiting import WaitingTexts
    from prepal.reports.status import report

    settings = settings_table.load(home)
    connection = _redis(settings)
    known = Project(connection, project)
    with readable(known):
        if not known.info.label_config:
            raise PrepalError(f"Project {project} is not connected: run `prepal connect {project}`.")
    waiting = WaitingTexts(connection, settings.prepal_encoder)
    found = report(known, waiting, waiting.encoder)
    if as_json:
        click.echo(json.dumps(found))
    else:
        Console().print(_status_table(found))


@main.command()
@click.argument("project", type=click.IntRange(min=1), required=False)
@click.option("--fix", "fixing", is_flag=True, help="Do the remedies that are safe, then look again.")
@_started_home
@_json
def doctor(project: int | None, fixing: bool, home: Path, as_json: bool) -> None:
    """Look for what keeps it from working; without PROJECT, in all. Exit status 1: there is a problem."""
    from prepal.doctor.examination import examine, mend

    settings = settings_table.load(home)
    findings = examine(settings, project)
    treated: list[str] = []
    if fixing:
        treated, findings = mend(findings, lambda: examine(settings, project))
    healthy = all(finding.state != "problem" for finding in findings)
    if as_json:
        rows = [{name: getattr(f, name) for name in ("project", "name", "state", "what", "remedy")} for f in findings]
        click.echo(json.dumps({"healthy": healthy, "treated": treated, "findings": rows}))
    else:
        _print_findings(treated, findings)
    sys.exit(0 if healthy else 1)


@main.command()
@click.option("--prune", "pruning", is_flag=True, help="Delete the vectors that no project of this Redis uses.")
@click.option("--yes", is_flag=True, help="Do not ask before deleting.")
@_started_home
@_json
def vectors(pruning: bool, yes: bool, home: Path, as_json: bool) -> None:
    """Show what the vector cache holds, and who uses it."""
    from prepal.doctor import upkeep

    settings = settings_table.load(home)
    connection, uri = _redis(settings), settings.prepal_vectors
    with _messages.status(f"Looking into {uri}"):
        stored = upkeep.survey(connection, uri, settings.prepal_encoder)
    spare = sum(one.rows if one.encoder is None else one.unused for one in stored)
    if pruning and spare and (yes or click.confirm(f"Delete {spare:,} vectors that no project uses?", err=True)):
        with _messages.status("Deleting") as shown:
            upkeep.prune(connection, uri, stored, shown.update)
        stored = upkeep.survey(connection, uri, settings.prepal_encoder)
    if as_json:
        click.echo(json.dumps({"vectors": uri, "tables": [asdict(one) for one in stored]}))
        return
    table = Table(
        "encoder", "texts", "of no project", "MB", "projects", title=f"Vector cache {uri}", title_justify="left"
    )
    for one in stored:
        name = one.encoder or f"{one.table} (no project's)"
        users = ", ".join(map(str, one.projects))
        table.add_row(name, f"{one.rows:,}", f"{one.unused:,}", f"{one.bytes / 1e6:,.1f}", users)
    Console().print(table)


@main.command()
@click.argument("project", type=click.IntRange(min=1))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Where it goes.")
@_started_home
def export(project: int, out: Path, home: Path) -> None:
    """Write Label Studio's JSON export, in which `meta` marks the audit tasks."""
    from prepal.label_studio.client import LabelStudio

    settings = settings_table.load(home)
    label_studio = LabelStudio(settings.label_studio_url, settings.label_studio_api_key)
    with _messages.status(f"Exporting project {project}"):
        tasks = label_studio.export(project)
    audits = _audits(settings, project)
    for task in tasks:
        if task["id"] in audits:
            task["meta"] = {**(task.get("meta") or {}), AUDIT_MARK: True}
    write_whole(out, records.dumps(tasks))
    _messages.print(f"{len(tasks)} annotated tasks in {out}")


@main.command(epilog="Presets:\n\n\b\n" + "\n".join(f"  {name:11} {text}" for name, text in _PRESETS.items()))
@click.argument("train", type=_existing_file)
@click.argument("test", type=_existing_file)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the results.")
@click.option("--preset", type=click.Choice(sorted(_PRESETS)), help="One of the paper's experiments: see below.")
@click.option("--strategy", type=_List(), help="Strategies, as in auto,random.  [default: auto,random]")
@click.option("--budget", type=click.IntRange(min=1), help="Labels in all.  [default: 300]")
@click.option("--batch-size", type=_List(int), help="Labels between two retrainings, as in 1,10.  [default: 10]")
@click.option("--seeds", type=click.IntRange(min=1), help="How often each is repeated.  [default: 5]")
@click.option("--jobs", type=click.IntRange(min=1), default=os.cpu_count(), help="Runs at a time.  [default: cores]")
@click.option("--encoder", type=_List(), help="Encoders; NAME@3 is the first three layers, word-counts a poor one.")
@click.option("--classifier", type=_List(), help="logistic, network, or finetune.  [default: logistic]")
@click.option("--label-names/--no-label-names", default=None, help="Make use of the names of labels.  [default: do]")
@click.option("--pool", type=click.IntRange(min=2), help="Take only so many texts of TRAIN, drawn at random.")
@click.option("--final-model", help="Fine-tune this model on all labels at the end.")
@_started_home
@_json
def simulate(
    train: Path, test: Path, out: Path, preset: str | None, jobs: int, home: Path, as_json: bool, **options: object
) -> None:
    """Try strategies on labelled data: TRAIN is the pool, accuracy is measured on TEST."""
    run = _from_workers("prepal_workers.simulate.run", "Experiments")
    settings = settings_table.load(home)
    given = {name: value for name, value in options.items() if value is not None}
    with _ended_by_signals():
        table = run.simulate(
            train,
            test,
            out,
            _messages,
            cache=settings.prepal_vectors,
            encoder=settings.prepal_encoder,
            jobs=jobs,
            preset=preset,
            given=given,
        )
        if as_json:
            click.echo(json.dumps(table))


@main.command()
@click.argument("export", type=click.Path(allow_dash=True), required=False)
@click.option("--project", type=click.IntRange(min=1), help="A Label Studio project, instead of EXPORT.")
@click.option("--model", required=True, help="What to fine-tune: a name on the Hugging Face hub, or a folder.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the result.")
@click.option("--choice", help="Name of the Choices tag, where an export has several.")
@click.option("--text", "fields", multiple=True, help="Field of the text; may be given several times.")
@click.option("--pair", is_flag=True, default=None, help="The two --text fields are a pair.")
@click.option("--epochs", type=click.IntRange(min=1), help="At most so many; by itself: 3 to 12.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="By itself: by the model's size.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Texts a step; by itself: 8 to 32.")
@click.option(
    "--method",
    type=click.Choice(["logistic", "fine-tune", "contrast"]),
    help="By itself: fine-tune; of few labels, what cross-validation says.",
)
@click.option("--lora/--no-lora", default=None, help="Train low-rank matrices alone; by itself: of large models.")
@click.option("--onnx", is_flag=True, help="Write model.onnx too, checked against the original.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of everything that is drawn.")
@click.option("--resume", is_flag=True, help="Go on where the same command was ended.")
@_started_home
@_json
def finetune(
    export: str | None,
    project: int | None,
    model: str,
    out: Path,
    home: Path,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Train the final model on EXPORT: JSON, JSON_MIN, CSV or TSV of Label Studio, JSONL, or `-`."""
    if (export is None) == (project is None):
        raise click.UsageError("Give either EXPORT or --project.")
    settings = settings_table.load(home)
    metrics = _from_workers("prepal_workers.final_model.commands", "Fine-tuning").finetune(
        export, project, model, out, settings, _messages, audits=_audits(settings, project), **options
    )
    if as_json:
        click.echo(json.dumps(metrics))


@main.command()
@click.argument("model", type=click.Path(file_okay=False, path_type=Path))
@click.option("--input", "source", type=click.Path(allow_dash=True), help="File of texts: JSONL, CSV, or `-`.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where its labels go: .jsonl or .csv.")
@click.option(
    "--project", type=click.IntRange(min=1), help="A Label Studio project, whose unlabelled tasks are labelled."
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Mark as sure what is right this often, such as 0.95.",
)
@_started_home
@_json
def predict(
    model: Path,
    source: str | None,
    out: Path | None,
    project: int | None,
    threshold: float | None,
    home: Path,
    as_json: bool,
) -> None:
    """Label the rest with a MODEL that `finetune` wrote."""
    if (source is None) == (project is None) or (source is None) != (out is None):
        raise click.UsageError("Give either --input and --out, or --project.")
    settings = settings_table.load(home)
    commands = _from_workers("prepal_workers.final_model.commands", "Predicting")
    found = commands.predict(model, source, out, project, threshold, settings, _messages)
    if as_json:
        click.echo(json.dumps(found))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9090, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
def serve(host: str, port: int) -> None:
    """Answer Label Studio: the backend alone."""
    from prepal.server.process import serve as answer

    answer(settings_table.load(), host, port)


@main.group()
def worker() -> None:
    """A single worker process."""


@worker.command()
def learn() -> None:
    """Run rounds, and read Label Studio."""
    from prepal.learner.process import run_learner

    if not run_learner(settings_table.load()):
        raise PrepalError("The learner was ended by a fault: its log has more of it.")


@worker.command()
def embed() -> None:
    """Turn texts into vectors."""
    _from_workers("prepal_workers.embed.process", "The embed worker").run_worker(settings_table.load())


@worker.command()
@click.argument("queue", type=click.Choice(["learn", "embed"]))
def alive(queue: str) -> None:
    """For health checks: exit status 0 while such a worker of this machine or container is alive."""
    from prepal.queues.recovery import is_alive_here

    settings = settings_table.load()
    if not is_alive_here(_redis(settings), queue):
        raise PrepalError(f"No `prepal worker {queue}` of this machine is alive: start it, or look at its log.")


def _from_workers(module: str, what: str) -> Any:  # noqa: ANN401
    """A module that needs more than the backend is installed with."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise PrepalError(
            f"{what} needs {error.name}, which is not installed: pip install 'prepal-label-studio[workers]'."
        ) from error


def _audits(settings: Settings, project: int | None) -> set[int]:
    """Which tasks of a project were drawn at random, as far as Redis is there to tell."""
    if project is None:
        return set()
    try:
        return set(Project(_redis(settings), project).audits())
    except redis.RedisError as error:
        _messages.print(f"Redis does not answer ({type(error).__name__}), so the audit tasks are not known.")
        return set()


def _redis(settings: Settings) -> redis.Redis:
    connection = redis.Redis.from_url(settings.redis_url, socket_connect_timeout=3)
    connection.ping()
    return connection


def _write_ready(path: Path | None, document: dict[str, Any]) -> None:
    if path is not None:
        private.write(path, json.dumps(document))


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
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
        _messages.print("Ended.")


def _wait_for_the_end() -> None:
    while True:
        signal.pause()


def _print_findings(treated: Sequence[str], findings: "Sequence[Finding]") -> None:
    """A line each, coloured by its state where that can be seen."""
    console = Console(highlight=False)
    styles = {"ok": "green", "warning": "yellow", "problem": "bold red", "skipped": "dim"}
    for sentence in treated:
        console.print(f"--fix: {sentence}", markup=False, soft_wrap=True)
    for found in findings:
        name = f"{found.name} ({found.project})" if found.project else found.name
        line = Text.assemble((f"{found.state:8}", styles[found.state]), f"{name}: {found.what}")
        if found.remedy:
            line.append(f" {found.remedy}", "bold")
        console.print(line, soft_wrap=True)


def _passed(passed: dict[str, int]) -> str:
    """How many tasks were skipped, postponed or submitted empty; "" if none was."""
    if not passed["tasks"]:
        return ""
    return (
        f"{passed['tasks']} (left to others: {passed['left_to_others']}, to nobody: {passed['left_to_nobody']}; audit "
        f"tasks among them, for which others were drawn: {passed['audit_tasks']})"
    )


def _status_table(found: dict[str, Any]) -> Table:
    table = Table(title=f"Project {found['project']}: {found['title']}", show_header=False, title_justify="left")
    accuracy = found["accuracy"]
    not_embeddable = ", ".join(f"{count} × {reason}" for reason, count in found["not_embeddable"].items())
    rows = {
        "problem": found["problem"],
        "troubles": "\n".join(trouble["told"] for trouble in found["troubles"]),
        "tasks": found["tasks"],
        "embedded": f"{found['embedded']} (waiting: {found['waiting']})",
        "not embeddable": not_embeddable,
        "labelled": found["labelled"],
        "passed": _passed(found["passed"]),
        "rounds": f"{found['rounds']} ({'up to date' if found['up_to_date'] else 'another one follows'})",
        "accuracy": accuracy
        and f"{accuracy['estimate']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f}, "
        f"on {accuracy['audit_tasks']} audit tasks)",
        "advice": found["advice"] and f"{found['advice']['word']}: {found['advice']['reason']}",
        "suspected labels": ", ".join(map(str, found["suspected"])),
        "strategy": found["strategy"],
        "next": ", ".join(map(str, found["next"])),
        "notes": "\n".join(found["notes"]),
    }
    for name, value in rows.items():
        if value not in (None, ""):
            table.add_row(name, str(value))
    return table
