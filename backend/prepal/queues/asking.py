"""How a focus is asked for: what is asked for is looked at and remembered, and a round and a reading are to follow."""

import time
from collections.abc import Sequence
from difflib import get_close_matches

from prepal import records
from prepal.errors import PrepalError, shortened
from prepal.labels import label_config
from prepal.labels.settle import settle
from prepal.project import Focus, Project
from prepal.project.focus import Kind
from prepal.queues.requests import request_round, request_sync

# More words than this are a text: the focus on a task is for these.
_MOST_WORDS = 2000
# A message names so many choices.
_MOST_NAMED = 30


def ask(project: Project, kind: Kind, value: str, by: str, until: int = 0) -> Focus:
    """Let somebody's focus be the project's: the next round serves by it, and one by a field as soon as that was read.

    Args:
        project: which one.
        kind: see `Focus`; "" ends the one that there is.
        value: see `Focus`; white space around it is no part of it, but of a choice's name.
        by: who asks.
        until: for how many labels; 0: until somebody ends it.

    Raises:
        PrepalError: the project cannot be served, or what is asked for does not exist.
    """
    config = label_config.parse_or_none(project.info.label_config)
    if config is None:
        raise PrepalError(
            f"Project {project.id} cannot be served, so it has no order: `prepal status {project.id}` says why."
        )
    if kind != "choice":
        value = records.readable(value).strip()
    if kind == "choice":
        place = config.place(value)
        if place is None:
            named = _named(value, config.choices)
            raise PrepalError(f"Project {project.id} has no choice {shortened(value)!r}: {named}.")
        value = config.choices[place]
    elif kind == "task":
        number = int(value) if value.isdecimal() and len(value) < 19 else 0
        if not project.texts_of([number]):
            raise PrepalError(
                f"Project {project.id} has no task {shortened(value)!r} with a text: give the number of one, or words."
            )
        value = str(number)
    elif kind == "words" and not 0 < len(value) <= _MOST_WORDS:
        raise PrepalError(f"The words have {len(value):,} characters: give 1 to {_MOST_WORDS:,}.")
    elif kind == "filter" and not ("=" in value and value.partition("=")[0].strip()):
        raise PrepalError(f"The filter {shortened(value)!r} names no field and value: write it as 'field=value'.")
    annotations = project.annotations()
    labels = len({task for question in config.questions for task in settle(annotations, question)})
    focus = Focus(kind, value if kind not in ("", "doubt") else "", by, time.time(), labels, until if kind else 0)
    project.set_focus(focus)
    request_round(project.connection, project.id)
    if kind == "filter":
        request_sync(project.connection, project.id)
    return focus


def _named(wanted: str, choices: Sequence[str]) -> str:
    """Which choices there are; of many those that are called nearly so."""
    named = choices
    if len(choices) > _MOST_NAMED:
        named = get_close_matches(shortened(wanted), choices, _MOST_NAMED, cutoff=0.0)
    more = f" and {len(choices) - len(named)} more" if len(named) < len(choices) else ""
    return f"its choices are {', '.join(map(repr, named))}{more}"
