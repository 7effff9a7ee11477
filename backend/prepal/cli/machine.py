"""Commands that run everything on one machine."""

import json
import signal
from pathlib import Path
from typing import Any

import click

from prepal import private
from prepal.cli.options import EXISTING_FILE, ended_by_signals, home_option, ready_file_option
from prepal.cli.screen import messages
from prepal.settings import load as load_settings


@click.command()
@home_option
@ready_file_option
def up(home: Path, ready_file: Path | None) -> None:
    """Run everything on this machine."""
    from prepal.machine.up import running

    tell = messages().print
    with ended_by_signals(), running(home, load_settings(), progress=tell) as installation:
        _write_ready(ready_file, installation.ready_json(None))
        tell(f"[bold]Label Studio[/bold]  {installation.label_studio_url}")
        if installation.label_studio_user:
            tell(f"  sign in with {installation.label_studio_user} / {installation.label_studio_password}")
        tell(f"[bold]Backend[/bold]       {installation.backend_url}   (logs: {installation.logs})")
        tell(f"  sign in with {installation.backend_user} / {installation.backend_password}")
        tell("Next: prepal connect PROJECT. Ctrl-C ends everything.")
        _wait_for_the_end()


@click.command()
@home_option
@ready_file_option
@click.option("--annotate", type=click.IntRange(min=1), help="Play an annotator for so many tasks, then end.")
@click.option(
    "--data", type=EXISTING_FILE, help="Your own texts: CSV or JSONL with `text` and, if there is one, `label`."
)
def demo(home: Path, ready_file: Path | None, annotate: int | None, data: Path | None) -> None:
    """`up`, with a project of sample tickets that is already connected."""
    from prepal.demo.run import run_demo

    def ready(document: dict[str, Any]) -> None:
        _write_ready(ready_file, document)

    with ended_by_signals():
        run_demo(home, load_settings(), messages(), annotate=annotate, data=data, ready=ready, wait=_wait_for_the_end)


def _write_ready(path: Path | None, document: dict[str, Any]) -> None:
    if path is not None:
        private.write(path, json.dumps(document))


def _wait_for_the_end() -> None:
    while True:
        signal.pause()
