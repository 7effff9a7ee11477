"""One project: what it is, and the parts of what is remembered of it."""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import redis
from numpy.typing import NDArray

from prepal import records
from prepal.labels.events import unix_time
from prepal.learning.adapting import is_due
from prepal.project.focus import Focused
from prepal.project.part import Stored, Value
from prepal.project.states import Adaptation, Info, Ranking
from prepal.vectors import encoders

if TYPE_CHECKING:
    from prepal.labels.label_config import LabelConfig

_PROJECTS = "prepal:projects"
# What Label Studio cannot tell again, and how long it is kept of a project that Label Studio no longer has.
_IRREPLACEABLE = ("accuracies", "audits", "confirmed", "created", "expected", "labels-before", "shown")
_KEPT_S = 90 * 24 * 3600
# Label Studio must say that a project is gone so often, over so long, before it is believed.
_SAYINGS, _SAID_FOR_S = 3, 300.0


class Project(Focused):
    """Redis' copy of one project. Every write that a round must know of also counts one more fact."""

    adapting = Stored("adapting", bytes.decode, "")
    """How far the training of its encoder is; "" while nobody trains one."""
    backend_url = Value("backend-url", bytes.decode, "")
    """The address under which the backend was connected; "" where that is not known."""
    left = Value("left", bytes.decode, "")
    """Why the project is no longer served though it was connected; "" while it is."""
    adapted = Value("adapted", bytes.decode, "")
    """The adapted encoder that the ranking is to rest on, by its identity; "" for that of the settings."""
    adaptation = Stored("adaptation", lambda raw: records.read(Adaptation, raw) or Adaptation(), Adaptation())
    """What came of the last adaptation."""
    info = Stored("info", lambda raw: records.read(Info, raw) or Info(), Info())
    """What the project is."""

    @property
    def encoders(self) -> set[str]:
        """The encoder that the ranking rests on, and the adapted one that it is to rest on, by their identities."""
        return {name for name in (self.encoder, self.adapted) if name}

    def register(self) -> bool:
        """Remember that the project exists; tells whether it is new."""
        return bool(self.connection.sadd(_PROJECTS, self.id))

    @property
    def is_known(self) -> bool:
        """Whether the project was registered and not forgotten since."""
        return bool(self.connection.sismember(_PROJECTS, str(self.id)))

    def forget(self) -> None:
        """Drop what can be read again from Label Studio; the rest expires, unless the project comes back."""
        kept = {*self._irreplaceable, self.key("questions")}
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
            self.connection.delete(*self._irreplaceable)
            self.forget()
            self.register()
        with self.connection.pipeline() as pipe:
            pipe.delete(self.key("gone"))
            for key in (*self._irreplaceable, self.key("questions")):
                pipe.persist(key)
            if created_at:
                pipe.set(self.key("created"), created_at)
            pipe.execute()

    @property
    def _irreplaceable(self) -> list[str]:
        return list(dict.fromkeys(part.key(name) for part in (self, *self.beside()) for name in _IRREPLACEABLE))

    def of(self, question: "LabelConfig") -> "Project":
        """What is remembered of one of the questions of the project's label config."""
        name = "" if question.is_first else question.from_name
        return Project(self.connection, self.id, name, reads=question.reads)

    def rankings(self, config: "LabelConfig") -> list[Ranking]:
        """The newest order, with what is predicted for each question.

        Nothing where the label config has come to have other choices, or while another round is being stored.
        """
        found = []
        for question in config.questions:
            ranking = self.of(question).ranking()
            if ranking is None or not question.understands(ranking.meaning, ranking.chosen.shape[1]):
                return []
            found.append(ranking)
        return found if all(np.array_equal(one.task_ids, found[0].task_ids) for one in found[1:]) else []

    def know(self, questions: "Iterable[LabelConfig]") -> None:
        """Remember for which questions there is something to remember, besides the first one."""
        flags: dict[Any, Any] = {one.from_name: int(one.reads) for one in questions if not one.is_first}
        if flags:
            self.connection.hset(self.key("questions"), mapping=flags)

    def beside(self) -> "list[Project]":
        """What is remembered of all questions that there ever were but the first one."""
        raw = cast(dict[bytes, bytes], self.connection.hgetall(self.key("questions")))
        return [
            Project(self.connection, self.id, name.decode(), reads=bool(int(reads)))
            for name, reads in sorted(raw.items())
        ]

    def readings(self) -> "list[Project]":
        """This copy, and those of questions that read texts of their own."""
        return [self, *(part for part in self.beside() if part.reads)]

    def set_info(self, info: Info) -> None:
        """Remember what the project is."""
        if info != self.info:
            with self.connection.pipeline() as pipe:
                pipe.set(self.key("info"), records.dumps(asdict(info)))
                pipe.incr(self.key("facts"))
                pipe.execute()

    def note_adaptation(self, tried: Adaptation, learnt: NDArray[np.bytes_]) -> None:
        """Remember what came of an adaptation; its encoder, if there is one, is what the ranking is to rest on.

        Args:
            tried: what came of it.
            learnt: (n,) S32, text ids of the labels that the encoder learnt from: none of them can judge it.
        """
        with self.connection.pipeline() as pipe:
            pipe.set(self.key("adaptation"), records.dumps(asdict(tried)))
            if tried.encoder:
                pipe.set(self.key("adapted"), tried.encoder)
                pipe.hset(self.key("learnt-by"), tried.encoder, learnt.astype("S32").tobytes())
                pipe.hset(self.key("temperatures"), tried.encoder, tried.temperature)
            pipe.incr(self.key("facts"))
            pipe.execute()

    def encoder_wanted(self, base: str, *, adapts: bool) -> str:
        """The encoder that the ranking is to rest on, by its identity.

        Args:
            base: the encoder of the settings, by its identity; one that was adapted from another is not wanted.
            adapts: whether adapted encoders are wanted at all.
        """
        adapted = self.adapted
        adapts = adapts and not self.info.several
        return adapted if adapts and adapted and encoders.base_of(adapted) == base else base

    def adapted_encoders(self) -> list[str]:
        """The adapted encoders of which it is known what they learnt from."""
        return [name.decode() for name in cast(list[bytes], self.connection.hkeys(self.key("learnt-by")))]

    def learnt_by(self, encoder: str) -> NDArray[np.bytes_]:
        """(n,) S32: text ids of the labels that an adapted encoder learnt from."""
        raw = cast(bytes | None, self.connection.hget(self.key("learnt-by"), encoder))
        return np.frombuffer(raw or b"", "S32")

    def is_to_be_adapted(self, labels: int) -> bool:
        """Whether an encoder is to be trained on so many labels, by how many there were the last time."""
        last = self.adaptation
        return not self.info.several and is_due(labels, last.labels, time.time() - last.finished_at, last.seconds)

    def temperature(self, encoder: str) -> float:
        """What the logits of a classifier on an encoder's vectors are to be divided by."""
        return float(cast(bytes | None, self.connection.hget(self.key("temperatures"), encoder)) or 1)

    def lose_adapted(self) -> None:
        """Note that the adapted encoder that is wanted is nowhere any more: another one may be trained at once."""
        self.connection.delete(self.key("adapted"), self.key("adaptation"))

    def forget_adapted(self, kept: Collection[str]) -> list[str]:
        """Forget what adapted encoders learnt from, but for some, and those that the ranking rests on or is to.

        Returns the identities of those that are forgotten.
        """
        known = self.adapted_encoders()
        # These are read last: an adaptation that is noted meanwhile is either not known, or wanted.
        used = {*kept, self.adapted, self.encoder}
        gone = [name for name in known if name not in used]
        if gone:
            self.connection.hdel(self.key("learnt-by"), *gone)
            self.connection.hdel(self.key("temperatures"), *gone)
        return gone

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
