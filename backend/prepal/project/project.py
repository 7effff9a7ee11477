"""One project: what it is, and the parts of what is remembered of it."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import redis

from prepal import records
from prepal.labels.events import unix_time
from prepal.project.part import Stored, Value
from prepal.project.rounds import Rounds
from prepal.project.states import Info

_PROJECTS = "prepal:projects"
# What Label Studio cannot tell again, and how long it is kept of a project that Label Studio no longer has.
_IRREPLACEABLE = ("accuracies", "audits", "created", "expected", "labels-before", "shown")
_KEPT_S = 90 * 24 * 3600
# Label Studio must say that a project is gone so often, over so long, before it is believed.
_SAYINGS, _SAID_FOR_S = 3, 300.0


class Project(Rounds):
    """Redis' copy of one project. Every write that a round must know of also counts one more fact."""

    backend_url = Value("backend-url", bytes.decode, "")
    """The address under which the backend was connected; "" where that is not known."""
    left = Value("left", bytes.decode, "")
    """Why the project is no longer served though it was connected; "" while it is."""
    info = Stored("info", lambda raw: records.read(Info, raw) or Info(), Info())
    """What the project is."""

    def register(self) -> bool:
        """Remember that the project exists; tells whether it is new."""
        return bool(self.connection.sadd(_PROJECTS, self.id))

    @property
    def is_known(self) -> bool:
        """Whether the project was registered and not forgotten since."""
        return bool(self.connection.sismember(_PROJECTS, str(self.id)))

    def forget(self) -> None:
        """Drop what can be read again from Label Studio; the rest expires, unless the project comes back."""
        kept = {self.key(name) for name in _IRREPLACEABLE}
        keys = {key.decode() for key in self.connection.scan_iter(self._prefix + "*", count=1000)}
        self.connection.srem(_PROJECTS, self.id)
        with self.connection.pipeline() as pipe:
            for key in keys:
                if key in kept:
                    pipe.expire(key, _KEPT_S)
                else:
                    pipe.delete(key)
            pipe.execute()

    def said_to_be_gone(self) -> bool:
        """Note that Label Studio said that it has no such project; tells whether it said so often and long enough."""
        first = self.connection.hsetnx(self.key("gone"), "since", time.time())
        count = int(self.connection.hincrby(self.key("gone"), "count", 1))
        since = float(cast(bytes, self.connection.hget(self.key("gone"), "since")))
        return not first and count >= _SAYINGS and time.time() - since >= _SAID_FOR_S

    def said_to_be_there(self, created_at: str) -> None:
        """Note that Label Studio has the project, which was made at that time.

        A project of the same number that was made at another time is another project: nothing known of the first one
        is the second one's.
        """
        before = (self._get("created") or b"").decode()
        if created_at and before and (unix_time(before) or before) != (unix_time(created_at) or created_at):
            self.connection.delete(*(self.key(name) for name in _IRREPLACEABLE))
            self.forget()
            self.register()
        with self.connection.pipeline() as pipe:
            pipe.delete(self.key("gone"))
            for name in _IRREPLACEABLE:
                pipe.persist(self.key(name))
            if created_at:
                pipe.set(self.key("created"), created_at)
            pipe.execute()

    def set_info(self, info: Info) -> None:
        """Remember what the project is."""
        if info != self.info:
            with self.connection.pipeline() as pipe:
                pipe.set(self.key("info"), records.dumps(asdict(info)))
                pipe.incr(self.key("facts"))
                pipe.execute()

    def remember_before(self, settings: Mapping[str, Any]) -> None:
        """Remember how Label Studio was set before it was connected; later calls change nothing."""
        self.connection.setnx(self.key("before"), records.dumps(dict(settings)))

    @property
    def before(self) -> dict[str, Any]:
        """Label Studio's settings before the project was connected; empty where nobody remembered them."""
        raw = self._get("before")
        return dict(records.loads(raw)) if raw else {}


def all_projects(connection: redis.Redis) -> list[Project]:
    """Every project that is remembered."""
    ids = sorted(int(raw) for raw in cast(set[bytes], connection.smembers(_PROJECTS)) if raw.isdigit())
    return [Project(connection, project_id) for project_id in ids]
