"""Whatever happens to a project, after one comparison with Label Studio everything is as Label Studio has it."""

import os
from collections.abc import Callable
from dataclasses import asdict
from random import Random
from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.helpers.label_studio_in_memory import BACKEND_URL, LabelStudioInMemory

from prepal.label_studio.api import NotFoundError, UnavailableError
from prepal.label_studio.order import without_prediction
from prepal.labels import label_config
from prepal.labels.events import read_annotation
from prepal.labels.label_config import UnembeddableError
from prepal.labels.settle import settle
from prepal.learner import jobs, judging
from prepal.learner.fitting import Choosing
from prepal.learner.learner import Learner
from prepal.learner.memory import Memory
from prepal.project import Project
from prepal.queues.requests import QUEUES, mark, queue, request_sync
from prepal.queues.waiting import WaitingTexts
from prepal.server.model import PrepalModel
from prepal.settings import Settings
from prepal.vectors import VectorTable, text_id

# CONTRIBUTING.md says how to try more.
HISTORIES = int(os.environ.get("PREPAL_TEST_HISTORIES", "60"))
PROJECT, PEOPLE, CHOICES = 7, (1, 2, 3), "ABC"
FIELDS = ("text", "title")


def config(field: str = "text", choices: str = CHOICES, multiple: bool = False) -> str:
    inner = "".join(f'<Choice value="{choice}"/>' for choice in choices)
    kind = "multiple" if multiple else "single"
    return (
        f'<View><Text name="text" value="${field}"/>'
        f'<Choices name="topic" toName="text" choice="{kind}">{inner}</Choices></View>'
    )


NO_CHOICES = '<View><Text name="text" value="$text"/><Labels name="l" toName="text"><Label value="x"/></Labels></View>'
CONFIGS = [config(), config("title"), config(choices="ABCD"), config(multiple=True), NO_CHOICES]
# Texts have vectors from the start, so that no history waits for an encoder; some tasks have none.
TEXTS = [f"ticket number {number}" for number in range(60)]


class Killed(BaseException):
    """The process is no more; nothing that it would have done is done."""


def sentence(random: Random) -> dict[str, Any]:
    """Data of a task."""
    return {field: random.choice(TEXTS) if random.random() > 0.05 else "" for field in FIELDS}


class History:
    """A project with real parts around it, but for Label Studio; its learners, and what happens to them."""

    def __init__(self, connection: redis.Redis, table: VectorTable, seed: int) -> None:
        self.random = random = Random(seed)
        self.connection = connection
        connection.flushdb()
        self.label_studio = LabelStudioInMemory(PROJECT, CONFIGS[0], {n + 1: sentence(random) for n in range(24)})
        self.project = Project(connection, PROJECT)
        self.table = table
        self.learners = [self._learner(), self._learner()]
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.backup = self.label_studio.backup()
        self.project.register()
        request_sync(connection, PROJECT, full=True)
        self.work()
        self.project.info  # noqa: B018

    # -- what happens -------------------------------------------------------------------------------------------

    def label(self) -> None:
        person = self.random.choice(PEOPLE)
        task = self.label_studio.next(person) if self.random.random() < 0.8 else self._any_task()
        if task is not None:
            count = self.random.choice([1, 1, 1, 2])
            self._tell("ANNOTATION_CREATED", self.label_studio.annotate(task, *self._choices(count), by=person))

    def relabel(self) -> None:
        if pk := self._any_annotation():
            self._tell("ANNOTATION_UPDATED", self.label_studio.relabel(pk, *self._choices(1)))

    def skip(self) -> None:
        person = self.random.choice(PEOPLE)
        if (task := self.label_studio.next(person)) is not None:
            self._tell("ANNOTATION_CREATED", self.label_studio.annotate(task, by=person, skip=True))

    def submit_empty(self) -> None:
        person = self.random.choice(PEOPLE)
        if (task := self.label_studio.next(person)) is not None:
            self._tell("ANNOTATION_CREATED", self.label_studio.annotate(task, by=person))

    def postpone(self) -> None:
        person = self.random.choice(PEOPLE)
        if (task := self.label_studio.next(person)) is not None:
            self.label_studio.postpone(task, person)

    def delete_annotation(self) -> None:
        if pk := self._any_annotation():
            self.label_studio.delete_annotation(pk)
            self._send("ANNOTATIONS_DELETED", {"annotations": [{"id": pk}]})

    def import_tasks(self) -> None:
        self.label_studio.import_tasks(sentence(self.random) for _ in range(self.random.randint(1, 8)))
        self._send("TASKS_CREATED", {})

    def import_labelled(self) -> None:
        (task,) = self.label_studio.import_tasks([sentence(self.random)])
        self.label_studio.annotate(task, *self._choices(1))
        self._send("TASKS_CREATED", {})

    def edit_task(self) -> None:
        if task := self._any_task():
            self.label_studio.edit_task(task, sentence(self.random))

    def delete_task(self) -> None:
        if task := self._any_task():
            self.label_studio.delete_task(task)
            self._send("TASKS_DELETED", {"tasks": [{"id": task}]})

    def lose_a_page(self) -> None:
        self.label_studio.unlisted = set(
            self.random.sample(sorted(self.label_studio.data), len(self.label_studio.data) // 3)
        )
        request_sync(self.connection, PROJECT, full=True)
        self.work()
        self.label_studio.unlisted = set()

    def back_up(self) -> None:
        self.backup = self.label_studio.backup()

    def restore(self) -> None:
        self.label_studio.restore(self.backup)

    def set_clock_back(self) -> None:
        self.label_studio.set_clock_back(3600 * self.random.random())

    def change_config(self) -> None:
        xml = self.label_studio.settings["label_config"] = self.random.choice(CONFIGS)
        self._send("PROJECT_UPDATED", {"project": {"id": PROJECT, "label_config": xml}})

    def change_rules(self) -> None:
        queues = ["REQUEUE_FOR_OTHERS", "REQUEUE_FOR_ME", "IGNORE_SKIPPED"]
        self.label_studio.settings["skip_queue"] = self.random.choice(queues)

    def write_scores(self) -> None:
        for row in self.label_studio.predictions(project=PROJECT)[: self.random.randint(1, 5)]:
            score = self.random.choice([None, 0, 0.3, 0.95, self.random.random()])
            self.label_studio.update_prediction(row["id"], {"score": score})

    def lose_events(self) -> None:
        self.events.clear()

    def answer_late(self) -> None:
        self.random.shuffle(self.events)

    def send_events(self) -> None:
        events, self.events = self.events, []
        for event, data in events:
            PrepalModel(self.project).fit(event, data)

    def send_again(self) -> None:
        self.events += self.events[-2:]

    def invent_event(self) -> None:
        raw = {"id": 5000 + self.random.randint(0, 3), "task": self._any_task(), "completed_by": 9}
        PrepalModel(self.project).fit("ANNOTATION_CREATED", {"annotation": raw})

    def fail_for_a_while(self) -> None:
        left = self.random.randint(0, 12)
        error = self.random.choice(
            [UnavailableError("Label Studio answered 500."), UnavailableError("404"), NotFoundError("It is gone.")]
        )

        def before(name: str) -> None:
            nonlocal left
            left -= 1
            # That a prediction is not found means what it says; that a project is not, may be a proxy's word.
            if left < 0 and (name == "project" or not isinstance(error, NotFoundError)):
                raise error

        self._work_with(before)

    def kill_in_the_middle(self) -> None:
        left = self.random.randint(0, 12)

        def before(_: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        self._work_with(before)

    def work(self) -> None:
        """Let either learner do what waits, until nothing does."""
        for _ in range(60):
            waiting = [job for job in QUEUES if self.connection.exists(mark(job, PROJECT))]
            if not waiting:
                return
            job = self.random.choice(waiting)
            Learner.of_this_process = self.random.choice(self.learners)
            try:
                getattr(jobs, job)(PROJECT)
            except Killed:
                place = self.learners.index(Learner.of_this_process)
                self.learners[place] = self._learner()
        raise AssertionError(f"there is no end to {waiting}")

    def compare(self) -> None:
        """What the learner does every two minutes, when nothing is in its way, and what follows from it."""
        self.send_events()
        for _ in range(2):
            self.project.end_trouble()
            request_sync(self.connection, PROJECT, full=True)
            self.work()

    # -- helpers ------------------------------------------------------------------------------------------------

    def _learner(self) -> Learner:
        return Learner(
            Settings(prepal_vectors=self.table.uri, prepal_encoder="encoder", prepal_backend_url=BACKEND_URL),
            self.connection,
            self.label_studio,  # type: ignore[arg-type]
            self.table,
            WaitingTexts(self.connection, "encoder"),
        )

    def _work_with(self, before: Callable[[str], None]) -> None:
        self.label_studio.before_call = before
        request_sync(self.connection, PROJECT, full=self.random.random() < 0.5)
        self.project.add_fact()
        try:
            self.work()
        finally:
            self.label_studio.before_call = lambda _: None

    def _choices(self, count: int) -> list[str]:
        return self.random.sample(CHOICES, count)

    def _any_task(self) -> int | None:
        return self.random.choice(sorted(self.label_studio.data)) if self.label_studio.data else None

    def _any_annotation(self) -> int | None:
        return self.random.choice(sorted(self.label_studio.raw_annotations) or [0]) or None

    def _tell(self, event: str, raw: dict[str, Any]) -> None:
        self._send(event, {"annotation": raw, "task": {"id": raw["task"]}})

    def _send(self, event: str, data: dict[str, Any]) -> None:
        self.events.append((event, {"project": {"id": PROJECT}, **data}))
        if self.random.random() < 0.7:
            self.send_events()


HAPPENINGS = [name for name, what in vars(History).items() if callable(what) and not name.startswith("_")]
HAPPENINGS.remove("compare")


def check(history: History) -> None:
    """Compare everything with what Label Studio has."""
    project, label_studio = history.project, history.label_studio
    assert project.troubles() == []
    info, record, ranking = project.info, project.round, project.ranking()
    assert info.label_config == label_studio.settings["label_config"]
    if info.label_config == NO_CHOICES:
        # Nothing else counts, until there is another config.
        assert info.problem
        return
    assert project.annotations() == {
        pk: read_annotation(raw, raw["task"]) for pk, raw in label_studio.raw_annotations.items()
    }
    served = label_config.parse(info.label_config)
    texts, without = {}, set()
    for task, data in label_studio.data.items():
        try:
            texts[task] = text_id(served.text(data))
        except UnembeddableError:
            without.add(task)
    assert project.texts_of(sorted(label_studio.data)) == texts
    assert set(project.unembeddable()) == without
    assert project.task_count() == len(label_studio.data)

    settled = settle(project.annotations(), served)
    assert record is not None
    assert ranking is not None
    assert record.facts == project.facts
    assert record.labels == len(settled.keys() & texts.keys())
    check_order(history, set(settled), texts.keys())
    check_figures(history)
    assert without_prediction(project) == 0


def check_order(history: History, labelled: set[int], with_text: Any) -> None:
    project, label_studio, record = history.project, history.label_studio, history.project.round
    ranking = project.ranking()
    assert record is not None
    assert ranking is not None
    if not project.prediction_count():
        return
    assert label_studio.settings["model_version"] == "PRepAL"
    pool = set(ranking.task_ids.tolist())
    assert pool <= with_text - labelled
    order = [task for task in label_studio.order() if task in pool]
    assert set(order) == pool
    assert order[: len(record.head)] == record.head
    # Everybody at work is served from the head, as long as anything is left that all of them can be given.
    people = {raw["completed_by"] for raw in label_studio.raw_annotations.values()}
    newest = [raw for _, raw in sorted(label_studio.raw_annotations.items())][-1:]
    for_all = {task for task in pool if all(label_studio.can_be_given(task, person) for person in people)}
    known = project.postponed()
    unknown = {task for task, drafts in label_studio.drafts.items() if drafts - known.get(task, set())}
    if for_all - unknown and newest:
        for task in set(record.head) - unknown - project.overtaken().keys():
            assert label_studio.can_be_given(task, newest[0]["completed_by"])
    for task in record.head_audit:
        assert label_studio.shown(task) == []


def check_figures(history: History) -> None:
    """The figures that are shown are those that somebody gets who knows nothing but what is stored."""
    project, record = history.project, history.project.round
    assert record is not None
    if not len(project.task_texts()[0]):
        return
    project.judged = ""
    found = judging.evidence(project, Memory(), history.table, Choosing("auto", 0.1))
    assert found is not None
    figures = judging.judge(found)
    assert record.accuracy == (None if figures.accuracy is None else asdict(figures.accuracy))
    assert record.suspected == figures.suspected


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> VectorTable:
    """Vectors of all texts and names that there can be."""
    table = VectorTable(str(tmp_path_factory.mktemp("vectors")), "encoder")
    rng, texts = np.random.default_rng(0), [*TEXTS, *"abcd"]
    table.append([text_id(text) for text in texts], rng.normal(size=(len(texts), 12)).astype(np.float16))
    return table


@given(st.integers(0, 2**32), st.lists(st.sampled_from(HAPPENINGS), max_size=40))
@settings(
    max_examples=HISTORIES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_after_a_comparison_everything_is_as_label_studio_has_it(
    redis: redis.Redis, table: VectorTable, seed: int, happenings: list[str]
) -> None:
    history = History(redis, table, seed)
    for name in happenings:
        getattr(history, name)()
        if history.random.random() < 0.8:
            history.work()
    history.compare()
    check(history)
    for name in set(QUEUES.values()):
        queue(redis, name).empty()
