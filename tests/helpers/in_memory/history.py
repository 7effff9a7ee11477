"""A project to which anything happens, with real parts around it, but for Label Studio."""

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import redis

from prepal.errors import PrepalError
from prepal.label_studio.api import NotFoundError, UnavailableError
from prepal.learner import jobs
from prepal.learner.learner import Learner
from prepal.project import Project
from prepal.project.focus import Kind
from prepal.queues.asking import ask
from prepal.queues.requests import QUEUES, mark, request_sync
from prepal.queues.waiting import WaitingTexts
from prepal.server.model import PrepalModel
from prepal.settings import Settings
from prepal.vectors import VectorTable
from tests.helpers.label_studio_in_memory import BACKEND_URL, LabelStudioInMemory

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

    def change_focus(self) -> None:
        wanted: list[tuple[Kind, str]] = [("choice", "A"), ("words", TEXTS[1]), ("filter", f"title={TEXTS[0]}")]
        wanted += [("task", str(self._any_task())), ("doubt", ""), ("", "")]
        # Neither a project that cannot be served nor a task without a text has a focus.
        with suppress(PrepalError):
            ask(self.project, *self.random.choice(wanted), "the lead", self.random.choice([0, 2]))

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
