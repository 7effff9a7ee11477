"""Nothing that anybody sends is an error of ours, stops a worker, or makes what is stored unreadable."""

import json
import os
from pathlib import Path
from random import Random
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
import redis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.helpers.label_studio_in_memory import LabelStudioInMemory
from tests.helpers.nonsense import CONFIG, TEXT, Request, annotation_of, request_of, tampered

from prepal.label_studio.describe import describe
from prepal.label_studio.sync import Reader
from prepal.labels import label_config
from prepal.labels.settle import settle
from prepal.learner import round as rounds
from prepal.learner.fitting import Choosing
from prepal.learner.memory.memory import Memory
from prepal.project import Project
from prepal.queues.waiting import WaitingTexts
from prepal.server.app import create_app
from prepal.settings import Settings
from prepal.vectors import VectorTable

# CONTRIBUTING.md says how to send more.
REQUESTS = int(os.environ.get("PREPAL_TEST_REQUESTS", "3000"))
TOGETHER = 30


class Project4:
    """A small project with real parts around it, but for Label Studio."""

    def __init__(self, connection: redis.Redis, folder: Path) -> None:
        where = connection.connection_pool.connection_kwargs
        url = f"redis://:{where['password']}@{where['host']}:{where['port']}/{where.get('db', 0)}"
        self.connection = connection
        self.project = Project(connection, 4)
        self.table = VectorTable(str(folder), "encoder")
        self.waiting = WaitingTexts(connection, "encoder")
        self.client: FlaskClient = create_app(Settings(redis_url=url, prepal_encoder="encoder")).test_client()

    def begin(self, label_studio: LabelStudioInMemory) -> None:
        """Forget everything, and know what Label Studio has, with a round."""
        self.connection.flushdb()
        self.project.register()
        self.read(label_studio)
        self.round(label_studio)

    def read(self, label_studio: LabelStudioInMemory) -> None:
        config = describe(self.project, label_studio)
        assert config is not None
        reader = Reader(self.project, config, label_studio, [(self.table, self.waiting)])
        while reader.read_new_tasks():
            self._embed()
        self._embed()
        reader.reconcile()

    def round(self, label_studio: LabelStudioInMemory) -> None:
        facts = self.project.facts
        rounds.run(self.project, Memory(), self.table, label_studio, Choosing("auto", 0.1))
        record = self.project.round
        assert record is not None
        assert record.facts == facts or not len(self.project.task_texts()[0])

    def look(self) -> None:
        """Look at everything that is shown, and at what is stored."""
        for page in ("/", "/projects/4", "/projects/4.json", "/projects/4/accuracy.svg", "/metrics"):
            assert self.client.get(page).status_code == 200
        config = label_config.parse(self.project.info.label_config)
        annotations = self.project.annotations()
        assert {a.task for a in annotations.values()} >= settle(annotations, config).keys()

    def _embed(self) -> None:
        lacking = sorted(self.waiting.ids())
        vectors = np.random.default_rng(len(lacking)).normal(size=(len(lacking), 8))
        self.table.append(lacking, vectors.astype(np.float16))
        for project, texts in self.waiting.done(lacking).items():
            Project(self.connection, project).add_vectors(texts)


@pytest.fixture
def four(redis: redis.Redis, tmp_path: Path) -> Project4:
    return Project4(redis, tmp_path)


def strictly_json(answer: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(answer, parse_constant=refuse)


seeds = st.integers(0, 2**63)
leisurely = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@given(st.lists(seeds.map(request_of), min_size=TOGETHER, max_size=TOGETHER))
@settings(leisurely, max_examples=-(-REQUESTS // TOGETHER))
def test_whatever_is_sent_gets_an_answer_and_the_next_round_runs(four: Project4, sent: list[Request]) -> None:
    label_studio = LabelStudioInMemory(4, CONFIG, {task: {"text": f"Ticket {task}"} for task in range(1, 20)})
    label_studio.annotate(1, "A")
    four.begin(label_studio)
    for request in sent:
        answer = four.client.post(request.path, data=request.body, content_type="application/json")
        assert answer.status_code < 500, (request.path, request.body[:5000])
        assert len(answer.status) < 1000
        assert isinstance(strictly_json(answer.data), dict)
    four.look()
    four.round(label_studio)


@given(seeds)
@settings(leisurely, max_examples=50)
def test_whatever_label_studio_has_is_read_ranked_and_shown(four: Project4, seed: int) -> None:
    random = Random(seed)
    tag = random.choice(["Text", "HyperText", "Paragraphs"])
    data = {task: tampered({"text": f"Ticket {task}"}, random) for task in range(2, 20)}
    label_studio = LabelStudioInMemory(4, CONFIG.replace("Text", tag, 1), {1: {"text": "Ticket 1"}, **data})
    label_studio.settings["title"] = tampered("Tickets", random)
    for pk in range(1, 10):
        task = random.randrange(1, 20)
        raw = tampered(annotation_of(random), random)
        label_studio.raw_annotations[pk] = {**(raw if isinstance(raw, dict) else {}), "id": pk, "task": task}
    four.begin(label_studio)
    assert four.project.task_count() == len(label_studio.data)
    assert set(four.project.annotations()) == set(label_studio.raw_annotations)
    four.look()
    facts = four.project.facts
    four.read(label_studio)
    assert four.project.facts == facts


names = st.lists(
    st.text(
        st.sampled_from("aAb \t\n\xa0\xc0\u0300\u0301\u0316\u212b\u2028\u202e\u200b<>&;\"'#1,.中"),
        min_size=1,
        max_size=5,
    )
    | st.just("x" * 900),
    min_size=2,
    max_size=6,
    unique=True,
)


@given(names, st.data(), st.booleans())
@settings(leisurely, max_examples=50)
def test_whatever_the_choices_are_called_labels_count_and_predictions_name_them(
    four: Project4, choices: list[str], data: st.DataObject, multiple: bool
) -> None:
    tags = "".join(f"<Choice value={quoteattr(choice)}/>" for choice in choices)
    kind = "multiple" if multiple else "single"
    xml = f'<View>{TEXT}<Choices name="topic" toName="text" choice="{kind}">{tags}</Choices></View>'
    label_studio = LabelStudioInMemory(4, xml, {task: {"text": f"Ticket {task}"} for task in range(1, 20)})
    given = {task: data.draw(st.sampled_from(choices)) for task in range(1, 6)}
    for task, choice in given.items():
        label_studio.annotate(task, choice)
    four.begin(label_studio)
    config = label_config.parse(xml)
    assert config.choices == tuple(choices)
    settled = settle(four.project.annotations(), config)
    assert {task: config.choices[row.argmax()] for task, row in settled.items()} == given
    four.look()
    told = four.client.get("/projects/4.json").json
    assert {one["choice"]: one["labelled"] for one in told["choices"]} == {
        c: list(given.values()).count(c) for c in choices
    }
    asked = {"project": "4.1", "tasks": [{"id": task} for task in label_studio.data]}
    predicted = four.client.post("/predict", json=asked).json["results"]
    named = {c for one in predicted for result in one["result"] for c in result["value"]["choices"]}
    assert named <= set(choices)
    assert named or multiple or len(set(given.values())) < 2
