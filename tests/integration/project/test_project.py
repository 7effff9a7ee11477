"""Redis' copy of a project: what is news, what is gone, what a round must know of."""

from typing import Literal

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from prepal.labels.events import Annotation
from prepal.project import Info, Project, Ranking, RoundRecord, all_projects, mend
from prepal.project.part import Stored
from prepal.records import dumps, loads


def annotation(task: int = 1, at: str = "2026-01-01", choice: str = "A") -> Annotation:
    return Annotation(task, 3, at, False, False, {"topic": [choice]})


def test_every_new_annotation_is_one_more_fact(redis: redis.Redis) -> None:
    project = Project(redis, 1)
    assert project.put_annotations({5: annotation()}) == 1
    assert project.facts == 1
    assert project.put_annotations({5: annotation()}) == 0
    assert project.facts == 1
    assert project.annotations() == {5: annotation()}


def test_an_older_state_of_an_annotation_does_not_replace_a_newer_one(redis: redis.Redis) -> None:
    project = Project(redis, 1)
    project.put_annotations({5: annotation(at="2026-01-02", choice="B")})
    assert project.put_annotations({5: annotation(at="2026-01-01", choice="A")}) == 0
    assert project.annotations()[5].choices == {"topic": ["B"]}


def test_a_deleted_annotation_does_not_come_back_with_a_late_event(redis: redis.Redis) -> None:
    project = Project(redis, 1)
    project.put_annotations({5: annotation()})
    assert project.delete_annotations([5]) == 1
    assert project.put_annotations({5: annotation()}) == 0
    assert project.annotations() == {}


def test_deleting_a_task_deletes_its_annotations(redis: redis.Redis) -> None:
    project = Project(redis, 1)
    project.put_tasks({1: "aa", 2: "bb"}, {3: "empty text"})
    project.put_annotations({5: annotation(task=1), 6: annotation(task=2)})
    project.delete_tasks([1])
    assert project.texts_of([1, 2, 3]) == {2: "bb"}
    assert project.unembeddable() == {3: "empty text"}
    assert set(project.annotations()) == {6}


def test_a_deleted_task_does_not_come_back_with_a_late_reading(redis: redis.Redis) -> None:
    project = Project(redis, 1)
    project.put_tasks({1: "aa"}, {})
    project.delete_tasks([1])
    project.put_tasks({1: "aa"}, {})
    assert project.task_count() == 0


def test_two_projects_never_see_each_other(redis: redis.Redis) -> None:
    one, two = Project(redis, 1), Project(redis, 12)
    for project in (one, two):
        project.register()
        project.put_annotations({project.id: annotation()})
        project.set_info(Info(title=str(project.id)))
    one.forget()
    assert (one.annotations(), one.info, one.facts) == ({}, Info(), 0)
    assert (set(two.annotations()), two.info.title) == ({12}, "12")
    assert [project.id for project in all_projects(redis)] == [12]


def test_the_same_info_is_no_news(redis: redis.Redis) -> None:
    project = Project(redis, 1)
    project.set_info(Info(title="A"))
    before = project.facts
    project.set_info(Info(title="A"))
    assert project.facts == before


def test_records_of_a_newer_or_an_older_release_are_read(redis: redis.Redis) -> None:
    project = Project(redis, 1)
    project.put_annotations({5: annotation()})
    redis.hset(project.key("annotations"), mapping={"6": '{"task": 1, "of": "an older release"}', "7": "no JSON"})
    project.set_info(Info(title="A"))
    project.finish_round(RoundRecord(1, 2, 0, 8, 0.0, {}, [], [], None, "auto", False))
    for name in ("info", "round"):
        stored = loads(redis.get(project.key(name)) or b"")
        redis.set(project.key(name), dumps(stored | {"a_field_of_tomorrow": 1, "drift": None, "notes": 3}))
    assert project.annotations() == {5: annotation()}
    assert project.info == Info(title="A")
    assert project.round is not None
    assert (project.round.facts, project.round.notes) == (2, [])
    assert project.put_annotations({6: annotation()}) == 1


@pytest.mark.parametrize("choices", [1, 4, 8, 9, 77])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_ranking_is_read_as_it_was_written(redis: redis.Redis, choices: int, order: Literal["C", "F"]) -> None:
    rng, project = np.random.default_rng(choices), Project(redis, 1)
    chosen = np.array(rng.random((11, choices)) < 0.5, order=order)
    written = Ranking(rng.permutation(11), chosen, rng.random(11, np.float32), rng.random(11) < 0.5, "what it means")
    project.put_ranking(written)
    assert redis.hget(project.key("ranking"), "chosen") == np.packbits(chosen, axis=1).tobytes()
    read = project.ranking()
    assert read is not None
    for name, array in vars(written).items():
        np.testing.assert_array_equal(getattr(read, name), array)


def test_a_lone_surrogate_in_an_annotation_is_kept_and_is_no_news_twice(redis: redis.Redis) -> None:
    project = Project(redis, 1)
    assert project.put_annotations({5: annotation(choice="\ud800")}) == 1
    assert project.put_annotations({5: annotation(choice="\ud800")}) == 0


events = st.lists(
    st.tuples(st.sampled_from(["put", "delete"]), st.integers(1, 4), st.integers(1, 9), st.sampled_from("AB")),
    max_size=12,
)


@given(events)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_the_order_of_events_the_newest_state_stays_and_the_deleted_stay_gone(
    redis: redis.Redis, history: list[tuple[str, int, int, str]]
) -> None:
    redis.flushdb()
    project = Project(redis, 1)
    expected: dict[int, tuple[int, str]] = {}
    gone: set[int] = set()
    for kind, pk, at, choice in history:
        if kind == "delete":
            project.delete_annotations([pk])
            gone.add(pk)
            expected.pop(pk, None)
        else:
            project.put_annotations({pk: annotation(at=f"2026-01-0{at}", choice=choice)})
            if pk not in gone and (pk not in expected or expected[pk][0] <= at):
                expected[pk] = (at, choice)
    found = {pk: (int(a.updated_at[-1]), a.choices["topic"][0]) for pk, a in project.annotations().items()}
    assert found == expected


STORED = {name: prop for kind in Project.__mro__ for name, prop in vars(kind).items() if isinstance(prop, Stored)}


@pytest.mark.parametrize("name", STORED)
def test_a_property_that_redis_has_as_something_else_is_mended(redis: redis.Redis, name: str) -> None:
    project = Project(redis, 5)
    empty = getattr(project, name)
    redis.rpush(project.key(STORED[name]._name), "x")
    assert STORED[name]._name in mend(project)
    assert type(getattr(project, name)) is type(empty)
    assert mend(project) == []
