"""The adapt worker: one training of a project at a time, and whatever goes wrong is that project's trouble."""

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import ClassVar

import pytest
import redis
from tests.integration.adapt.test_adapted_projects import PROJECT, Labelled

from prepal.queues import locks
from prepal.queues.requests import ADAPT, ADAPT_JOB, adapting_lock, queue, request_adaptation
from prepal.queues.rq_worker import OwnJob, StoppableWorker
from prepal.queues.waiting import QUEUE as EMBED
from prepal.settings import Settings
from prepal.vectors import encoders
from prepal_workers.adapt.process import Adapter, Telling

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def project(redis: redis.Redis, encoder: Path, tmp_path: Path) -> Labelled:
    return Labelled(redis, str(tmp_path / "vectors"), encoders.here(str(encoder)), 60)


def work(connection: redis.Redis, project: Labelled, **more: str) -> None:
    """Run all jobs that wait."""
    label_studio = {"label_studio_url": NOBODY, "label_studio_api_key": "token"}
    given = {**label_studio, "prepal_encoder": project.base, "prepal_vectors": project.vectors, **more}
    stopping = Event()

    class Job(OwnJob):
        functions: ClassVar = {ADAPT_JOB: Adapter(Settings.model_validate(given), stopping).adapt}

    StoppableWorker([ADAPT], Job, connection, 15, stopping).work(burst=True, logging_level="WARNING")


def test_what_goes_wrong_is_the_projects_trouble(redis: redis.Redis, project: Labelled) -> None:
    for count in (1, 2):
        request_adaptation(redis, PROJECT)
        work(redis, project)
        trouble = project.project.trouble("adapt")
        assert trouble is not None
        assert trouble.count == count
        assert NOBODY in trouble.what
    assert len(queue(redis, ADAPT).failed_job_registry) == 0
    assert project.project.adapting == ""
    assert not redis.exists(adapting_lock(PROJECT))


def test_one_training_waits_at_most_and_none_while_another_one_runs(redis: redis.Redis, project: Labelled) -> None:
    for _ in range(3):
        request_adaptation(redis, PROJECT)
    assert len(queue(redis, ADAPT)) == 1
    work(redis, project)
    with locks.held(redis, adapting_lock(PROJECT)):
        request_adaptation(redis, PROJECT)
    assert len(queue(redis, ADAPT)) == 0


def test_a_second_worker_leaves_alone_what_one_is_at(redis: redis.Redis, project: Labelled) -> None:
    request_adaptation(redis, PROJECT)
    with locks.held(redis, adapting_lock(PROJECT)):
        work(redis, project)
    assert project.project.trouble("adapt") is None


@pytest.mark.parametrize("how", ["off", "forgotten", "few"])
def test_nothing_is_trained_where_nothing_is_to_be(redis: redis.Redis, project: Labelled, how: str) -> None:
    request_adaptation(redis, PROJECT)
    if how == "forgotten":
        project.project.forget()
    elif how == "few":
        project.project.delete_annotations(list(project.project.annotations())[:20])
    work(redis, project, **({"prepal_adapt": "off"} if how == "off" else {}))
    assert project.project.trouble("adapt") is None
    assert project.project.adapted == ""


def test_a_job_that_ended_its_workers_again_and_again_is_told_and_rests(redis: redis.Redis, project: Labelled) -> None:
    request_adaptation(redis, PROJECT)
    (job,) = queue(redis, ADAPT).get_jobs()
    job.meta["abandoned"] = 3
    job.save_meta()
    work(redis, project)
    trouble = project.project.trouble("adapt")
    assert trouble is not None
    assert "ended 3 times in the middle" in trouble.what
    assert project.project.is_to_be_adapted(60)


def test_on_the_same_device_texts_are_embedded_first_and_that_is_told(
    redis: redis.Redis, project: Labelled, wait_until: Callable[..., None]
) -> None:
    embedding = queue(redis, EMBED)
    assert len(embedding)  # the texts that were read
    step = Thread(target=Telling(project.project, Event(), shares_device=True).step, args=(1, 10))
    step.start()
    wait_until(lambda: "waiting" in project.project.adapting)
    assert step.is_alive()
    embedding.empty()
    step.join(60)
    assert not step.is_alive()
