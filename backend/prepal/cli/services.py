"""Commands that run one process of an installation, for whatever starts it again when it dies."""

import click

from prepal.cli.options import connected_redis, from_workers
from prepal.errors import PrepalError
from prepal.settings import load as load_settings


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
    from_workers("prepal_workers.embed.process", "The embed worker").run_worker(load_settings())


@worker.command()
@click.argument("queue", type=click.Choice(["learn", "embed"]))
def alive(queue: str) -> None:
    """For health checks: exit status 0 while such a worker of this machine or container is alive."""
    from prepal.queues.recovery import is_alive_here

    if not is_alive_here(connected_redis(load_settings()), queue):
        raise PrepalError(f"No `prepal worker {queue}` of this machine is alive: start it, or look at its log.")
