"""How log lines look: text for people, or one JSON object a line for whatever collects them."""

import logging
import sys
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

log = logging.getLogger(__name__)

# What they do is done for us, and our lines say more of it.
_NOISY = ("asyncio", "faker", "httpcore", "httpx", "redis", "rq", "sentence_transformers")


def configure(level: str, form: Literal["text", "json"]) -> None:
    """Let everything that this process logs go to standard error in one form."""
    handler = logging.StreamHandler()
    if form == "json":
        names = {"levelname": "level", "name": "logger"}
        handler.setFormatter(JsonFormatter("%(levelname)s %(name)s %(message)s", rename_fields=names, timestamp=True))
        logging.captureWarnings(True)
        sys.excepthook = lambda *error: log.critical("ended by an error", exc_info=error)
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
