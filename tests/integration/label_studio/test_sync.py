"""After one full comparison Redis has what Label Studio has, whatever happened, and whatever was believed before."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.helpers.label_studio_in_memory import BACKEND_URL, LabelStudioInMemory

from prepal.label_studio import connect as connecting
from prepal.label_studio.api import NotFoundError, UnavailableError
from prepal.label_studio.describe import describe
from prepal.label_studio.sync import Reader
from prepal.labels.events import read_annotation
from prepal.project import Project
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import VectorTable, text_id

PROJECT = 5


def config(field: str = "text", tag: str = "Choices") -> str:
    inner = '<Choice value="A"/><Choice value="B"/>' if tag == "Choices" else '<Label value="A"/>'
    return f'<View><Text name="text" value="${field}"/><{tag} name="topic" toName="text">{inner}</{tag}></View>'


UNSERVABLE = config(tag="Labels")


class World:
    """A project of ten tasks that has been read once, and the parts that reading needs."""

    def __init__(self, connection: redis.Redis, folder: Path) -> None:
        data = {n: {"text": f"text {n}", "title": f"title {n}"} for n in range(1, 11)}
        self.label_studio = LabelStudioInMemory(PROJECT, config(), data)
        self.project = Project(connection, PROJECT)
        self.project.register()
        self.table = VectorTable(str(folder), "encoder")
        self.waiting = WaitingTexts(connection, "encoder")
        self.compare()

    def compare(self) -> None:
        """Read what is new, and compare everything, as the learner's jobs do."""
        label_studio: Any = self.label_studio
        config = describe(self.project, label_studio)
        if config is None:
            return
        reader = Reader(self.project, config, label_studio, self.table, self.waiting)
        reader.reconcile()
        while reader.read_new_tasks():
            pass
        reader.reconcile()

    def hear(self, raw: dict[str, Any]) -> None:
        """What the backend does with an event of an annotation."""
        self.project.put_annotations({raw["id"]: read_annotation(raw, raw["task"])})

    def check(self, field: str = "text") -> None:
        """Everything that is known is what Label Studio has."""
        project, label_studio = self.project, self.label_studio
        texts = {task: text_id(data[field]) for task, data in label_studio.data.items() if data[field]}
        assert project.texts_of(sorted(label_studio.data)) == texts
        assert project.task_count() == len(label_studio.data)
        assert project.annotations() == {
            pk: read_annotation(raw, raw["task"]) for pk, raw in label_studio.raw_annotations.items()
        }


@pytest.fixture
def world(redis: redis.Redis, tmp_path: Path) -> World:
    world = World(redis, tmp_path)
    world.check()
    return world


# -- texts --------------------------------------------------------------------------------------------------------


def test_an_edited_task_gets_its_new_text_though_no_event_tells_of_it(world: World) -> None:
    world.label_studio.annotate(2, "A")
    world.label_studio.annotate(3, skip=True)
    world.compare()
    for task in (1, 2, 3):
        world.label_studio.edit_task(task, {"text": f"another text {task}", "title": ""})
    world.compare()
    world.check()
    assert text_id("another text 2") in world.waiting.ids()


def test_a_field_that_label_studio_fills_for_many_tasks_at_once_gives_them_their_new_texts(world: World) -> None:
    # Its data manager does so, and no task's `updated_at` tells of it.
    for task in world.label_studio.data:
        world.label_studio.data[task] = {"text": f"filled {task}", "title": ""}
    world.compare()
    world.check()


def test_of_many_tasks_each_comparison_looks_at_the_texts_of_the_next_ones(world: World) -> None:
    world.label_studio.import_tasks([{"text": f"imported {n}"} for n in range(2500)])
    world.compare()
    for task in world.label_studio.data:
        world.label_studio.data[task] = {"text": f"filled {task}", "title": ""}
    # Each compares twice.
    world.compare()
    world.compare()
    world.check()


def test_a_task_whose_text_goes_or_comes_changes_sides(world: World) -> None:
    world.label_studio.edit_task(4, {"text": "", "title": ""})
    world.compare()
    assert 4 in world.project.unembeddable()
    world.check()
    world.label_studio.edit_task(4, {"text": "back again", "title": ""})
    world.compare()
    assert world.project.unembeddable() == {}
    world.check()


@pytest.mark.parametrize("between", [[], [UNSERVABLE], [UNSERVABLE, config(), UNSERVABLE], ["<View>", ""]])
def test_a_config_that_reads_another_field_has_all_texts_read_again(world: World, between: list[str]) -> None:
    world.label_studio.annotate(1, "A")
    for xml in [*between, config("title")]:
        world.label_studio.settings["label_config"] = xml
        world.compare()
        assert bool(world.project.info.problem) == (xml != config() and xml != config("title"))
    world.check("title")


def test_a_config_that_connecting_sees_first_has_all_texts_read_again(world: World) -> None:
    world.label_studio.settings["label_config"] = config("title")
    connecting.connect(world.project, world.label_studio, BACKEND_URL)  # type: ignore[arg-type]
    world.compare()
    world.check("title")


def test_a_config_that_only_has_other_choices_keeps_the_texts(world: World) -> None:
    version = world.project.tasks_version
    world.label_studio.settings["label_config"] = config().replace('"B"', '"C"')
    world.compare()
    assert world.project.tasks_version == version


# -- whether there is a project -----------------------------------------------------------------------------------


def irreplaceable(world: World) -> None:
    world.project.add_audits([1, 2])
    world.project.add_accuracy(10, {"estimate": 0.5, "low": 0.4, "high": 0.6})
    world.project.labels_before(0)


def gone(name: str) -> None:
    if name == "project":
        raise NotFoundError("Label Studio answered 404 to GET api/projects/5/: Not found.")


def test_that_a_project_is_gone_is_believed_when_it_is_said_again_and_again_for_minutes(
    world: World, redis: redis.Redis
) -> None:
    irreplaceable(world)
    world.label_studio.before_call = gone
    for _ in range(5):
        world.compare()
        assert world.project.is_known
    assert world.project.task_count() == 10
    redis.hset(world.project.key("gone"), "since", time.time() - 3600)
    world.compare()
    assert not world.project.is_known
    assert world.project.task_count() == 0
    assert world.project.audits() == {1, 2}
    assert 0 < redis.ttl(world.project.key("audits")) <= 90 * 24 * 3600


def test_one_answer_of_label_studios_own_ends_the_doubt(world: World, redis: redis.Redis) -> None:
    world.label_studio.before_call = gone
    world.compare()
    redis.hset(world.project.key("gone"), "since", time.time() - 3600)
    world.label_studio.before_call = lambda _: None
    world.compare()
    world.label_studio.before_call = gone
    for _ in range(5):
        world.compare()
    assert world.project.is_known


def test_a_proxys_404_is_no_word_on_the_project(world: World) -> None:
    def unavailable(_: str) -> None:
        raise UnavailableError("Label Studio answered 404 to GET api/projects/5/: Not Found")

    world.label_studio.before_call = unavailable
    for _ in range(5):
        with pytest.raises(UnavailableError):
            world.compare()
    assert not world.project.connection.exists(world.project.key("gone"))
    assert world.project.task_count() == 10


def test_a_project_that_comes_back_has_its_audit_tasks_still(world: World, redis: redis.Redis) -> None:
    irreplaceable(world)
    world.compare()
    world.project.forget()
    world.project.register()
    world.compare()
    world.check()
    assert world.project.audits() == {1, 2}
    assert len(world.project.accuracies()) == 1
    assert redis.ttl(world.project.key("audits")) == redis.ttl(world.project.key("accuracies")) == -1


def test_another_project_of_the_same_number_knows_nothing_of_the_first_one(world: World) -> None:
    irreplaceable(world)
    world.label_studio.annotate(1, "A")
    world.compare()
    other = LabelStudioInMemory(PROJECT, config(), {1: {"text": "of another project"}})
    other.settings["created_at"] = "2027-01-01T00:00:00Z"
    world.label_studio = other
    world.compare()
    world.check()
    assert world.project.audits() == set()
    assert world.project.accuracies() == []
    assert not world.project.info.connected


def test_the_time_at_which_a_project_was_made_may_be_written_otherwise(world: World) -> None:
    irreplaceable(world)
    world.label_studio.settings["created_at"] = "2026-01-01T02:00:00.000000+02:00"
    world.compare()
    world.check()
    assert world.project.audits()


# -- tasks --------------------------------------------------------------------------------------------------------


def test_tasks_that_a_list_lacks_though_label_studio_counts_them_are_kept_with_their_labels(world: World) -> None:
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


def test_annotations_that_got_lost_with_a_list_that_lacks_tasks_are_found_again(world: World) -> None:
    raw = world.label_studio.annotate(8, "A")
    world.compare()
    world.label_studio.unlisted = {8}
    world.compare()
    world.project.delete_annotations([raw["id"]])
    world.label_studio.unlisted = set()
    world.compare()
    world.check()


def test_tasks_that_are_gone_are_forgotten_with_their_labels(world: World) -> None:
    world.label_studio.annotate(9, "A")
    world.compare()
    world.label_studio.delete_task(9)
    world.label_studio.delete_task(1)
    world.compare()
    world.check()


def test_new_tasks_that_no_event_told_of_are_read(world: World) -> None:
    new = world.label_studio.import_tasks([{"text": "new", "title": ""}, {"text": "newer", "title": ""}])
    world.label_studio.annotate(new[1], "B")
    world.compare()
    world.check()


def test_a_deleted_task_that_a_restored_database_has_is_read_again(world: World) -> None:
    backup = world.label_studio.backup()
    world.label_studio.delete_task(3)
    world.project.delete_tasks([3])
    world.compare()
    world.label_studio.restore(backup)
    world.compare()
    world.check()


def test_a_task_that_is_gone_is_forgotten_also_where_tasks_before_it_are_read_again(world: World) -> None:
    world.label_studio.delete_task(10)
    world.project.read_again(3)
    world.compare()
    world.check()


# -- annotations --------------------------------------------------------------------------------------------------


def test_labels_of_a_restored_database_count(world: World) -> None:
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


def test_an_id_that_a_restored_database_gives_anew_is_a_new_annotation(world: World) -> None:
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


def test_labels_count_after_label_studios_clock_was_set_back(world: World) -> None:
    raw = world.label_studio.annotate(1, "A")
    world.hear(raw)
    world.compare()
    world.label_studio.set_clock_back(7 * 24 * 3600)
    world.hear(world.label_studio.relabel(raw["id"], "B"))
    world.label_studio.annotate(2, "B")
    world.compare()
    world.check()
    assert world.project.annotations()[raw["id"]].choices == {"topic": ["B"]}


def test_an_event_that_comes_after_its_annotation_was_deleted_brings_nothing_back(world: World) -> None:
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


def test_an_event_that_was_invented_counts_until_the_next_comparison(world: World) -> None:
    world.hear({"id": 77, "task": 1, "completed_by": 9, "result": [], "was_cancelled": True})
    world.hear({"id": 78, "task": 4711, "completed_by": 9, "result": []})
    assert set(world.project.annotations()) == {77, 78}
    world.compare()
    world.check()


@pytest.mark.parametrize("asked", ["tasks", "whole_tasks"])
def test_what_is_heard_while_label_studio_is_read_is_newer_than_what_is_read(world: World, asked: str) -> None:
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


def test_of_what_was_deleted_nothing_is_kept_once_no_reading_can_be_older(world: World, redis: redis.Redis) -> None:
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


def test_a_comparison_that_nothing_happened_before_asks_for_no_task_as_a_whole(world: World) -> None:
    world.label_studio.annotate(1, "A")
    world.compare()
    facts, asked = world.project.facts, []
    whole_tasks = world.label_studio.whole_tasks

    def whole(project: int, tasks: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
        asked.extend(tasks)
        return whole_tasks(project, tasks)

    world.label_studio.whole_tasks = whole  # type: ignore[method-assign]
    world.compare()
    assert world.project.facts == facts
    assert asked == []


def test_an_annotation_that_redis_has_lost_or_cannot_read_is_read_again(world: World, redis: redis.Redis) -> None:
    raws = [world.label_studio.annotate(task, "A") for task in (1, 2, 3)]
    world.compare()
    redis.hdel(world.project.key("annotations"), raws[0]["id"])
    redis.hset(world.project.key("annotations"), raws[1]["id"], b"{")
    redis.hset(world.project.key("annotations"), raws[2]["id"], b'{"task": "one"}')
    assert world.project.annotations() == {}
    world.compare()
    world.check()


# -- whether the project is ours still ----------------------------------------------------------------------------


def look(world: World, user: str = "", password: str = "") -> bool:
    label_studio: Any = world.label_studio
    return connecting.is_to_be_connected(world.project, label_studio, BACKEND_URL, user, password)


def test_a_backend_that_somebody_deleted_by_hand_is_left_alone_until_it_is_there_again(world: World) -> None:
    connecting.connect(world.project, world.label_studio, BACKEND_URL)  # type: ignore[arg-type]
    assert not look(world)
    assert world.project.left == ""
    backends, world.label_studio.backend_list = world.label_studio.backend_list, []
    assert not look(world)
    assert f"The backend {BACKEND_URL} was deleted in Label Studio" in world.project.left
    assert "prepal connect 5" in world.project.left
    world.label_studio.backend_list = backends
    assert not look(world)
    assert world.project.left == ""


def test_a_backend_with_other_credentials_is_given_the_new_ones(world: World) -> None:
    connecting.connect(world.project, world.label_studio, BACKEND_URL, "user", "one")  # type: ignore[arg-type]
    assert not look(world, "user", "one")
    assert look(world, "somebody else", "one")
    assert look(world)
    assert look(world, "user", "two")
    told = connecting.connect(world.project, world.label_studio, BACKEND_URL, "user", "two")  # type: ignore[arg-type]
    assert "Gave the backend connection its credentials." in told
    assert world.label_studio.backend_list[0]["basic_auth_pass"] == "two"
    assert not look(world, "user", "two")
    assert connecting.connect(world.project, world.label_studio, BACKEND_URL, "user", "two") == []  # type: ignore[arg-type]


def test_a_project_whose_backend_was_never_seen_is_not_called_left(world: World) -> None:
    world.label_studio.backend_list = []
    assert not look(world)
    assert world.project.left == ""
