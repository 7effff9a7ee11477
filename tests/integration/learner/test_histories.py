"""Whatever happens to a project, after one comparison with Label Studio everything is as Label Studio has it."""

import os
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.helpers.in_memory.history import HAPPENINGS, NO_CHOICES, TEXTS, History

from prepal.label_studio.order import without_prediction
from prepal.labels import label_config
from prepal.labels.events import read_annotation
from prepal.labels.settle import settle
from prepal.labels.text_fields import UnembeddableError
from prepal.learner import judging
from prepal.learner.fitting import Choosing
from prepal.learner.memory.memory import Memory
from prepal.queues.requests import QUEUES, queue
from prepal.vectors import VectorTable, text_id

# CONTRIBUTING.md says how to try more.
HISTORIES = int(os.environ.get("PREPAL_TEST_HISTORIES", "60"))


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
    if not len(project.predictions):
        return
    assert label_studio.settings["model_version"] == "PRepAL"
    pool = set(ranking.task_ids.tolist())
    assert pool <= with_text - labelled
    texts = project.texts_of(sorted(with_text))
    assert len({texts[task] for task in record.head}) == len(record.head)
    assert not pool & set(ranking.twins.tolist())
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
