"""A learner may be killed at any moment: whatever it was at is done by the next one, and no job kills for ever."""

import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.helpers.installation import (
    CHOICES,
    WELL,
    Installation,
    Subject,
    check_well,
    give_reasons_for_every_call,
)

from prepal.learner import jobs
from prepal.learner.learner import Learner
from prepal.queues.requests import request_sync


class Killed(BaseException):
    """The process is no more."""


def kill(_: str) -> None:
    raise Killed


@pytest.mark.parametrize("job", ["round", "reconcile", "read", "verify", "tail"])
def test_a_job_that_ended_its_learner_runs_again_at_once_and_rests_when_it_does_so_again(
    here: Installation, sick: Subject, job: str
) -> None:
    give_reasons_for_every_call(sick)
    sick.label_studio.before_call = kill
    with pytest.raises(Killed):
        getattr(jobs, job)(1)
    assert sick.project.troubles() == []
    here.another_learner()
    with pytest.raises(Killed):
        getattr(jobs, job)(1)
    (trouble,) = sick.project.troubles()
    assert (trouble.job, trouble.what, trouble.count) == (job, "The learner ended in the middle of it.", 1)
    here.another_learner()
    calls = sick.label_studio.calls
    sick.rest()
    getattr(jobs, job)(1)
    (trouble,) = sick.project.troubles()
    assert sick.label_studio.calls == calls
    assert trouble.until > time.time()
    sick.label_studio.before_call = lambda _: None
    check_well(here)
    sick.rest()
    here.compare()
    sick.check()


def test_a_job_that_one_unlucky_process_left_is_no_trouble_after_it_went_well(
    here: Installation, sick: Subject
) -> None:
    sick.label_studio.before_call = kill
    with pytest.raises(Killed):
        jobs.reconcile(1)
    sick.label_studio.before_call = lambda _: None
    here.another_learner()
    here.compare()
    sick.check()


class Mortal(redis.Connection):
    """Of a process that is no more after so many commands."""

    left = 10**9

    def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        if Mortal.left <= 0:
            raise Killed
        Mortal.left -= 1
        super().send_packed_command(*args, **kwargs)


def something_happens(it: Subject, random: Random) -> None:
    """What there is to do for a learner."""
    tasks, label_studio = it.tasks, it.label_studio
    for _ in range(3):
        it.label(random.choice(tasks), random.choice(CHOICES))
    label_studio.edit_task(random.choice(tasks), {"text": random.choice(["edited", f"text 0 of project {WELL}"])})
    label_studio.delete_task(tasks[random.randrange(len(tasks))])
    label_studio.import_tasks([{"text": f"new {random.random()}"}, {"text": f"text 1 of project {WELL}"}])
    row = random.choice(label_studio.predictions(project=it.number))
    label_studio.update_prediction(row["id"], {"score": random.choice([None, 0.2, 0.95])})


@given(st.integers(0, 2**32), st.lists(st.integers(1, 250), min_size=1, max_size=4))
@settings(
    max_examples=40,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_process_may_be_killed_at_any_command_of_its(
    install: Callable[..., Installation], redis_url: str, seed: int, commands: list[int]
) -> None:
    random = Random(seed)
    here = install(12)
    here.connection.flushdb()
    here = install(12)
    it = here.subjects[1]
    for left in commands:
        something_happens(it, random)
        request_sync(here.connection, 1, full=True)
        pool = redis.ConnectionPool.from_url(redis_url, connection_class=Mortal)
        Mortal.left = left
        with suppress(Killed):
            here.another_learner(redis.Redis(connection_pool=pool))
            here.work()
        Mortal.left = 10**9
        pool.disconnect()
        here.another_learner()
        if random.random() < 0.5:
            it.project.end_trouble()
            here.work()
    for _ in range(2):
        # What failed because of what is gone from Label Studio has rested.
        it.project.end_trouble()
        here.compare()
    here.maintain()
    here.work()
    it.check()
    now = Learner.of_this_process
    assert now is not None
    with_text = [task for task in it.tasks if it.label_studio.data[task]["text"]]
    assert now.memories.of(1).task_ids.tolist() == with_text
