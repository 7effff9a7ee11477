"""What all jobs of the learner's process share: settings, connections, the vector cache, memories of projects."""

import logging
from dataclasses import dataclass, field
from typing import ClassVar

import redis

from prepal.label_studio.client import LabelStudio
from prepal.learner.fitting import Choosing
from prepal.learner.memory.memory import Memories
from prepal.project import all_projects
from prepal.queues.recovery import worker_name
from prepal.queues.requests import request_sync
from prepal.queues.waiting import WaitingTexts
from prepal.settings import Settings
from prepal.vectors import VectorTable, encoders, table_name

log = logging.getLogger(__name__)


@dataclass
class Learner:
    """What the learner's process keeps between jobs."""

    of_this_process: ClassVar["Learner | None"] = None
    """Whose jobs run here."""

    settings: Settings
    connection: redis.Redis
    label_studio: LabelStudio
    table: VectorTable
    waiting: WaitingTexts
    memories: Memories = field(default_factory=Memories)
    name: str = field(default_factory=worker_name)
    patience_s: float = 10.0
    """How long jobs that nobody waits for wait for a round to end."""

    @property
    def choosing(self) -> Choosing:
        """How tasks are chosen."""
        return Choosing(self.settings.prepal_strategy, self.settings.prepal_audit_fraction)

    @property
    def backend(self) -> tuple[LabelStudio, str, str, str]:
        """What is to be connected with what: Label Studio, the backend's address, and its credentials."""
        settings = self.settings
        return self.label_studio, settings.prepal_backend_url, settings.basic_auth_user, settings.basic_auth_pass

    def follow_encoder(self) -> None:
        """Take the table and the waiting texts of another encoder, once PREPAL_ENCODER means another one."""
        wanted = encoders.identity(self.settings.prepal_encoder, self.connection)
        if wanted == self.table.encoder:
            return
        log.info("PREPAL_ENCODER is the encoder %s from now on, and no more %s", wanted, self.table.encoder)
        # What still waits for the other one would wait for ever.
        self.waiting.forget()
        self.waiting = WaitingTexts(self.connection, wanted)
        self.table = VectorTable(self.settings.prepal_vectors, wanted)
        for project in all_projects(self.connection):
            request_sync(self.connection, project.id, full=True)

    def reading_table(self) -> VectorTable:
        """Return a handle of the vector cache for one reading: one is not meant for several threads."""
        return self.table_of(self.table.encoder)

    def table_of(self, encoder: str) -> VectorTable:
        """Return the vectors of an encoder, by its identity."""
        return VectorTable(self.settings.prepal_vectors, encoder, table_name(encoder))
