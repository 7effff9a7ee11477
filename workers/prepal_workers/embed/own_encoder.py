"""The encoder of an embed worker, which follows the files that it was loaded from."""

import logging

import redis

from prepal.errors import PrepalError
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import VectorTable, encoders
from prepal_workers.encoder.encoder import Encoder

log = logging.getLogger(__name__)


class OwnEncoder:
    """The encoder of this process, and where its vectors go.

    Args:
        name: of the encoder, as in PREPAL_ENCODER.
        vectors: the vector cache.
    """

    def __init__(self, name: str, vectors: str) -> None:
        self._name = name
        self._vectors = vectors
        self._seen = ""
        self._before: str | None = None
        self.load()

    def load(self) -> None:
        """Load the encoder as its files are now."""
        self.encoder = Encoder(self._name)
        self.table = VectorTable(self._vectors, self.encoder.identity)

    def announce(self, connection: redis.Redis) -> None:
        """Tell all what the encoder's name means here; what waits for what it meant before would wait for ever."""
        now = self.encoder.identity
        announced = encoders.announce(self._name, now, self.encoder.seen, connection)
        for before in {announced, self._before} - {None, now}:
            log.warning("the encoder %s is %s from now on, and no more %s", self._name, now, before)
            WaitingTexts(connection, str(before)).forget()
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
