"""A learner with real parts around it, but for Label Studio, and any number of projects."""

import secrets
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import redis
from numpy.typing import NDArray

from prepal.labels.events import read_annotation
from prepal.learner import jobs
from prepal.learner.learner import Learner
from prepal.learner.process import LearnerWorker
from prepal.project import Adaptation, Project
from prepal.queues.requests import LEARN, QUEUES, SYNC, mark, queue, request_sync
from prepal.queues.waiting import WaitingTexts
from prepal.server.app import create_app
from prepal.server.model import PrepalModel
from prepal.settings import Settings
from prepal.vectors import AdaptedEncoders, VectorTable, text_ids
from tests.helpers.label_studio_in_memory import BACKEND_URL, LabelStudioInMemory

# Of the numbers from 1 on, this project is the healthy one.
WELL = 999
CHOICES = "AB"
BASE = "encoder"
CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="topic" toName="text">'
    + "".join(f'<Choice value="{choice}"/>' for choice in CHOICES)
    + "</Choices></View>"
)


class Subject:
    """One project: what Label Studio has of it, and what is known of it."""

    def __init__(self, connection: redis.Redis, number: int, tasks: int) -> None:
        first = 10_000 * number
        data = {first + n: {"text": f"text {n} of project {number}"} for n in range(tasks)}
        self.label_studio = LabelStudioInMemory(number, CONFIG, data)
        self.label_studio.begin_ids(first + 1000)
        self.number = number
        self.project = Project(connection, number)

    @property
    def tasks(self) -> list[int]:
        return sorted(self.label_studio.data)

    def label(self, task: int, *choices: str, **how: Any) -> None:
        """Somebody submits a task, and Label Studio tells it."""
        raw = self.label_studio.annotate(task, *choices, **how)
        PrepalModel(self.project).fit("ANNOTATION_CREATED", {"annotation": raw})

    def label_next(self) -> None:
        """Whoever labels here always labels what is served next, if there is anything."""
        task = self.label_studio.next(1)
        if task is not None:
            self.label(task, CHOICES[task % len(CHOICES)])

    def rest(self, seconds: float = -1.0) -> None:
        """Let whatever failed rest for so long from now on; by itself, no longer."""
        for trouble in self.project.troubles():
            self.project.add_trouble(trouble.job, trouble.what, longest_s=seconds)

    def check(self) -> None:
        """Everything is as Label Studio has it, and people are given the newest round's head."""
        project, record, label_studio = self.project, self.project.round, self.label_studio
        assert project.troubles() == [], self.number
        assert record is not None, self.number
        assert record.facts == project.facts, self.number
        assert project.task_count() == len(label_studio.data), self.number
        expected = {pk: read_annotation(raw, raw["task"]) for pk, raw in label_studio.raw_annotations.items()}
        assert project.annotations() == expected, self.number
        can_be_given = [task for task in label_studio.order() if label_studio.can_be_given(task, 1)]
        assert can_be_given[: len(record.head)] == record.head, self.number
        predicted = {row["task"] for row in label_studio.predictions(project=self.number)}
        annotated = {raw["task"] for raw in label_studio.raw_annotations.values()}
        assert label_studio.data.keys() - annotated <= predicted <= label_studio.data.keys(), self.number


class Installation:
    """A learner, and projects by their numbers, each with so many tasks."""

    def __init__(
        self,
        connection: redis.Redis,
        redis_url: str,
        folder: Path,
        tasks: Mapping[int, int],
        audit_fraction: float = 0.1,
    ) -> None:
        self.connection = connection
        self.subjects = {number: Subject(connection, number, count) for number, count in tasks.items()}
        self.settings = Settings(
            redis_url=redis_url,
            prepal_vectors=str(folder),
            prepal_encoder=BASE,
            prepal_backend_url=BACKEND_URL,
            prepal_audit_fraction=audit_fraction,
        )
        self.table = VectorTable(str(folder), BASE)
        self.waiting = WaitingTexts(connection, BASE)
        self.stuck: set[str] = set()
        """The encoders that no worker embeds with for now."""
        self.learner = self.another_learner()
        for subject in self.subjects.values():
            subject.project.register()
        self.compare()

    def another_learner(self, connection: redis.Redis | None = None) -> Learner:
        """What another process has, with its connection to Redis, which works from now on."""
        own, everything = connection or self.connection, cast(Any, _Everything(self.subjects))
        waiting = WaitingTexts(own, self.settings.prepal_encoder)
        table = VectorTable(self.settings.prepal_vectors, waiting.encoder)
        found = Learner(self.settings, own, everything, table, waiting, patience_s=0.1)
        Learner.of_this_process = found
        return found

    def compare(self) -> None:
        """Compare all projects with Label Studio, and do what follows from it until nothing waits."""
        for number in self.subjects:
            request_sync(self.connection, number, full=True)
        self.work()

    def work(self) -> None:
        """Do what waits, until nothing does."""
        for _ in range(100):
            self.embed()
            waiting = [(job, n) for n in self.subjects for job in QUEUES if self.connection.exists(mark(job, n))]
            # What waits is known by its marks.
            for name in (LEARN, SYNC):
                queue(self.connection, name).empty()
            if not waiting:
                return
            for job, number in waiting:
                getattr(jobs, job)(number)
        raise AssertionError(f"there is no end to {waiting}")

    def maintain(self) -> None:
        """What the learner's process does every few seconds."""
        LearnerWorker(self.learner).maintain()

    def embed(self, most: int | None = None) -> None:
        """What the embed worker does, with so many texts of each encoder at most."""
        adapted = {name for it in self.subjects.values() for name in it.project.adapted_encoders()}
        for encoder in sorted({self.settings.prepal_encoder, *adapted} - self.stuck):
            waiting = WaitingTexts(self.connection, encoder)
            lacking = sorted(waiting.ids())[:most]
            if lacking:
                VectorTable(self.settings.prepal_vectors, encoder).append(lacking, vectors_by(encoder, lacking))
                waiting.finish(lacking, {})

    def adapt(self, it: Subject) -> str:
        """What the adapt worker does once it has trained an encoder on all labels; returns the encoder's name."""
        project = it.project
        labelled = sorted({annotation.task for annotation in project.annotations().values()})
        learnt = list(project.texts_of(labelled).values())
        with tempfile.TemporaryDirectory() as folder:
            # Its files, which nobody here embeds with, are other ones each time.
            Path(folder, "model.safetensors").write_bytes(secrets.token_bytes(16))
            store = AdaptedEncoders(self.settings.prepal_vectors)
            name = store.put(Path(folder), self.settings.prepal_encoder, it.number, len(learnt))
        accuracy = {"base": 0.73, "adapted": 0.91}
        tried = Adaptation(self.settings.prepal_encoder, len(learnt), time.time(), 60.0, name, 40, accuracy)
        project.note_adaptation(tried, text_ids(learnt))
        request_sync(self.connection, it.number, full=True)
        return name


def vectors_by(encoder: str, ids: Sequence[str]) -> NDArray[np.float16]:
    """The vectors of texts, by their ids: other ones by each encoder."""
    own = encoder.encode() if encoder != BASE else b""
    seeds = [[int(key[:8], 16), *own] for key in ids]
    return np.array([np.random.default_rng(seed).normal(size=8) for seed in seeds], np.float16).reshape(-1, 8)


class _Everything:
    """One Label Studio with all the projects."""

    def __init__(self, subjects: Mapping[int, Subject]) -> None:
        self._subjects = subjects

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name == "users":
            return next(iter(self._subjects.values())).label_studio.users

        def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(self._subjects[_number_of(name, args, kwargs)].label_studio, name)(*args, **kwargs)

        return call


def _number_of(name: str, args: Any, kwargs: Any) -> int:
    """Which project a call is about; ids of tasks and predictions tell it, too."""
    if name == "save_tab":
        return int(args[1])
    if name in ("create_prediction", "save_backend", "save_webhook"):
        return int(args[-1]["project"])
    if name in ("update_prediction", "delete_prediction", "delete_tab"):
        return int(args[0]) // 10_000
    if name == "postponed":
        return min(args[0]) // 10_000
    if "task" in kwargs:
        return int(kwargs["task"]) // 10_000
    return int(args[0] if args else kwargs["project"])


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
