"""What is published comes first in Label Studio's order, and whatever fails on the way is put right."""

from contextlib import suppress
from random import Random
from typing import Any

import pytest
import redis
from tests.helpers.in_memory.published_project import CONFIG, PROJECT, TASKS, Killed, PublishedProject, entries_of

from prepal.label_studio.api import NotFoundError, UnavailableError
from prepal.label_studio.publish import TAIL_HIGH, TAIL_LOW, Publisher, stands_first, usable_score
from prepal.labels import label_config
from prepal.project import MODEL_VERSION, Info


@pytest.fixture
def world(redis: redis.Redis) -> PublishedProject:
    world = PublishedProject(redis)
    assert world.make_tail() == TASKS
    return world


def test_the_tail_stands_in_the_order_of_the_ranking_and_what_has_no_vector_comes_last(redis: redis.Redis) -> None:
    world = PublishedProject(redis)
    assert world.make_tail(last=3) == TASKS
    assert world.order() == list(range(1, TASKS + 1))
    assert all(TAIL_LOW <= row["score"] <= TAIL_HIGH for row in world.label_studio.predictions(project=PROJECT))
    assert [world.row(task)["result"] for task in (TASKS - 2, TASKS - 1, TASKS)] == [[], [], []]
    assert world.make_tail(last=3) == 0


def test_each_publication_comes_before_all_that_were_published_before(world: PublishedProject) -> None:
    for first in ([5, 6, 7], [20, 5, 21, 22], [1], [7, 6, 5]):
        before = world.order()
        world.publish(entries_of(*first))
        assert world.order() == first + [task for task in before if task not in first]


def test_what_stands_right_and_looks_the_same_is_not_written_again(world: PublishedProject) -> None:
    assert world.publish(entries_of(1, 2, 3, 4, 5)) == 5
    assert world.publish(entries_of(1, 2, 3, 4, 5)) == 0
    assert world.publish(entries_of(9, 1, 2, 3)) == 1
    world.pool.remove(9)
    assert world.publish(entries_of(1, 2, 3)) == 0
    assert world.publish([*entries_of(1, 2), *entries_of(3, chosen=2)]) == 3
    assert world.publish([*entries_of(1, 2), *entries_of(3, chosen=2, confidence=0.2)]) == 3
    assert world.publish([*entries_of(1, 2), *entries_of(3, chosen=2, confidence=0.21)]) == 0
    assert world.order()[:3] == [1, 2, 3]


def test_an_audit_task_shows_nothing_and_shows_it_again_when_it_is_none(world: PublishedProject) -> None:
    world.publish([*entries_of(4), *entries_of(5, shown=False)])
    assert world.label_studio.shown(4) == ["B"]
    assert world.label_studio.shown(5) == []
    assert world.publish([*entries_of(4), *entries_of(5, shown=False, chosen=2, confidence=0.1)]) == 0
    world.publish(entries_of(4, 5))
    assert world.label_studio.shown(5) == ["B"]


def test_a_choice_that_has_another_name_now_is_written_again(world: PublishedProject) -> None:
    world.publish(entries_of(4, 5, 6))
    renamed = CONFIG.replace('"B"', '"Billing"')
    world.project.set_info(Info(label_config=renamed))
    world.publisher = Publisher(world.project, world.label_studio, label_config.parse(renamed))  # type: ignore[arg-type]
    world.publish(entries_of(4, 5, 6))
    assert world.label_studio.shown(4) == world.label_studio.shown(6) == ["Billing"]


def test_two_processes_that_take_turns_serve_the_newest_ranking_each_time(world: PublishedProject) -> None:
    random = Random(3)
    for turn in range(30):
        chosen = random.sample(sorted(world.pool), 4)
        world.publish(entries_of(*chosen), process=turn % 2)
        assert world.order()[:4] == chosen
        world.pool.remove(chosen[0])
        if len(world.pool) < 5:
            break


@pytest.mark.parametrize("call", range(8))
@pytest.mark.parametrize("error", [UnavailableError("500"), Killed(), NotFoundError("It is gone.")])
def test_a_publication_that_fails_anywhere_is_put_right_by_the_next_one(
    world: PublishedProject, call: int, error: BaseException
) -> None:
    world.publish(entries_of(10, 11, 12, 13, 14, 15))
    wanted, before, scores = [1, 2, 3, 4, 12, 11, 10], world.order(), world.scores()
    world.fail_at(call, error)
    with suppress(UnavailableError, Killed):
        world.publish(entries_of(*wanted))
    world.mend()
    done = [task for task in wanted if world.scores().get(task) != scores[task]]
    if not isinstance(error, NotFoundError):
        assert world.order() == done + [task for task in before if task not in done]
    world.publish(entries_of(*wanted))
    assert world.order()[:7] == wanted


def test_a_publication_that_is_to_stop_has_its_first_places_right(world: PublishedProject) -> None:
    before = world.order()
    written = world.publish(entries_of(21, 22, 23, 24, 25, 26, 27), stop=iter([False, False, True]).__next__)
    first = [21, 22, 23, 24, 25, 26, 27][:written]
    assert 0 < written < 7
    assert world.order() == first + [task for task in before if task not in first]
    assert world.publish(entries_of(21, 22, 23, 24, 25, 26, 27)) == 7
    assert world.order()[:7] == [21, 22, 23, 24, 25, 26, 27]


@pytest.mark.parametrize("score", [None, 0, 0.0, True, False, -1.5, 0.3, 1.0000001, 7, float("inf"), "0.95", [], {}])
def test_a_score_that_is_none_of_ours_goes_last_and_spoils_no_later_publication(
    world: PublishedProject, score: Any
) -> None:
    world.publish(entries_of(10, 11, 12))
    world.label_studio.update_prediction(world.row(20)["id"], {"score": score})
    world.verify()
    assert world.row(20)["score"] == TAIL_HIGH
    for first in ([1, 2, 3, 4], [20, 2, 1], [5, 6, 7, 8]):
        world.publish(entries_of(*first))
        assert world.order()[: len(first)] == first
        scores = [row["score"] for row in world.label_studio.predictions(project=PROJECT)]
        assert len(set(scores)) == len(scores)


@pytest.mark.parametrize("score", [None, 0, True, 0.3, 0.95, "0.95", 10**400])
def test_a_usable_score_is_one_that_is_given(score: Any) -> None:
    assert usable_score({"score": score}) == (0.95 if score == 0.95 else TAIL_HIGH)
    assert usable_score({}) == TAIL_HIGH


def test_an_order_that_somebody_else_made_is_noticed_and_made_anew(world: PublishedProject) -> None:
    world.publish(entries_of(10, 11, 12))
    assert world.verify()
    facts = world.project.facts
    world.label_studio.update_prediction(world.row(11)["id"], {"score": 0.97})
    assert not world.verify()
    assert world.project.facts > facts
    assert world.publish(entries_of(10, 11, 12)) == 3
    assert world.order()[:3] == [10, 11, 12]
    assert world.verify()


def test_of_several_predictions_of_a_task_the_one_that_we_write_stays(world: PublishedProject) -> None:
    world.publish(entries_of(10, 11))
    kept = world.row(10)["id"]
    double = {"task": 10, "score": 0.6, "model_version": MODEL_VERSION, "result": []}
    world.label_studio.create_prediction(double)
    world.label_studio.create_prediction({**double, "model_version": "somebody else's"})
    world.verify()
    versions = {row["id"]: row["model_version"] for row in world.label_studio.predictions(task=10)}
    assert sorted(versions.values()) == [MODEL_VERSION, "somebody else's"]
    assert versions[kept] == MODEL_VERSION
    world.publish(entries_of(12, 13))
    assert world.order()[:4] == [12, 13, 10, 11]


def test_predictions_of_a_restored_database_are_found_again(world: PublishedProject) -> None:
    backup = world.label_studio.backup()
    for _ in range(3):
        world.publish(entries_of(10, 11, 12))
        world.publish(entries_of(13, 11, 10))
    world.label_studio.restore(backup)
    assert not world.verify()
    world.publish(entries_of(13, 11, 10))
    assert world.order()[:3] == [13, 11, 10]
    assert world.verify()


def test_a_restored_database_that_goes_by_another_version_is_told_again_what_to_go_by(redis: redis.Redis) -> None:
    world = PublishedProject(redis)
    backup = world.label_studio.backup()
    world.make_tail()
    assert world.label_studio.settings["model_version"] == MODEL_VERSION
    world.label_studio.restore(backup)
    world.publish(entries_of(10, 11, 12))
    world.make_tail()
    assert world.label_studio.settings["model_version"] == MODEL_VERSION
    assert world.order()[:3] == [10, 11, 12]


def test_who_lets_label_studio_go_by_another_version_is_obeyed(world: PublishedProject) -> None:
    world.label_studio.settings["model_version"] = "somebody else's"
    world.publish(entries_of(10, 11, 12))
    world.verify()
    world.make_tail()
    assert world.label_studio.settings["model_version"] == "somebody else's"


def test_predictions_that_are_no_more_are_made_anew(world: PublishedProject) -> None:
    world.publish(entries_of(10, 11, 12))
    world.label_studio.delete_predictions(PROJECT, MODEL_VERSION)
    world.publish(entries_of(12, 10, 1))
    assert world.order() == [12, 10, 1]
    world.verify()
    assert world.make_tail() == TASKS - 3
    assert world.order()[:3] == [12, 10, 1]
    assert len(world.order()) == TASKS


def test_a_task_that_is_gone_leaves_its_place_to_the_next_one(world: PublishedProject) -> None:
    world.label_studio.delete_task(11)
    world.pool.remove(11)
    world.publish(entries_of(10, 11, 12))
    assert world.order()[:2] == [10, 12]


def test_a_task_that_was_passed_goes_behind_all_others(world: PublishedProject) -> None:
    world.publish(entries_of(10, 11, 12))
    assert world.publisher.put_last({11, 25}, world.published[0]) == 1
    assert world.order()[:2] == [10, 12]
    assert world.row(11)["score"] == TAIL_HIGH
    assert world.publisher.put_last({11}, world.published[0]) == 0
    assert world.publish(entries_of(10, 12)) == 0
    world.publish(entries_of(11, 10))
    assert world.order()[:2] == [11, 10]


def test_who_does_not_know_the_order_puts_nothing_last(world: PublishedProject) -> None:
    world.publish(entries_of(10, 11, 12), process=0)
    world.publish(entries_of(11, 10), process=1)
    assert world.publisher.put_last({11}, world.published[0]) == 0
    assert world.order()[:2] == [11, 10]


@pytest.mark.parametrize(
    ("expected", "scores", "right"),
    [
        ([1, 2], {1: 0.1, 2: 0.2, 3: 0.3}, True),
        ([2, 1], {1: 0.1, 2: 0.2, 3: 0.3}, False),
        ([1, 2], {1: 0.1, 2: 0.1, 3: 0.3}, False),
        ([1, 2], {1: 0.1, 2: 0.2, 3: 0.2}, False),
        ([1, 2], {1: 0.1, 2: 0.2, 3: 0.15}, False),
        ([1, 9, 2], {1: 0.1, 2: 0.2, 3: 0.3}, True),
        ([], {3: 0.3}, True),
        ([9], {}, True),
        ([1, 2, 3], {1: 0.1, 2: 0.2, 3: 0.3}, True),
    ],
)
def test_an_order_is_right_when_what_is_expected_stands_first(
    expected: list[int], scores: dict[int, float], right: bool
) -> None:
    assert stands_first(expected, scores, [1, 2, 3]) is right


def test_what_is_not_in_the_pool_may_stand_before_all() -> None:
    assert stands_first([2], {1: 0.1, 2: 0.2}, [2])
