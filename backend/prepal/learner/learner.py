"""What all jobs of the learner's process share: settings, connections, the vector cache, memories of projects."""

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import ClassVar

import redis

from prepal.label_studio.client import LabelStudio
from prepal.label_studio.sync import Target
from prepal.learner.fitting import Choosing
from prepal.learner.memory.memory import Memories
from prepal.project import Project, all_projects
from prepal.queues.recovery import worker_name
from prepal.queues.requests import request_sync
from prepal.queues.waiting import WaitingTexts
from prepal.settings import Settings
from prepal.vectors import AdaptedEncoders, VectorTable, encoders, table_name

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

    def wanted(self, project: Project) -> str:
        """The encoder that a project's ranking is to rest on, by its identity."""
        return project.encoder_wanted(self.table.encoder, adapts=self.settings.prepal_adapt != "off")

    def targets(self, project: Project) -> list[Target]:
        """The encoders that are to embed all texts of a project, each once, for one reading.

        These are that of the settings first, and of those that were adapted from it the one that the ranking rests on
        and the one that it is to rest on. An encoder of other settings embeds nothing any more.
        """
        base = self.table.encoder
        adapted = [name for name in (project.encoder or base, self.wanted(project)) if encoders.base_of(name) == base]
        return [(self.table_of(name), self.waiting_for(name)) for name in dict.fromkeys([base, *adapted])]

    def let_go(self, project: Project, kept: Collection[str]) -> None:
        """Delete a project's adapted encoders but for those that are kept, with all that they embedded.

        One that is not wanted as these settings are may be again: it stays, though nothing waits for it any more. No
        round may be running, which may just have decided that the ranking is to rest on one of them.
        """
        for name in project.adapted_encoders():
            if name not in kept:
                WaitingTexts(self.connection, name).forget()
        for name in project.forget_adapted(kept):
            self.table_of(name).drop()
            AdaptedEncoders(self.settings.prepal_vectors).delete(name)

    def look_for_adapted(self, project: Project) -> None:
        """Do without a project's adapted encoder where it is lost, as after a backup without it."""
        name = project.adapted
        if name and name not in AdaptedEncoders(self.settings.prepal_vectors).names():
            log.warning("project %d: its adapted encoder is not in the vector cache any more: %s", project.id, name)
            WaitingTexts(self.connection, name).forget()
            project.lose_adapted()

    def more_come(self, project: Project) -> bool:
        """Whether texts wait for the encoder that a project's ranking rests on."""
        return bool(len(self.waiting_for(project.encoder or self.table.encoder)))

    def waiting_for(self, encoder: str) -> WaitingTexts:
        """Return the texts that wait for an encoder, by its identity."""
        return self.waiting if encoder == self.waiting.encoder else WaitingTexts(self.connection, encoder)

    def table_of(self, encoder: str) -> VectorTable:
        """Return the vectors of an encoder, by its identity; a handle of them is not meant for several threads."""
        return VectorTable(self.settings.prepal_vectors, encoder, table_name(encoder))
