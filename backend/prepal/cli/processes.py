"""Commands that run everything on one machine, or one process of it for whatever starts it again when it dies."""

import json
import signal
from functools import partial
from pathlib import Path
from typing import Any

import click

from prepal import private
from prepal.cli import options
from prepal.cli.screen import messages
from prepal.errors import PrepalError
from prepal.settings import load as load_settings


@click.command()
@options.home_option
@options.ready_file_option
def up(home: Path, ready_file: Path | None) -> None:
    """Run everything on this machine."""
    from prepal.machine.up import running

    tell = messages().print
    with options.ended_by_signals(), running(home, load_settings(), progress=tell) as installation:
        _write_ready(ready_file, installation.ready_json(None))
        tell(f"[bold]Label Studio[/bold]  {installation.label_studio_url}")
        if installation.label_studio_user:
            tell(f"  sign in with {installation.label_studio_user} / {installation.label_studio_password}")
        tell(f"[bold]Backend[/bold]       {installation.backend_url}   (logs: {installation.logs})")
        tell(f"  sign in with {installation.backend_user} / {installation.backend_password}")
        tell("Next: prepal connect PROJECT. Ctrl-C ends everything.")
        _wait_for_the_end()


@click.command()
@options.home_option
@options.ready_file_option
@click.option("--annotate", type=click.IntRange(min=1), help="Play an annotator for so many tasks, then end.")
@click.option(
    "--data", type=options.EXISTING_FILE, help="Your own texts: CSV or JSONL with `text` and, if there is one, `label`."
)
def demo(home: Path, ready_file: Path | None, annotate: int | None, data: Path | None) -> None:
    """`up`, with a project of sample tickets that is already connected."""
    from prepal.demo.run import run_demo

    ready = partial(_write_ready, ready_file)
    with options.ended_by_signals():
        run_demo(home, load_settings(), messages(), annotate=annotate, data=data, ready=ready, wait=_wait_for_the_end)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9090, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
def serve(host: str, port: int) -> None:
    """Answer Label Studio: the backend alone."""
    from prepal.server.process import serve as answer

    answer(load_settings(), host, port)


@click.group()
def worker() -> None:
    """A single worker process."""


@worker.command()
def learn() -> None:
    """Run rounds, and read Label Studio."""
    from prepal.learner.process import run_learner

    if not run_learner(load_settings()):
        raise PrepalError("The learner was ended by a fault: its log has more of it.")


@worker.command()
def embed() -> None:
    """Turn texts into vectors."""
    options.from_workers("prepal_workers.embed.process", "The embed worker").run_worker(load_settings())


@worker.command()
def adapt() -> None:
    """Train each project's encoder on its labels."""
    options.from_workers("prepal_workers.adapt.process", "The adapt worker").run_worker(load_settings())


@worker.command()
@click.argument("queue", type=click.Choice(["learn", "embed", "adapt"]))
def alive(queue: str) -> None:
    """For health checks: exit status 0 while such a worker of this machine or container is alive."""
    from prepal.queues.recovery import is_alive_here

    if not is_alive_here(options.connected_redis(load_settings()), queue):
        raise PrepalError(f"No `prepal worker {queue}` of this machine is alive: start it, or look at its log.")


def _write_ready(path: Path | None, document: dict[str, Any]) -> None:
    if path is not None:
        private.write(path, json.dumps(document))


def _wait_for_the_end() -> None:
    while True:
        signal.pause()
