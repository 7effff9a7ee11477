"""The process that answers: gunicorn around the application."""

import logging
import os
from collections.abc import Mapping
from importlib import import_module
from threading import Thread

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger

from prepal.server.app import create_app
from prepal.settings import Settings

log = logging.getLogger(__name__)

# Two processes, so that one that reads an import of thousands of tasks does not keep the annotators waiting.
_WORKERS, _THREADS = 2, 8


class _Logger(Logger):  # type: ignore[misc]
    """gunicorn's own lines, in the form of all others."""

    def setup(self, cfg: Config) -> None:
        """Take gunicorn's handlers away, so that lines reach those of `configure`."""
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.propagate = True


class _Gunicorn(BaseApplication):  # type: ignore[misc]
    """gunicorn with the settings given here instead of a configuration file."""

    def __init__(self, settings: Settings, options: Mapping[str, object]) -> None:
        self._settings = settings
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        # Called in each worker process; /health is answered meanwhile.
        Thread(target=_load_or_end, daemon=True).start()
        return create_app(self._settings)


def _load_or_end() -> None:
    """A process that could answer nothing but /health tells whoever watches it by ending, and gunicorn with it."""
    try:
        load_the_rest()
    except Exception:
        log.exception("what answers Label Studio cannot be loaded")
        os._exit(Arbiter.WORKER_BOOT_ERROR)


def load_the_rest() -> None:
    """Load what no application needs before it answers, so that no request waits for it: an event has one second."""
    for module in ("server.model", "reports.page", "reports.metrics", "reports.chart"):
        import_module(f"prepal.{module}")


def serve(settings: Settings, host: str, port: int) -> None:
    """Answer Label Studio until told to stop."""
    host = host.strip("[]")
    if host not in ("127.0.0.1", "localhost", "::1") and not settings.basic_auth_user:
        log.warning("listening on %s without BASIC_AUTH_USER: whoever reaches the port can send labels", host)
    options = {
        "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "worker_class": "gthread",
        "workers": _WORKERS,
        "threads": _THREADS,
        "timeout": 120,
        "graceful_timeout": 5,
        "keepalive": 5,
        "loglevel": settings.log_level.lower(),
        "logger_class": _Logger,
        "control_socket_disable": True,
    }
    _Gunicorn(settings, options).run()
