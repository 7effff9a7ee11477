"""Jobs that another one keeps from running follow it; and what the learner's process does between jobs."""

import time
from typing import cast

import pytest
from rq.exceptions import NoSuchJobError
from tests.helpers.installation import CHOICES, WELL, Installation, Subject, check_well

from prepal.label_studio.client import LabelStudio
from prepal.learner import jobs
from prepal.learner import round as rounds
from prepal.learner.process import LearnerJob, LearnerWorker
from prepal.project import Project, all_projects
from prepal.queues import locks
from prepal.queues.requests import LEARN, QUEUES, mark, queue


def test_a_round_that_another_one_keeps_from_running_follows_it(here: Installation, sick: Subject) -> None:
    sick.label(sick.tasks[0], "A")
    facts, done = sick.project.facts, []

    def meanwhile(name: str) -> None:
        if name == "update_prediction" and not done:
            done.append(name)
            sick.label(sick.tasks[1], "B")
            # Another process takes the job.
            jobs.round(1)
            assert not here.connection.exists(mark("round", 1))

    sick.label_studio.before_call = meanwhile
    jobs.round(1)
    record = sick.project.round
    assert record is not None
    assert record.facts == facts < sick.project.facts
    assert here.connection.exists(mark("round", 1))
    here.work()
    sick.check()


def test_the_seconds_of_a_rounds_parts_are_those_of_the_whole_round(here: Installation, sick: Subject) -> None:
    for task in sick.tasks[:6]:
        sick.label(task, CHOICES[task % 2])
    ends = []
    began = time.perf_counter()
    record = rounds.run(
        sick.project,
        here.learner.memories.of(1),
        here.table,
        cast(LabelStudio, sick.label_studio),
        here.learner.choosing,
        lambda: ends.append(time.perf_counter()),
    )
    assert record is not None
    # The last thing before the record is written is to look whether the lock is still held.
    assert sum(record.seconds.values()) == pytest.approx(ends[-1] - began, rel=0.1)
    assert min(record.seconds.values()) > 0


@pytest.mark.parametrize(
    ("job", "lock", "next_one"),
    [("reconcile", ":reading", "read"), ("read", ":reading", "read"), ("judge", ":figures", "judge"),
     ("freshen", "", "round"), ("round", "", "freshen")],
)  # fmt: skip
def test_no_job_is_lost_because_somebody_who_is_no_more_was_at_it(
    here: Installation, sick: Subject, job: str, lock: str, next_one: str
) -> None:
    with locks.held(here.connection, f"prepal:lock:1{lock}"):
        calls = sick.label_studio.calls
        getattr(jobs, job)(1)
        assert sick.label_studio.calls == calls
    assert here.connection.smembers(sick.project.key(f"missed{lock}")) == {job.encode()}
    getattr(jobs, next_one)(1)
    assert job == next_one or here.connection.exists(mark(job, 1))
    assert not here.connection.exists(sick.project.key(f"missed{lock}"))


def test_a_label_that_comes_while_the_rest_is_published_does_not_wait_for_it(here: Installation, sick: Subject) -> None:
    sick.project.fresh_round = 0
    sick.project.begin_publication()
    written = []

    def meanwhile(name: str) -> None:
        if name == "update_prediction":
            written.append(name)
            if len(written) == 1:
                sick.label(sick.tasks[0], "A")
                queue(here.connection, LEARN).empty()
                # The main thread takes the job from the queue at once, and is refused the lock.
                jobs.round(1)

    sick.label_studio.before_call = meanwhile
    jobs.freshen(1)
    assert 0 < len(written) <= 5
    assert here.connection.exists(mark("round", 1))
    sick.label_studio.before_call = lambda _: None
    here.work()
    sick.check()


def test_figures_are_not_lost_because_something_else_runs_meanwhile(here: Installation, sick: Subject) -> None:
    for task in sick.tasks:
        sick.label(task, CHOICES[task % 2])
    sick.project.add_audits(sick.tasks)
    jobs.round(1)
    with locks.held(here.connection, "prepal:lock:1"):
        here.connection.delete(mark("judge", 1))
        jobs.judge(1)
    assert sick.project.round is not None
    assert sick.project.round.accuracy is None
    jobs.tail(1)
    here.work()
    assert sick.project.round is not None
    assert sick.project.round.accuracy is not None


def test_the_learners_queues_know_no_other_kind_of_job(here: Installation) -> None:
    worker = LearnerWorker(here.learner)
    assert {one.job_class for one in worker.queues} == {LearnerJob}
    job = queue(here.connection, LEARN).enqueue("os.system", "true")
    here.connection.hset(f"rq:job:{job.id}", "status", "nonsense")
    with pytest.raises(NoSuchJobError):
        LearnerJob.fetch(job.id, here.connection, worker.serializer)


def test_what_is_no_number_of_a_project_is_none(here: Installation, sick: Subject) -> None:
    here.connection.sadd("prepal:projects", "x", "", "-1", b"\xff", "3.5")
    assert [one.id for one in all_projects(here.connection)] == [1, WELL]
    here.maintain()
    here.compare()
    sick.check()


def test_a_forgotten_projects_memory_is_let_go_and_no_job_runs_for_it(here: Installation, sick: Subject) -> None:
    assert len(here.learner.memories) == 2
    sick.project.forget()
    here.maintain()
    assert len(here.learner.memories) == 1
    calls = sick.label_studio.calls
    for job in QUEUES:
        getattr(jobs, job)(1)
    assert sick.label_studio.calls == calls
    assert not here.connection.exists(sick.project.key("round"), sick.project.key("missed"), sick.project.key("begun"))
    check_well(here)


def test_the_first_maintenance_of_a_process_compares_everything_and_later_ones_when_it_is_time(
    here: Installation,
) -> None:
    worker = LearnerWorker(here.learner)
    worker.maintain()
    assert all(here.connection.exists(mark("reconcile", number)) for number in (1, WELL))
    here.work()
    worker.maintain()
    assert not any(here.connection.exists(mark("reconcile", number)) for number in (1, WELL))
    here.connection.delete(Project(here.connection, 1).key("read-again"))
    worker.maintain()
    assert here.connection.exists(mark("reconcile", 1))
