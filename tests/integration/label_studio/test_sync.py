"""After one full comparison Redis has what Label Studio has, whatever happened, and whatever was believed before."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.helpers.in_memory.read_project import UNSERVABLE, ReadProject, config
from tests.helpers.label_studio_in_memory import BACKEND_URL

from prepal.label_studio import connect as connecting
from prepal.vectors import text_id


@pytest.fixture
def world(redis: redis.Redis, tmp_path: Path) -> ReadProject:
    world = ReadProject(redis, tmp_path)
    world.check()
    return world


def test_an_edited_task_gets_its_new_text_though_no_event_tells_of_it(world: ReadProject) -> None:
    world.label_studio.annotate(2, "A")
    world.label_studio.annotate(3, skip=True)
    world.compare()
    for task in (1, 2, 3):
        world.label_studio.edit_task(task, {"text": f"another text {task}", "title": ""})
    world.compare()
    world.check()
    assert text_id("another text 2") in world.waiting.ids()


def test_a_field_that_label_studio_fills_for_many_tasks_at_once_gives_them_their_new_texts(world: ReadProject) -> None:
    # Its data manager does so, and no task's `updated_at` tells of it.
    for task in world.label_studio.data:
        world.label_studio.data[task] = {"text": f"filled {task}", "title": ""}
    world.compare()
    world.check()


def test_of_many_tasks_each_comparison_looks_at_the_texts_of_the_next_ones(world: ReadProject) -> None:
    world.label_studio.import_tasks([{"text": f"imported {n}"} for n in range(2500)])
    world.compare()
    for task in world.label_studio.data:
        world.label_studio.data[task] = {"text": f"filled {task}", "title": ""}
    # Each compares twice.
    world.compare()
    world.compare()
    world.check()


def test_a_task_whose_text_goes_or_comes_changes_sides(world: ReadProject) -> None:
    world.label_studio.edit_task(4, {"text": "", "title": ""})
    world.compare()
    assert 4 in world.project.unembeddable()
    world.check()
    world.label_studio.edit_task(4, {"text": "back again", "title": ""})
    world.compare()
    assert world.project.unembeddable() == {}
    world.check()


@pytest.mark.parametrize("between", [[], [UNSERVABLE], [UNSERVABLE, config(), UNSERVABLE], ["<View>", ""]])
def test_a_config_that_reads_another_field_has_all_texts_read_again(world: ReadProject, between: list[str]) -> None:
    world.label_studio.annotate(1, "A")
    for xml in [*between, config("title")]:
        world.label_studio.settings["label_config"] = xml
        world.compare()
        assert bool(world.project.info.problem) == (xml != config() and xml != config("title"))
    world.check("title")


def test_a_config_that_connecting_sees_first_has_all_texts_read_again(world: ReadProject) -> None:
    world.label_studio.settings["label_config"] = config("title")
    connecting.connect(world.project, world.label_studio, BACKEND_URL)  # type: ignore[arg-type]
    world.compare()
    world.check("title")


def test_a_config_that_only_has_other_choices_keeps_the_texts(world: ReadProject) -> None:
    version = world.project.tasks_version
    world.label_studio.settings["label_config"] = config().replace('"B"', '"C"')
    world.compare()
    assert world.project.tasks_version == version


def test_tasks_that_a_list_lacks_though_label_studio_counts_them_are_kept_with_their_labels(world: ReadProject) -> None:
    for task in (8, 9, 10):
        world.label_studio.annotate(task, "A")
    world.label_studio.annotate(7, skip=True)
    world.compare()
    world.label_studio.unlisted = {7, 8, 9, 10}
    world.compare()
    world.check()
    world.label_studio.unlisted = set()
    world.label_studio.delete_task(9)
    world.compare()
    world.check()


def test_annotations_that_got_lost_with_a_list_that_lacks_tasks_are_found_again(world: ReadProject) -> None:
    raw = world.label_studio.annotate(8, "A")
    world.compare()
    world.label_studio.unlisted = {8}
    world.compare()
    world.project.delete_annotations([raw["id"]])
    world.label_studio.unlisted = set()
    world.compare()
    world.check()


def test_tasks_that_are_gone_are_forgotten_with_their_labels(world: ReadProject) -> None:
    world.label_studio.annotate(9, "A")
    world.compare()
    world.label_studio.delete_task(9)
    world.label_studio.delete_task(1)
    world.compare()
    world.check()


def test_new_tasks_that_no_event_told_of_are_read(world: ReadProject) -> None:
    new = world.label_studio.import_tasks([{"text": "new", "title": ""}, {"text": "newer", "title": ""}])
    world.label_studio.annotate(new[1], "B")
    world.compare()
    world.check()


def test_a_deleted_task_that_a_restored_database_has_is_read_again(world: ReadProject) -> None:
    backup = world.label_studio.backup()
    world.label_studio.delete_task(3)
    world.project.delete_tasks([3])
    world.compare()
    world.label_studio.restore(backup)
    world.compare()
    world.check()


def test_a_task_that_is_gone_is_forgotten_also_where_tasks_before_it_are_read_again(world: ReadProject) -> None:
    world.label_studio.delete_task(10)
    world.project.read_again(3)
    world.compare()
    world.check()


def test_labels_of_a_restored_database_count(world: ReadProject) -> None:
    first = world.label_studio.annotate(1, "A")
    second = world.label_studio.annotate(2, "A")
    backup = world.label_studio.backup()
    world.hear(first)
    world.hear(second)
    world.hear(world.label_studio.relabel(first["id"], "B"))
    world.label_studio.delete_annotation(second["id"])
    world.project.delete_annotations([second["id"]])
    world.hear(world.label_studio.annotate(3, "B"))
    world.compare()
    world.check()
    world.label_studio.restore(backup)
    world.compare()
    world.check()
    assert world.project.annotations()[first["id"]].choices == {"topic": ["A"]}


def test_an_id_that_a_restored_database_gives_anew_is_a_new_annotation(world: ReadProject) -> None:
    backup = world.label_studio.backup()
    lost = world.label_studio.annotate(1, "A")
    world.hear(lost)
    world.project.delete_annotations([lost["id"]])
    world.label_studio.restore(backup)
    again = world.label_studio.annotate(2, "B")
    assert again["id"] == lost["id"]
    world.hear(again)
    world.compare()
    world.check()


def test_labels_count_after_label_studios_clock_was_set_back(world: ReadProject) -> None:
    raw = world.label_studio.annotate(1, "A")
    world.hear(raw)
    world.compare()
    world.label_studio.set_clock_back(7 * 24 * 3600)
    world.hear(world.label_studio.relabel(raw["id"], "B"))
    world.label_studio.annotate(2, "B")
    world.compare()
    world.check()
    assert world.project.annotations()[raw["id"]].choices == {"topic": ["B"]}


def test_an_event_that_comes_after_its_annotation_was_deleted_brings_nothing_back(world: ReadProject) -> None:
    raw = world.label_studio.annotate(1, "A")
    world.hear(raw)
    world.label_studio.delete_annotation(raw["id"])
    world.project.delete_annotations([raw["id"]])
    world.hear(raw)
    assert world.project.annotations() == {}
    world.compare()
    world.hear(raw)
    world.compare()
    world.check()


def test_an_event_that_was_invented_counts_until_the_next_comparison(world: ReadProject) -> None:
    world.hear({"id": 77, "task": 1, "completed_by": 9, "result": [], "was_cancelled": True})
    world.hear({"id": 78, "task": 4711, "completed_by": 9, "result": []})
    assert set(world.project.annotations()) == {77, 78}
    world.compare()
    world.check()


@pytest.mark.parametrize("asked", ["tasks", "whole_tasks"])
def test_what_is_heard_while_label_studio_is_read_is_newer_than_what_is_read(world: ReadProject, asked: str) -> None:
    first, second = world.label_studio.annotate(1, "A"), world.label_studio.annotate(2, "A")
    told: list[str] = []

    def meanwhile(name: str) -> None:
        if name != asked or told:
            return
        told.append(name)
        world.hear(world.label_studio.relabel(first["id"], "B"))
        world.label_studio.delete_annotation(second["id"])
        world.project.delete_annotations([second["id"]])
        world.hear(world.label_studio.annotate(3, "B"))
        world.label_studio.delete_task(5)
        world.project.delete_tasks([5])

    world.label_studio.before_call = meanwhile
    world.compare()
    assert told
    world.check()
    world.compare()
    world.check()


def test_of_what_was_deleted_nothing_is_kept_once_no_reading_can_be_older(
    world: ReadProject, redis: redis.Redis
) -> None:
    raw = world.label_studio.annotate(1, "A")
    world.hear(raw)
    world.label_studio.delete_annotation(raw["id"])
    world.project.delete_annotations([raw["id"]])
    world.project.delete_tasks([6])
    world.label_studio.delete_task(6)
    for _ in range(3):
        world.compare()
    assert [redis.exists(world.project.key(name)) for name in ("removed-annotations", "removed-tasks")] == [0, 0]
    assert redis.zcard(world.project.key("touched-annotations")) == 0


def asked_as_a_whole(world: ReadProject) -> list[int]:
    """The tasks that are read as a whole from now on."""
    asked: list[int] = []
    whole_tasks = world.label_studio.whole_tasks

    def whole(project: int, tasks: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
        asked.extend(tasks)
        return whole_tasks(project, tasks)

    world.label_studio.whole_tasks = whole  # type: ignore[method-assign]
    return asked


def test_a_comparison_that_nothing_happened_before_asks_for_no_task_as_a_whole(world: ReadProject) -> None:
    world.label_studio.annotate(1, "A")
    world.compare()
    facts, asked = world.project.facts, asked_as_a_whole(world)
    world.compare()
    assert world.project.facts == facts
    assert asked == []


def test_an_annotation_that_redis_has_lost_or_cannot_read_is_read_again(world: ReadProject, redis: redis.Redis) -> None:
    raws = [world.label_studio.annotate(task, "A") for task in (1, 2, 3)]
    world.compare()
    redis.hdel(world.project.key("annotations"), raws[0]["id"])
    redis.hset(world.project.key("annotations"), raws[1]["id"], b"{")
    redis.hset(world.project.key("annotations"), raws[2]["id"], b'{"task": "one"}')
    assert world.project.annotations() == {}
    world.compare()
    world.check()


@pytest.mark.parametrize("imported", [1, 3, 1500])
def test_annotations_of_imported_tasks_come_with_them(world: ReadProject, imported: int) -> None:
    tasks = world.label_studio.import_tasks([{"text": f"imported {n}", "title": ""} for n in range(imported)])
    for task in tasks:
        world.label_studio.annotate(task, "A", skip=task % 5 == 0)
    asked = asked_as_a_whole(world)
    world.read_new_tasks()
    world.check()
    assert asked == tasks
    world.compare()
    assert asked == tasks


def test_what_was_deleted_while_imported_tasks_were_read_stays_so(world: ReadProject) -> None:
    (task,) = world.label_studio.import_tasks([{"text": "imported", "title": ""}])
    gone, kept = (world.label_studio.annotate(task, choice)["id"] for choice in "AB")

    def delete(call: str) -> None:
        if call == "whole_tasks":
            world.project.delete_annotations([gone])

    world.label_studio.before_call = delete
    world.read_new_tasks()
    assert set(world.project.annotations()) == {kept}
