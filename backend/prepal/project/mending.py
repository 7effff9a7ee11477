"""What Redis has of a project and nobody can read, whatever release or whoever else wrote it, is found and dropped.

It is a copy: Label Studio tells it again, but for what Label Studio never knew.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import numpy as np
import redis

from prepal.errors import PrepalError
from prepal.project.id_map import IdMap
from prepal.project.project import Project

Reader = Callable[[Project], object]

# What reading a key leads to that has another type or content than it should.
_FAULTS = (redis.ResponseError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def _integer(name: str, project: Project) -> object:
    raw = _raw(project, name)
    # Of nothing Redis counts from 0 on, of "" it refuses to.
    return raw is None or int(raw)


def _real(name: str, project: Project) -> object:
    return float(_raw(project, name) or 0)


def _string(name: str, project: Project) -> object:
    return (_raw(project, name) or b"").decode()


def _set(name: str, project: Project) -> object:
    return project.connection.scard(project.key(name))


def _integers(name: str, project: Project) -> object:
    """A hash of integers by integers."""
    return [(int(k), int(v)) for k, v in _hash(project, name).items()]


def _id_map(values: IdMap) -> object:
    return len(values), values.all()


def _raw(project: Project, name: str) -> bytes | None:
    return cast(bytes | None, project.connection.get(project.key(name)))


def _hash(project: Project, name: str) -> dict[bytes, bytes]:
    return cast(dict[bytes, bytes], project.connection.hgetall(project.key(name)))


def _round(project: Project) -> object:
    record = project.round
    return record and (record.accuracy and _accuracy(record.accuracy), record.forecast and _forecast(record.forecast))


def _accuracy(accuracy: dict[str, Any]) -> list[float]:
    return [float(accuracy[name]) for name in ("estimate", "low", "high", "audit_tasks")]


def _forecast(forecast: dict[str, Any]) -> list[float]:
    return [float(forecast[name]) for name in ("goal", "about", "low")] + [float(forecast["high"] or 0)]


# Keys that are read one by one, by what each holds.
_PLAIN: dict[Callable[[str, Project], object], tuple[str, ...]] = {
    _integer: ("facts", "labels-before", "last-task", "looked-until", "publications", "tasks-version"),
    _real: ("reading-s", "score-floor"),
    _set: ("missed", "missed:figures", "missed:reading"),
    _string: ("adapted", "adapting", "backend-url", "created", "encoder", "info", "judged", "left"),
}
# What is read as one, by the names of its keys.
_READERS: dict[tuple[str, ...], Reader] = {
    **{(name,): partial(read, name) for read, names in _PLAIN.items() for name in names},
    ("accuracies",): lambda p: [(int(found["labels"]), *_accuracy(found)) for found in p.accuracies()],
    ("adaptation",): lambda p: [float(right) for right in p.adaptation.accuracy.values()],
    ("annotations",): lambda p: p.annotations(),
    ("arrived", "vectors-version"): lambda p: p.arrived_since(-1) and p.connection.llen(p.key("arrived")),
    ("audits",): lambda p: p.audits(),
    ("before",): lambda p: p.before,
    ("begun",): lambda p: _hash(p, "begun"),
    ("clock", "read-annotations", "removed-annotations", "removed-tasks", "touched-annotations"): lambda p: [
        *(_integer(name, p) for name in ("clock", "read-annotations")),
        *(_integers(name, p) for name in ("removed-annotations", "removed-tasks")),
        p.connection.zcard(p.key("touched-annotations")),
    ],
    ("compared",): lambda p: p.compared(),
    ("confirmed",): lambda p: p.confirmed(),
    ("expected",): lambda p: p.expected and [p.expected["labels"], p.expected["accuracy"]],
    ("focus",): lambda p: p.focus.left(0),
    ("gone",): lambda p: {name: float(value) for name, value in _hash(p, "gone").items()},
    ("learnt-by",): lambda p: [np.frombuffer(ids, "S32") for ids in _hash(p, "learnt-by").values()],
    ("matched-until", "matching"): lambda p: (p.matched_until(p.focus), _id_map(p.matching)),
    ("opinions",): lambda p: p.opinions(),
    ("overtaken",): lambda p: [(float(count), float(until)) for count, until in p.overtaken().values()],
    ("people",): lambda p: p.people(),
    ("postponed",): lambda p: [sorted(people) for people in p.postponed().values()],
    ("predictions",): lambda p: _id_map(p.predictions),
    ("questions",): lambda p: p.beside(),
    ("ranking",): lambda p: p.ranking(),
    ("read-until",): lambda p: p.read_until,
    ("round", "fresh"): lambda p: (_round(p), p.fresh_round),
    ("rules",): lambda p: p.rules,
    ("seen",): lambda p: _id_map(p.seen),
    ("serving",): lambda p: p.is_serving,
    ("shown",): lambda p: [(list(chosen), float(sure), bool(h)) for chosen, sure, h in p.shown().values()],
    ("tabs",): lambda p: [(int(tab), str(was)) for tab, was in p.tabs.get("tabs", {}).values()],
    ("temperatures",): lambda p: [1 / float(value) for value in _hash(p, "temperatures").values()],
    ("texts",): lambda p: (len(p.texts), p.task_texts()[1].astype(str)),
    ("troubles",): lambda p: p.troubles(),
    ("unembeddable",): lambda p: p.unembeddable(),
    ("weak-labels", "weak-version"): lambda p: (_weak_labels(p), p.weak_version),
    ("unread",): lambda p: p.has_unread_tasks,
}


def _weak_labels(project: Project) -> list[str]:
    tasks, numbers, names = project.weak_labels()
    return [names[number] for _, number in zip(tasks, numbers, strict=True)]


@contextmanager
def readable(project: Project) -> Iterator[None]:
    """Tell people so where what Redis has of a project cannot be read.

    Raises:
        PrepalError: in place of what that led to.
    """
    try:
        yield
    except _FAULTS as error:
        names = unreadable(project)
        if not names:
            raise
        raise PrepalError(
            f"What Redis has of project {project.id} cannot be read ({', '.join(names)}): start `prepal worker learn`, "
            "which makes it anew."
        ) from error


def mend(project: Project) -> list[str]:
    """Drop what cannot be read, and let all that Label Studio can tell be compared anew; returns its names."""
    found = _unreadable(project)
    if found:
        keys: list[str | bytes] = []
        for part, name in found:
            # An `IdMap` keeps its values in strings of longer names.
            keys += [part.key(name), *project.connection.scan_iter(f"{part.key(name)}:*", count=1000)]
        project.connection.delete(*keys)
        project.seen.clear()
        # Nor does anybody know any more which order is the one that was published.
        project.begin_publication()
        project.add_fact()
    return _names(found)


def unreadable(project: Project) -> list[str]:
    """Names of what cannot be read."""
    return _names(_unreadable(project))


def _names(found: list[tuple[Project, str]]) -> list[str]:
    return [f"{name} of {part.question!r}" if part.question else name for part, name in found]


def _unreadable(project: Project) -> list[tuple[Project, str]]:
    """Names of what cannot be read, with that of the project and of its questions that it is of."""
    found = [
        (project, name)
        for names, read in sorted(_READERS.items(), key=lambda pair: pair[0])
        if not _is_readable(project, read)
        for name in names
    ]
    if (project, "questions") in found:
        return found
    for part in project.beside():
        own = [names for names in sorted(_READERS) if part.key(names[0]) != project.key(names[0])]
        found += [(part, name) for names in own if not _is_readable(part, _READERS[names]) for name in names]
    return found


def _is_readable(project: Project, read: Reader) -> bool:
    try:
        read(project)
    except _FAULTS:
        return False
    return True
