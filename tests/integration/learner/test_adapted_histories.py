"""Whatever becomes of encoders, no round mixes their vectors, and each task is ranked."""

import os
from random import Random

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.helpers.adapted import check, restart
from tests.helpers.installation import BASE, Installation

from prepal.learner import jobs
from prepal.learner.learner import Learner
from prepal.project import Adaptation
from prepal.queues.requests import LEARN, QUEUES, SYNC, mark, queue, request_sync
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import text_ids

# CONTRIBUTING.md says how to try more.
HISTORIES = int(os.environ.get("PREPAL_TEST_HISTORIES", "60")) // 3


class Story:
    """An installation to which anything happens that has to do with encoders, one step after the other."""

    def __init__(self, here: Installation, seed: int) -> None:
        self.here = here
        self.it = here.subjects[1]
        self.random = Random(seed)
        self.learners = [here.learner, here.another_learner()]
        # Vectors come while Label Studio is asked, too, in the middle of any job.
        self.it.label_studio.before_call = lambda _: self.embed_a_few() if self.random.random() < 0.1 else None

    def label(self) -> None:
        self.it.label_next()

    def import_tasks(self) -> None:
        count = self.random.randint(1, 4)
        self.it.label_studio.import_tasks({"text": f"imported {self.random.random()}"} for _ in range(count))
        request_sync(self.here.connection, 1)

    def edit_task(self) -> None:
        self.it.label_studio.edit_task(self.random.choice(self.it.tasks), {"text": f"edited {self.random.random()}"})

    def adapt(self) -> None:
        self.here.adapt(self.it)

    def adapt_and_end(self) -> None:
        self.here.adapt(self.it)
        self.here.connection.delete(mark("reconcile", 1))

    def adapt_in_vain(self) -> None:
        self.it.project.note_adaptation(Adaptation(note="It is no better.", finished_at=1.0), text_ids([]))

    def embed_a_few(self) -> None:
        self.here.embed(most=self.random.randint(1, 12))

    def embed_all(self) -> None:
        self.here.embed()

    def refuse_a_text(self) -> None:
        encoders = [self.here.settings.prepal_encoder, *self.it.project.adapted_encoders()]
        waits = WaitingTexts(self.here.connection, self.random.choice(encoders))
        if ids := sorted(waits.ids()):
            key = self.random.choice(ids)
            waits.finish([key], {key: "too odd"})

    def switch_adapting(self) -> None:
        self._begin(prepal_adapt=self.random.choice(["auto", "off"]))

    def change_base(self) -> None:
        self._begin(prepal_encoder=self.random.choice([BASE, "another"]))

    def compare(self) -> None:
        request_sync(self.here.connection, 1, full=True)

    def maintain(self) -> None:
        self.here.maintain()

    def work(self) -> None:
        """Let either learner do what waits, until nothing does; nothing is embedded but by chance."""
        for _ in range(200):
            waiting = [job for job in QUEUES if self.here.connection.exists(mark(job, 1))]
            for name in (LEARN, SYNC):
                queue(self.here.connection, name).empty()
            if not waiting:
                return
            Learner.of_this_process = self.random.choice(self.learners)
            getattr(jobs, self.random.choice(waiting))(1)
        raise AssertionError(f"there is no end to {waiting}")

    def end(self) -> None:
        """All is embedded and compared."""
        self.it.label_studio.before_call = lambda _: None
        for _ in range(2):
            request_sync(self.here.connection, 1, full=True)
            self.work()
            self.here.embed()
            self.work()

    def _begin(self, **changed: str) -> None:
        restart(self.here, **changed)
        self.learners = [self.here.learner, self.here.another_learner()]


HAPPENINGS = [
    name for name, what in vars(Story).items() if callable(what) and name not in ("__init__", "_begin", "end")
]


@given(st.integers(0, 2**32), st.lists(st.sampled_from(HAPPENINGS), max_size=30))
@settings(
    max_examples=HISTORIES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_becomes_of_encoders_no_round_mixes_them_and_each_task_is_ranked(
    redis: redis.Redis, redis_url: str, tmp_path_factory: pytest.TempPathFactory, seed: int, happenings: list[str]
) -> None:
    redis.flushdb()
    here = Installation(redis, redis_url, tmp_path_factory.mktemp("vectors"), {1: 12})
    story = Story(here, seed)
    for name in happenings:
        getattr(story, name)()
        if story.random.random() < 0.7:
            story.work()
            check(here, story.it, *story.learners)
    story.end()
    check(here, story.it, *story.learners)
    assert story.it.project.troubles() == []
    assert story.it.project.encoder == here.learner.wanted(story.it.project)
    assert len(WaitingTexts(redis, story.it.project.encoder)) == 0
    story.it.check()
