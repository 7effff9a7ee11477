"""Whatever a project is, and whatever goes wrong for it: it is told, tried again, and touches no other project."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rq.exceptions import NoSuchJobError
from tests.helpers.installation import CHOICES, Installation, Subject
from tests.helpers.label_studio_in_memory import BACKEND_URL

from prepal.doctor.examination import examine
from prepal.label_studio.api import NotFoundError, UnavailableError
from prepal.learner import jobs
from prepal.learner.learner import Learner
from prepal.learner.process import LearnerJob, LearnerWorker
from prepal.project import Project, all_projects, mend
from prepal.queues import locks
from prepal.queues.requests import LEARN, QUEUES, mark, queue, request, request_sync
from prepal.reports import metrics, page
from prepal.server.app import create_app
from prepal.server.model import PrepalModel

# Of the numbers from 1 on, this project is the healthy one.
WELL = 999


@pytest.fixture
def install(redis: redis.Redis, redis_url: str, tmp_path: Path) -> Callable[..., Installation]:
    """Makes an installation with projects 1, 2, 3, … of so many tasks, and a healthy one."""

    def make(*tasks: int) -> Installation:
        return Installation(redis, redis_url, tmp_path, {**dict(enumerate(tasks, start=1)), WELL: 12})

    return make


@pytest.fixture
def here(install: Callable[..., Installation]) -> Installation:
    return install(12)


@pytest.fixture
def sick(here: Installation) -> Subject:
    return here.subjects[1]


def check_well(here: Installation) -> None:
    """The healthy project goes on: a label leads to a round, and what is served is its head."""
    here.subjects[WELL].label_next()
    here.work()
    here.subjects[WELL].check()


def look(here: Installation, *numbers: int) -> dict[int, Any]:
    """Everything that people look at; returns what the pages of some projects tell."""
    client = create_app(here.settings).test_client()
    for path in ("/", "/metrics", f"/projects/{WELL}.json"):
        assert client.get(path).status_code == 200, path
    for number in numbers:
        for path in (f"/projects/{number}", f"/projects/{number}.json", f"/projects/{number}/accuracy.svg"):
            assert client.get(path).status_code == 200, path
        tasks = [{"id": task} for task in [*here.subjects[number].tasks, 4711]]
        asked = {"project": f"{number}.1", "tasks": tasks}
        assert len(client.post("/predict", json=asked).json["results"]) == len(tasks)
    return {number: client.get(f"/projects/{number}.json").json for number in numbers}


# -- projects of every kind ----------------------------------------------------------------------------------


def all_labelled(_: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label(task, CHOICES[task % 2])


def all_skipped(_: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label(task, skip=True)


def all_empty(_: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label(task)


def all_without_text(_: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label_studio.edit_task(task, {"text": "", "other": task})


def all_gone(_: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label_studio.delete_task(task)


def one_choice_in_use(_: Installation, it: Subject) -> None:
    for task in it.tasks[:8]:
        it.label(task, "A")


def labels_of_no_choice(_: Installation, it: Subject) -> None:
    for task in it.tasks[:8]:
        it.label(task, "a choice of yesterday")


def all_refused(here: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label_studio.edit_task(task, {"text": f"refused {task}"})
    request_sync(here.connection, it.number, full=True)
    for job in ("reconcile", "read"):
        getattr(jobs, job)(it.number)
    for key in here.waiting.ids():
        here.waiting.set_aside(key, "the encoder says no")


def all_the_same(_: Installation, it: Subject) -> None:
    for task in it.tasks:
        it.label_studio.edit_task(task, {"text": "the same"})


def half_of_them_twice(_: Installation, it: Subject) -> None:
    for task in it.tasks[::2]:
        it.label(task, "A", by=1)
        it.label(task, "B", by=2)


KINDS = [
    all_labelled,
    all_skipped,
    all_empty,
    all_without_text,
    all_gone,
    one_choice_in_use,
    labels_of_no_choice,
    all_refused,
    all_the_same,
    half_of_them_twice,
]


@pytest.mark.parametrize("tasks", [0, 1, 2, 12])
def test_a_project_of_any_kind_goes_the_whole_way(install: Callable[..., Installation], tasks: int) -> None:
    kinds = KINDS if tasks else [all_gone]
    here = install(*[tasks] * len(kinds))
    several = [subject for number, subject in here.subjects.items() if number != WELL]
    for kind, subject in zip(kinds, several, strict=True):
        kind(here, subject)
    here.compare()
    here.maintain()
    here.work()
    for number, told in look(here, *(subject.number for subject in several)).items():
        assert told["troubles"] == [], kinds[number - 1].__name__
        assert told["up_to_date"], kinds[number - 1].__name__
        here.subjects[number].check()
    check_well(here)
    # And it goes on when there is something to label again.
    for subject in several:
        subject.label_studio.import_tasks({"text": f"another {n}"} for n in range(6))
    here.compare()
    for subject in several:
        task = subject.label_studio.next(2)
        assert task is not None, kinds[subject.number - 1].__name__
        subject.label(task, "B", by=2)
    here.work()
    for subject in several:
        subject.check()


# -- what cannot be read -------------------------------------------------------------------------------------

KEYS = """
    accuracies annotations arrived audits backend-url before begun clock compared created encoder expected facts fresh
    gone info judged labels-before last-task left looked-until missed missed:figures missed:reading overtaken postponed
    predictions:0 predictions:count predictions:pages publications ranking read-annotations read-until reading-s
    removed-annotations removed-tasks round rules score-floor seen:0 seen:count seen:pages shown tasks-version texts:0
    texts:count texts:pages touched-annotations troubles unembeddable vectors-version
"""
NAMES = KEYS.split()
# Of these only whether they are there is asked, and they end by themselves.
ONLY_THERE = {"read-again", "serving", "unread"}
BROKEN: list[Callable[[redis.Redis, str], Any]] = [
    lambda r, key: r.set(key, "x"),
    lambda r, key: r.set(key, b"\xff\xfe"),
    lambda r, key: r.set(key, '{"a": [1]}'),
    lambda r, key: r.rpush(key, "x"),
    lambda r, key: r.hset(key, mapping={"x": "y", "1": "{}", b"\xff": "["}),
    lambda r, key: r.sadd(key, "x"),
    lambda r, key: r.zadd(key, {"x": 1.5}),
]


def test_the_keys_that_are_broken_below_are_all_that_a_project_has(here: Installation, sick: Subject) -> None:
    for task in sick.tasks[:6]:
        sick.label(task, CHOICES[task % 2])
    here.work()
    names = [
        key.decode().removeprefix(sick.project.key("")) for key in here.connection.scan_iter(sick.project.key("*"))
    ]
    assert {name.partition(":")[0] for name in names} - ONLY_THERE <= {name.partition(":")[0] for name in NAMES}


def test_what_redis_has_of_a_project_and_nobody_can_read_is_made_anew(
    install: Callable[..., Installation],
) -> None:
    here = install(*[6] * len(NAMES))
    several = [subject for number, subject in here.subjects.items() if number != WELL]
    for subject in several:
        subject.label(subject.tasks[0], "A")
    here.work()
    for name, subject in zip(NAMES, several, strict=True):
        key = subject.project.key(name)
        here.connection.delete(key)
        BROKEN[subject.number % len(BROKEN)](here.connection, key)
    client = create_app(here.settings).test_client()
    for path in ("/", "/metrics", f"/projects/{WELL}.json"):
        assert client.get(path).status_code == 200, path
    for name, subject in zip(NAMES, several, strict=True):
        answer = client.get(f"/projects/{subject.number}.json")
        assert answer.status_code in (200, 503), name
        assert answer.status_code == 200 or "cannot be read" in answer.json["error"], name
        subject.label_studio.annotate(subject.tasks[1], "B")
    here.maintain()
    here.compare()
    check_well(here)
    for subject in several:
        subject.rest()
    for name, subject in zip(NAMES, several, strict=True):
        if name in ("left", "backend-url"):
            # What can be read is believed: here, that somebody wants it left alone, until it is connected again.
            subject.project.left, subject.project.backend_url = "", BACKEND_URL
    here.maintain()
    here.compare()
    for name, subject in zip(NAMES, several, strict=True):
        assert mend(subject.project) == [], name
        subject.check()
    look(here, *(subject.number for subject in several))


@pytest.mark.parametrize(("name", "content"), [("clock", ""), ("facts", ""), ("texts:0", b"\xff" * 64)])
def test_what_can_be_read_and_cannot_be_used_is_made_anew(
    here: Installation, sick: Subject, name: str, content: str | bytes
) -> None:
    here.connection.set(sick.project.key(name), content)
    for _ in range(2):
        here.compare()
        sick.rest()
    here.compare()
    check_well(here)
    sick.check()


@pytest.mark.parametrize(
    "found", [{"labels": 3, "kappas": [], "a_field_of_tomorrow": 1}, {"kappas": None}, {"labels": {}}]
)
def test_a_round_goes_on_from_the_record_of_another_release(
    here: Installation, sick: Subject, found: dict[str, Any]
) -> None:
    record = sick.project.round
    assert record is not None
    sick.project.finish_round(replace(record, stability=found))
    look(here, sick.number)
    sick.label_next()
    here.work()
    sick.check()


def test_a_redis_that_has_lost_everything_is_as_before_after_two_comparisons(here: Installation, sick: Subject) -> None:
    for task in sick.tasks[:6]:
        sick.label(task, CHOICES[task % 2])
    here.work()
    here.connection.flushdb()
    for subject in here.subjects.values():
        subject.project.register()
    here.another_learner()
    here.compare()
    here.compare()
    sick.check()
    check_well(here)


# -- what fails ----------------------------------------------------------------------------------------------

CALLS = [
    "project", "backends", "tasks", "whole_tasks", "predictions", "create_predictions", "create_prediction",
    "update_prediction", "delete_prediction", "update_project", "postponed",
]  # fmt: skip
ERRORS = [UnavailableError("Label Studio answered 500."), NotFoundError("Gone."), KeyError("id")]


def give_reasons_for_every_call(it: Subject) -> None:
    tasks, label_studio = it.tasks, it.label_studio
    it.label(tasks[0], "A")
    label_studio.import_tasks([{"text": "new"}])
    label_studio.edit_task(tasks[1], {"text": "edited"})
    for row in label_studio.predictions(project=it.number)[:2]:
        label_studio.update_prediction(row["id"], {"score": None})
    label_studio.create_prediction({**label_studio.predictions(task=tasks[2])[0], "score": 0.1})
    for task in tasks[3:]:
        label_studio.delete_prediction(label_studio.predictions(task=task)[0]["id"])
    it.project.set_overtaken({tasks[4]: [1.0, 0.0]})


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_call_to_label_studio_that_fails_is_this_projects_trouble_until_it_goes_well(
    install: Callable[..., Installation], error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    here = install(*[12] * len(CALLS))
    several = [subject for number, subject in here.subjects.items() if number != WELL]
    asked: set[str] = set()

    def fail(call: str, name: str) -> None:
        if name == call:
            asked.add(name)
            raise error

    for call, subject in zip(CALLS, several, strict=True):
        give_reasons_for_every_call(subject)
        subject.label_studio.before_call = lambda name, call=call: fail(call, name)
    here.compare()
    here.maintain()
    here.work()
    check_well(here)
    assert asked == set(CALLS)
    told = look(here, *(subject.number for subject in several))
    for call, subject in zip(CALLS, several, strict=True):
        troubles = subject.project.troubles()
        # That a prediction is not there is nothing that goes wrong, and that a project is not, is not believed at once.
        assert troubles or isinstance(error, NotFoundError), call
        assert [one["what"] for one in told[subject.number]["troubles"]] == [trouble.what for trouble in troubles]
        for trouble in troubles:
            assert f"project {subject.number}: {trouble.job} failed (1 times)" in caplog.text
            assert trouble.until > trouble.since + 5
            assert trouble.what in (str(error), f"{type(error).__name__}: the learner's log has more of it.")
        subject.label_studio.before_call = lambda _: None
        subject.rest()
    here.maintain()
    here.work()
    here.compare()
    for subject in several:
        subject.check()


def test_a_trouble_is_told_everywhere_and_rests_for_longer_each_time(here: Installation, sick: Subject) -> None:
    def fail(name: str) -> None:
        if name == "tasks":
            raise ZeroDivisionError

    sick.label_studio.before_call = fail
    pauses = []
    for count in range(1, 9):
        request(here.connection, "reconcile", 1)
        here.work()
        (trouble,) = sick.project.troubles()
        assert trouble.count == count
        pauses.append(trouble.until - time.time())
        calls = sick.label_studio.calls
        request(here.connection, "reconcile", 1)
        here.work()
        assert sick.label_studio.calls == calls, "it rests"
        ended = here.connection.hget(sick.project.key("troubles"), "reconcile").replace(
            str(trouble.until).encode(), b"0"
        )
        here.connection.hset(sick.project.key("troubles"), "reconcile", ended)
    assert pauses == pytest.approx([10, 20, 40, 80, 160, 320, 600, 600], abs=2)
    assert "reconcile failed 8 times" in look(here, 1)[1]["troubles"][0]["told"]
    assert "reconcile failed 8 times" in page.overview(here.connection)[0]["troubles"][0]
    measured = metrics.render(here.connection, here.waiting).decode()
    assert 'prepal_project_failures{project="1",step="reconcile"} 8.0' in measured
    found = {finding.name: finding for finding in examine(here.settings, 1)}
    assert found["troubles"].state == "problem"
    assert "reconcile failed 8 times" in found["troubles"].what
    sick.label_studio.before_call = lambda _: None
    here.maintain()
    here.compare()
    sick.check()


def test_label_studio_that_does_not_answer_is_asked_again_within_half_a_minute(sick: Subject) -> None:
    def fail(_: str) -> None:
        raise UnavailableError("Label Studio does not answer.")

    sick.label_studio.before_call = fail
    for _ in range(8):
        sick.rest()
        jobs.reconcile(1)
    trouble = sick.project.trouble("reconcile")
    assert trouble is not None
    assert trouble.count >= 8
    assert 20 < trouble.until - time.time() <= 30


def test_who_asks_for_a_training_has_everything_tried_again_at_once(here: Installation, sick: Subject) -> None:
    sick.project.add_trouble("round", "It failed.", 600)
    sick.project.add_trouble("reconcile", "It failed.", 600)
    sick.label(sick.tasks[0], "A")
    here.work()
    record = sick.project.round
    assert record is not None
    assert record.facts < sick.project.facts
    PrepalModel(sick.project).fit("START_TRAINING", {})
    here.work()
    sick.check()


def test_a_redis_that_is_lost_is_nobodys_trouble(sick: Subject) -> None:
    def lose(_: str) -> None:
        raise ConnectionLost

    sick.label_studio.before_call = lose
    with pytest.raises(ConnectionLost):
        jobs.reconcile(1)
    assert sick.project.troubles() == []


class ConnectionLost(redis.ConnectionError):
    """As of a Redis that is started anew."""


# -- processes that end --------------------------------------------------------------------------------------


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


# -- locks ---------------------------------------------------------------------------------------------------


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


# -- the process ---------------------------------------------------------------------------------------------


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
