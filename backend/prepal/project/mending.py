"""What Redis has of a project and nobody can read, whatever release or whoever else wrote it, is found and dropped.

It is a copy: Label Studio tells it again, but for what Label Studio never knew.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import redis

from prepal.errors import PrepalError
from prepal.project.id_map import IdMap
from prepal.project.project import Project

Reader = Callable[[Project], object]

# What reading a key leads to that has another type or content than it should.
_FAULTS = (redis.ResponseError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def _integer(name: str) -> Reader:
    def read(project: Project) -> object:
        raw = _raw(project, name)
        # Of nothing Redis counts from 0 on, of "" it refuses to.
        return raw is None or int(raw)

    return read


def _real(name: str) -> Reader:
    return lambda project: float(_raw(project, name) or 0)


def _string(name: str) -> Reader:
    return lambda project: (_raw(project, name) or b"").decode()


def _integers(name: str) -> Reader:
    """A hash of integers by integers."""
    return lambda project: [(int(k), int(v)) for k, v in _hash(project, name).items()]


def _id_map(name: str, dtype: str) -> Reader:
    def read(project: Project) -> object:
        values = IdMap(project.connection, project.key(name), dtype)
        return len(values), values.all()

    return read


def _raw(project: Project, name: str) -> bytes | None:
    return cast(bytes | None, project.connection.get(project.key(name)))


def _hash(project: Project, name: str) -> dict[bytes, bytes]:
    return cast(dict[bytes, bytes], project.connection.hgetall(project.key(name)))


def _round(project: Project) -> object:
    record = project.round
    return record and record.accuracy and _accuracy(record.accuracy)


def _accuracy(accuracy: dict[str, Any]) -> list[float]:
    return [float(accuracy[name]) for name in ("estimate", "low", "high", "audit_tasks")]


# What is read as one, by the names of its keys.
_READERS: dict[tuple[str, ...], Reader] = {
    ("accuracies",): lambda p: [(int(found["labels"]), *_accuracy(found)) for found in p.accuracies()],
    ("annotations",): lambda p: p.annotations(),
    ("arrived", "vectors-version"): lambda p: p.arrived_since(-1) and p.connection.llen(p.key("arrived")),
    ("audits",): lambda p: p.audits(),
    ("backend-url",): _string("backend-url"),
    ("before",): lambda p: p.before,
    ("begun",): lambda p: _hash(p, "begun"),
    ("clock", "read-annotations", "removed-annotations", "removed-tasks", "touched-annotations"): lambda p: [
        _integer("clock")(p),
        _integer("read-annotations")(p),
        _integers("removed-annotations")(p),
        _integers("removed-tasks")(p),
        p.connection.zcard(p.key("touched-annotations")),
    ],
    ("compared",): lambda p: p.compared(),
    ("created",): _string("created"),
    ("encoder",): _string("encoder"),
    ("expected",): lambda p: p.expected and [p.expected["labels"], p.expected["accuracy"]],
    ("facts",): _integer("facts"),
    ("gone",): lambda p: {name: float(value) for name, value in _hash(p, "gone").items()},
    ("info",): _string("info"),
    ("judged",): _string("judged"),
    ("labels-before",): _integer("labels-before"),
    ("last-task",): _integer("last-task"),
    ("left",): _string("left"),
    ("looked-until",): _integer("looked-until"),
    ("missed",): lambda p: p.connection.scard(p.key("missed")),
    ("missed:figures",): lambda p: p.connection.scard(p.key("missed:figures")),
    ("missed:reading",): lambda p: p.connection.scard(p.key("missed:reading")),
    ("overtaken",): lambda p: [(float(count), float(until)) for count, until in p.overtaken().values()],
    ("postponed",): lambda p: [sorted(people) for people in p.postponed().values()],
    ("predictions",): _id_map("predictions", "<i8"),
    ("publications",): _integer("publications"),
    ("ranking",): lambda p: p.ranking(),
    ("read-until",): lambda p: p.read_until,
    ("reading-s",): _real("reading-s"),
    ("round", "fresh"): lambda p: (_round(p), p.fresh_round),
    ("rules",): lambda p: p.rules,
    ("score-floor",): _real("score-floor"),
    ("seen",): _id_map("seen", "<i8"),
    ("shown",): lambda p: [(list(chosen), float(sure), bool(h)) for chosen, sure, h in p.shown().values()],
    ("tasks-version",): _integer("tasks-version"),
    ("texts",): lambda p: (_id_map("texts", "S32")(p), p.task_texts()[1].astype(str)),
    ("troubles",): lambda p: p.troubles(),
    ("unembeddable",): lambda p: p.unembeddable(),
}


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
    names = unreadable(project)
    if names:
        keys: list[str | bytes] = []
        for name in names:
            keys += [project.key(name), *_parts(project, name)]
        project.connection.delete(*keys)
        project.forget_seen()
        # Nor does anybody know any more which order is the one that was published.
        project.begin_publication()
        project.add_fact()
    return names


def unreadable(project: Project) -> list[str]:
    """Names of what cannot be read."""
    return [name for names, read in _READERS.items() if not _is_readable(project, read) for name in names]


def _parts(project: Project, name: str) -> list[bytes]:
    """Keys of the strings in which an `IdMap` keeps its values."""
    return list(project.connection.scan_iter(project.key(f"{name}:*"), count=1000))


def _is_readable(project: Project, read: Reader) -> bool:
    try:
        read(project)
    except _FAULTS:
        return False
    return True
