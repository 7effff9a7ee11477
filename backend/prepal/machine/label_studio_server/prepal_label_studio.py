"""Django settings of the Label Studio that `prepal up` starts: on sqlite, people and programs must not collide.

Label Studio looks for a task that nobody has locked, and locks it, in two steps. On PostgreSQL row locks make them
one; on sqlite nothing does, and two annotators who ask within the same tenth of a second get the same task.

A transaction of sqlite's that reads first and writes later fails at once, "database is locked", when another one wrote
meanwhile: an annotator's request would end in an error because we reorder the queue at that moment. Transactions that
say at once that they will write wait for each other instead, and with a write-ahead log nobody waits to read.

This file runs in Label Studio's own environment and imports nothing of ours.
"""

import re
import threading
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# Label Studio's settings ask for themselves while they are read, and must find the basic ones here already.
from label_studio.core.settings.base import *  # noqa: F403
from label_studio.core.settings.label_studio import *  # noqa: F403
from label_studio.core.settings.label_studio import DATABASES, MIDDLEWARE

_NEXT = re.compile(r"/api/projects/\d+/next/?$")


class OneNextAtATime:
    """Lets one request for the next task be answered after another."""

    _turn = threading.Lock()

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        if not _NEXT.search(request.path):
            return self._get_response(request)
        with self._turn:
            return self._get_response(request)


if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        **DATABASES["default"].get("OPTIONS", {}),
        "transaction_mode": "IMMEDIATE",
        "timeout": 60,
        "init_command": "PRAGMA journal_mode=WAL",
    }
    MIDDLEWARE = [*MIDDLEWARE, f"{__name__}.{OneNextAtATime.__name__}"]
