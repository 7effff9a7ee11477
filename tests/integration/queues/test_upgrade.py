"""Jobs that wait in Redis while one release takes the place of another are done by the new one."""

from pathlib import Path

import redis
from tests.helpers import release_before
from tests.helpers.installation import Installation

from prepal.learner.process import LearnerJob
from prepal.queues.requests import LEARN, QUEUES, SYNC, function
from prepal.queues.rq_worker import OwnWorker


def test_the_learner_does_all_that_the_release_before_put_on_its_queues(
    redis: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    here = Installation(redis, redis_url, tmp_path, {release_before.PROJECT: 12})
    it = here.subjects[release_before.PROJECT]
    # Nobody told of it: the comparison that waits finds it, and the round that follows learns from it.
    it.label_studio.annotate(it.tasks[0], "A")
    planted = release_before.plant(redis, LEARN, SYNC)
    # It knew all of them but one.
    assert {job.description.partition(" ")[0] for job in release_before.JOBS} == {*QUEUES, "embed"} - {"second_looks"}
    done = []
    for queue in (SYNC, LEARN):
        worker = OwnWorker([queue], LearnerJob, redis, maintenance_s=1000)
        while found := worker.dequeue_job_and_maintain_ttl(None):
            worker.execute_job(*found)
            done.append(found[0].func_name)
        assert len(worker.queues[0].failed_job_registry) == 0
    assert {function(job) for job in QUEUES} <= set(done)
    # What went well leaves nothing; a job that cannot be read stays.
    assert not redis.exists(*planted)
    here.work()
    it.check()
