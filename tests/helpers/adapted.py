"""What is seen of a ranking that is to rest on an encoder that learnt from the labels."""

from pathlib import Path
from typing import Any

import numpy as np
import redis

from prepal.learner.learner import Learner
from prepal.queues.waiting import WaitingTexts
from prepal.reports.status import report
from prepal.vectors import VectorTable, table_name
from tests.helpers.installation import CHOICES, Installation, Subject, vectors_by


def six_labelled(connection: redis.Redis, redis_url: str, folder: Path) -> Installation:
    """An installation with project 1, of whose thirty tasks six have a label."""
    here = Installation(connection, redis_url, folder, {1: 30})
    for task in here.subjects[1].tasks[:6]:
        here.subjects[1].label(task, CHOICES[task % 2])
    here.work()
    return here


def rounds(it: Subject) -> int:
    return it.project.round.number if it.project.round else 0


def told(here: Installation, it: Subject) -> dict[str, Any]:
    return report(it.project, WaitingTexts.wanted(it.project, here.settings))


def waiting(here: Installation, encoder: str) -> int:
    return len(WaitingTexts(here.connection, encoder))


def restart(here: Installation, **changed: str) -> None:
    """The learner's process ends, and another one begins, with other settings."""
    here.settings = here.settings.model_copy(update=changed)
    here.learner = here.another_learner()
    here.maintain()


def check(here: Installation, it: Subject, *learners: Learner) -> None:
    """No memory mixes vectors of two encoders, and whatever has a vector of the ranking's encoder is ranked."""
    project, uri = it.project, here.settings.prepal_vectors
    for learner in learners or (here.learner,):
        memory = learner.memories.of(it.number)
        if not memory.table or memory.learner is None or memory.texts is None:
            continue
        learnt_by = str(memory.learnt[2])
        assert memory.table == table_name(learnt_by)
        texts = memory.texts[1]
        rows = memory.matrix.rows(texts)
        vectors = vectors_by(learnt_by, texts[rows >= 0].astype(str).tolist())
        assert np.array_equal(memory.vectors[rows[rows >= 0], :8], vectors)
    tasks, texts = project.task_texts()
    assert project.encoder is not None
    there = VectorTable(uri, project.encoder).contains(texts)
    labelled = {annotation.task for annotation in project.annotations().values()}
    ranking = project.ranking()
    assert ranking is not None
    assert set(ranking.task_ids.tolist()) == set(tasks[there].tolist()) - labelled


def ranked(it: Subject) -> list[int]:
    ranking = it.project.ranking()
    assert ranking is not None
    return list(ranking.task_ids.tolist())
