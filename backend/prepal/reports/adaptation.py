"""What is told of adapting a project's encoder to its labels: what came of it, and how far its vectors are."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prepal.project import Adaptation, Project
from prepal.vectors import encoders


@dataclass(frozen=True)
class Adapting:
    """How a project stands between the encoder that its ranking rests on and the one that it is to rest on.

    Attributes:
        project: whose encoders they are.
        wanted: the encoder that the ranking is to rest on, by its identity.
        embedded: how many tasks have their vector of it.
        tasks: how many are to have one.
    """

    project: Project
    wanted: str
    embedded: int
    tasks: int

    @property
    def is_filling(self) -> bool:
        """Whether the ranking rests on another encoder than it is to."""
        return self.project.encoder not in (None, self.wanted)

    def told(self) -> dict[str, Any] | None:
        """What came of the last adaptation; None before the first one.

        `filling` is how many tasks have a vector of its encoder, until the ranking rests on it, and `training` how far
        the next one is.
        """
        tried, training = self.project.adaptation, self.project.adapting
        if not tried.finished_at and not training:
            return None
        filling = self.is_filling and tried.encoder == self.wanted
        return {
            "encoder": tried.encoder or None,
            "finished_at": tried.finished_at or None,
            "seconds": tried.seconds,
            "labels": tried.labels,
            "judged": tried.judged,
            "accuracy": {"before": tried.accuracy.get("base"), "after": tried.accuracy.get("adapted")},
            "note": tried.note or None,
            "filling": {"embedded": self.embedded, "tasks": self.tasks} if filling else None,
            "training": training or None,
        }

    def notes(self) -> Iterator[str]:
        """What people should know of it, a sentence each."""
        project, wanted, tried = self.project, self.wanted, self.project.adaptation
        if project.info.several:
            yield "The encoder is adapted to no labels, as several questions share its vectors."
        if training := project.adapting:
            yield f"An encoder is trained on the labels: {training}."
        ranked_by = project.encoder or wanted
        if encoders.is_adapted(ranked_by) and (ranked_by == wanted or encoders.is_adapted(wanted)):
            of_tried = f"{_since(tried)}{_gain(tried)}" if ranked_by == tried.encoder else ""
            yield f"The ranking rests on an encoder that learnt from {self._labels(ranked_by)} labels{of_tried}."
        if self.is_filling and tried.encoder == wanted:
            yield (
                f"An encoder that learnt from {self._labels(wanted)} labels is better{_gain(tried)}; the ranking rests "
                f"on it once all texts have its vectors: {self.embedded:,} of {self.tasks:,} tasks have them."
            )
        elif self.is_filling:
            yield f"The ranking rests on the encoder {ranked_by} until all texts have a vector of {wanted}."
        if tried.finished_at and not tried.encoder:
            yield f"An encoder that learns from {tried.labels} labels is not used: {tried.note.rstrip('.')}."

    def _labels(self, encoder: str) -> int:
        """From how many labels an adapted encoder learnt."""
        return len(self.project.learnt_by(encoder))


def _since(tried: Adaptation) -> str:
    return time.strftime(" since %Y-%m-%d %H:%M UTC", time.gmtime(tried.finished_at))


def _gain(tried: Adaptation) -> str:
    before, after = tried.accuracy.get("base"), tried.accuracy.get("adapted")
    if before is None or after is None:
        return ""
    return f": accuracy {before:.0%} → {after:.0%} on {tried.judged} labels that it had not seen"
