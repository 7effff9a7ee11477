"""The encoder of an embed worker, which follows the files that it was loaded from, and what was adapted from it."""

import logging
import tempfile
from pathlib import Path

import redis

from prepal.errors import PrepalError
from prepal.project import all_projects, readable
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import AdaptedEncoders, VectorTable, encoders
from prepal_workers.encoder.encoder import Encoder

log = logging.getLogger(__name__)

# So many adapted encoders stay loaded: those that were used last.
_MOST_ADAPTED = 2


class OwnEncoder:
    """The encoder of this process, those that were adapted from it, and where their vectors go.

    Args:
        name: of the encoder, as in PREPAL_ENCODER.
        vectors: the vector cache.
    """

    def __init__(self, name: str, vectors: str) -> None:
        self._name = name
        self._vectors = vectors
        self._seen = ""
        self._before: str | None = None
        # By their identities, the one that was used last at the end.
        self._adapted: dict[str, Encoder] = {}
        self.tables: dict[str, VectorTable] = {}
        """Where vectors go, by the identities of their encoders: those for which there was something to embed."""
        self.load()

    def load(self) -> None:
        """Load the encoder as its files are now; what was adapted from it before is not kept."""
        self.encoder = Encoder(self._name)
        self._adapted.clear()

    def of(self, identity: str) -> Encoder | None:
        """The encoder of this identity: the own one, or one that was adapted from it; None where it is neither.

        Raises:
            LostEncoderError: the vector cache has no such encoder, or a damaged one.
            PrepalError: it cannot be read or loaded.
        """
        own = self.encoder.identity
        if identity == own:
            return self.encoder
        if not encoders.is_adapted(identity) or encoders.base_of(identity) != own:
            return None
        found = self._adapted.pop(identity, None)
        while len(self._adapted) >= _MOST_ADAPTED:
            del self._adapted[next(iter(self._adapted))]
        self._adapted[identity] = found or self._fetched(identity)
        return self._adapted[identity]

    def table(self, identity: str) -> VectorTable:
        """Where the vectors of an encoder go."""
        if identity not in self.tables:
            self.tables[identity] = VectorTable(self._vectors, identity)
        return self.tables[identity]

    def used(self, connection: redis.Redis) -> set[str]:
        """Identities of the own encoder and of those adapted from it that projects use; other tables are closed."""
        own = self.encoder.identity
        used = {own, *_adapted_from(own, connection)}
        self.tables = {name: table for name, table in self.tables.items() if name in used}
        return used

    def announce(self, connection: redis.Redis) -> None:
        """Tell all what the encoder's name means here; what waits for what it meant before would wait for ever."""
        now = self.encoder.identity
        announced = encoders.announce(self._name, now, self.encoder.seen, connection)
        for before in {announced, self._before} - {None, now}:
            log.warning("the encoder %s is %s from now on, and no more %s", self._name, now, before)
            for name in (str(before), *_adapted_from(str(before), connection)):
                WaitingTexts(connection, name).forget()
        self._before = now

    def follow(self, connection: redis.Redis) -> None:
        """Load the encoder again when its files have changed, unless they were still changing since the last look."""
        if self.encoder.is_as_loaded():
            if not encoders.is_announced(self._name, connection):
                self.announce(connection)
            return
        before, self._seen = self._seen, encoders.look(encoders.weights(self._name)).digest
        if before != self._seen:
            log.warning(
                "the encoder %s is loaded again when its files, which have changed, stay as they are", self._name
            )
            return
        try:
            self.load()
        except PrepalError as error:
            log.error("%s", error)
        else:
            self.announce(connection)

    def _fetched(self, identity: str) -> Encoder:
        with tempfile.TemporaryDirectory(prefix="prepal-encoder-") as place:
            folder = Path(place, "encoder")
            AdaptedEncoders(self._vectors).fetch(identity, folder)
            return Encoder(identity, folder=str(folder))


def _adapted_from(base: str, connection: redis.Redis) -> set[str]:
    """Identities of the adapted encoders of this base that projects use."""
    found: set[str] = set()
    for project in all_projects(connection):
        try:
            with readable(project):
                found |= project.encoders
        except PrepalError as error:
            log.debug("%s", error)
    return {name for name in found if encoders.is_adapted(name) and encoders.base_of(name) == base}
