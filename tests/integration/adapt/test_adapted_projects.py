"""The labels of a project become an adapted encoder in the vector cache, or a note why there is none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from tests.helpers.label_studio_in_memory import LabelStudioInMemory
from tests.integration.adapt.test_adaptation import QUICK, sentences

from prepal.label_studio.describe import describe
from prepal.label_studio.sync import Reader
from prepal.project import Adaptation, Project
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import AdaptedEncoders, VectorTable, encoders, text_id, text_ids
from prepal_workers.adapt.project import adapt_project
from prepal_workers.encoder.encoder import Encoder

PROJECT = 6
CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="topic" toName="text">'
    '<Choice value="later"/><Choice value="earlier"/></Choices></View>'
)
TEXTS, LABELS = sentences(400, 5)
CHOICES = ("later", "earlier")


class Labelled:
    """A project of sentences of which some are labelled, as Redis knows it."""

    def __init__(self, connection: redis.Redis, vectors: str, base: str, labels: int) -> None:
        self.vectors, self.base = vectors, base
        self.label_studio = LabelStudioInMemory(PROJECT, CONFIG, {n + 1: {"text": t} for n, t in enumerate(TEXTS)})
        self.project = Project(connection, PROJECT)
        self.project.register()
        self.label(range(labels))

    def label(self, places: range) -> None:
        for place in places:
            self.label_studio.annotate(place + 1, CHOICES[LABELS[place]])
        label_studio: Any = self.label_studio
        config = describe(self.project, label_studio)
        assert config is not None
        target = VectorTable(self.vectors, self.base), WaitingTexts(self.project.connection, self.base)
        reader = Reader(self.project, config, label_studio, [target])
        while reader.read_new_tasks():
            pass
        reader.reconcile()

    def adapt(self, **more: Any) -> Adaptation | None:
        label_studio: Any = self.label_studio
        return adapt_project(self.project, label_studio, self.base, self.vectors, wishes=QUICK, **more)


@pytest.fixture
def project(redis: redis.Redis, encoder: Path, tmp_path: Path) -> Labelled:
    return Labelled(redis, str(tmp_path / "vectors"), encoders.here(str(encoder)), 160)


def test_the_encoder_is_stored_and_noted_with_what_it_learnt(project: Labelled, tmp_path: Path) -> None:
    project.project.add_audits(range(1, 11))
    tried = project.adapt()
    assert tried is not None
    assert tried.encoder
    assert not tried.note
    known = project.project
    assert known.adapted == tried.encoder
    assert known.adaptation == tried
    assert encoders.base_of(tried.encoder) == project.base
    assert encoders.is_adapted(tried.encoder)
    learnt = set(known.learnt_by(tried.encoder).astype(str))
    audits = {text_id(text) for text in TEXTS[:10]}
    assert learnt == {text_id(text) for text in TEXTS[:160]} - audits
    assert AdaptedEncoders(project.vectors).names() == [tried.encoder]
    folder = tmp_path / "fetched"
    AdaptedEncoders(project.vectors).fetch(tried.encoder, folder)
    vectors = Encoder(project.base, folder=str(folder)).encode(TEXTS[:5]).astype(np.float32)
    base = Encoder(project.base).encode(TEXTS[:5]).astype(np.float32)
    assert (np.abs(vectors - base).max(axis=1) > 0.01).all()


def test_nothing_is_trained_before_labels_have_doubled(project: Labelled) -> None:
    assert project.adapt() is not None
    assert project.adapt() is None
    project.label(range(160, 300))
    assert project.adapt() is None


def test_what_is_no_better_leaves_the_encoder_that_there_was(project: Labelled) -> None:
    project.project.note_adaptation(Adaptation(base=project.base, labels=50, encoder="before@6-50-0"), text_ids([]))
    rng = np.random.default_rng(0)
    for raw in list(project.label_studio.raw_annotations):
        project.label_studio.relabel(raw, CHOICES[rng.integers(2)])
    project.label(range(0))
    tried = project.adapt()
    assert tried is not None
    assert not tried.encoder
    assert "no better" in tried.note
    assert tried.judged
    assert project.project.adapted == "before@6-50-0"
    assert AdaptedEncoders(project.vectors).names() == []


@pytest.mark.parametrize("happens", ["deleted", "configured anew"])
def test_a_project_that_changes_meanwhile_keeps_nothing(project: Labelled, happens: str) -> None:
    def meanwhile() -> None:
        if happens == "deleted":
            project.project.forget()
        else:
            project.label_studio.settings["label_config"] = CONFIG.replace("earlier", "sooner")
            label_studio: Any = project.label_studio
            describe(project.project, label_studio)

    assert project.adapt(watch=_At(30, meanwhile)) is None
    assert project.project.adapted == ""
    assert AdaptedEncoders(project.vectors).names() == []


class _At:
    """Does something once, after so many steps."""

    def __init__(self, steps: int, what: Callable[[], None]) -> None:
        self._left, self._what = steps, what

    def read(self, done: int, total: int) -> None: ...

    def epoch(self, epoch: Any) -> None: ...

    def step(self, done: int, total: int) -> None:
        assert done <= total
        self._left -= 1
        if not self._left:
            self._what()
