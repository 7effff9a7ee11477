"""Whether there is still a project, whether it is the same one, and whether it is ours."""

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.helpers.in_memory.read_project import PROJECT, ReadProject, config
from tests.helpers.label_studio_in_memory import BACKEND_URL, LabelStudioInMemory

from prepal.errors import PrepalError
from prepal.label_studio import connect as connecting
from prepal.label_studio.api import NotFoundError, UnavailableError
from prepal.label_studio.describe import remarks
from prepal.records import dumps


@pytest.fixture
def world(redis: redis.Redis, tmp_path: Path) -> ReadProject:
    world = ReadProject(redis, tmp_path)
    world.check()
    return world


def irreplaceable(world: ReadProject) -> None:
    world.project.add_audits([1, 2])
    world.project.add_accuracy(10, {"estimate": 0.5, "low": 0.4, "high": 0.6})
    world.project.labels_before(0)


def gone(name: str) -> None:
    if name == "project":
        raise NotFoundError("Label Studio answered 404 to GET api/projects/5/: Not found.")


def test_that_a_project_is_gone_is_believed_when_it_is_said_again_and_again_for_minutes(
    world: ReadProject, redis: redis.Redis
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


def test_one_answer_of_label_studios_own_ends_the_doubt(world: ReadProject, redis: redis.Redis) -> None:
    world.label_studio.before_call = gone
    world.compare()
    redis.hset(world.project.key("gone"), "since", time.time() - 3600)
    world.label_studio.before_call = lambda _: None
    world.compare()
    world.label_studio.before_call = gone
    for _ in range(5):
        world.compare()
    assert world.project.is_known


def test_a_proxys_404_is_no_word_on_the_project(world: ReadProject) -> None:
    def unavailable(_: str) -> None:
        raise UnavailableError("Label Studio answered 404 to GET api/projects/5/: Not Found")

    world.label_studio.before_call = unavailable
    for _ in range(5):
        with pytest.raises(UnavailableError):
            world.compare()
    assert not world.project.connection.exists(world.project.key("gone"))
    assert world.project.task_count() == 10


def test_a_project_that_comes_back_has_its_audit_tasks_still(world: ReadProject, redis: redis.Redis) -> None:
    irreplaceable(world)
    world.compare()
    world.project.forget()
    world.project.register()
    world.compare()
    world.check()
    assert world.project.audits() == {1, 2}
    assert len(world.project.accuracies()) == 1
    assert redis.ttl(world.project.key("audits")) == redis.ttl(world.project.key("accuracies")) == -1


def test_another_project_of_the_same_number_knows_nothing_of_the_first_one(world: ReadProject) -> None:
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


def test_the_time_at_which_a_project_was_made_may_be_written_otherwise(world: ReadProject) -> None:
    irreplaceable(world)
    world.label_studio.settings["created_at"] = "2026-01-01T02:00:00.000000+02:00"
    world.compare()
    world.check()
    assert world.project.audits()


def look(world: ReadProject, user: str = "", password: str = "") -> bool:
    label_studio: Any = world.label_studio
    return connecting.is_to_be_connected(world.project, label_studio, BACKEND_URL, user, password)


def test_a_backend_that_somebody_deleted_by_hand_is_left_alone_until_it_is_there_again(world: ReadProject) -> None:
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


def test_a_backend_with_other_credentials_is_given_the_new_ones(world: ReadProject) -> None:
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


def test_a_project_whose_backend_was_never_seen_is_not_called_left(world: ReadProject) -> None:
    world.label_studio.backend_list = []
    assert not look(world)
    assert world.project.left == ""


TREE = """<View><Text name="text" value="$text"/><Choices name="topic" toName="text" allowNested="true">
<Choice value="A"><Choice value="Other"/></Choice><Choice value="B"><Choice value="Other"/></Choice></Choices></View>"""


def test_paths_that_an_earlier_release_kept_as_their_last_names_are_read_again(
    world: ReadProject, redis: redis.Redis
) -> None:
    world.label_studio.settings["label_config"] = TREE
    raw = world.label_studio.annotate(3, "A")
    world.label_studio.raw_annotations[raw["id"]]["result"][0]["value"]["choices"] = [["A", "Other"]]
    world.compare()
    world.check()
    (known,) = world.project.annotations().values()
    assert known.choices == {"topic": ["A > Other"]}
    redis.hset(
        world.project.key("annotations"), str(raw["id"]), dumps(asdict(replace(known, choices={"topic": ["Other"]})))
    )
    world.project.set_info(replace(world.project.info, meaning=""))
    world.compare()
    world.check()


def test_what_of_a_config_is_not_learnt_or_not_read_is_told_with_what_the_tasks_lack(world: ReadProject) -> None:
    def told() -> list[str]:
        label_studio: Any = world.label_studio
        return remarks(label_studio, PROJECT)

    assert told() == []
    world.label_studio.settings["label_config"] = config("Title Text")
    assert told() == [
        "10 of the first 10 tasks have no text to read, most of them because the config reads $Title, the task has "
        "'title', 'text': rename one of them."
    ]
    rating = '<Rating name="stars" toName="text"/></View>'
    world.label_studio.settings["label_config"] = config().replace("</View>", rating)
    assert told() == ["Only 'topic' is learnt; not 'Rating'."]
    for task in world.label_studio.data:
        world.label_studio.edit_task(task, {"text": f"s3://letters/{task}.txt"})
    assert told()[1] == ("10 of the first 10 tasks have no text to read, most of them because the text is an address.")


def test_two_who_connect_at_once_do_not_end_each_other(world: ReadProject) -> None:
    answers = iter([PrepalError("Label Studio answered 500 to PATCH api/webhooks/1/: UNIQUE constraint failed.")])

    def refuse_once(name: str) -> None:
        if name == "save_webhook" and (error := next(answers, None)):
            raise error

    label_studio = world.label_studio
    label_studio.hooks = [{"id": 1, "url": f"{BACKEND_URL}/webhook", "actions": []}]
    label_studio.before_call = refuse_once
    changes = connecting.connect(world.project, label_studio, BACKEND_URL, "user", "one")  # type: ignore[arg-type]
    assert f"Set the events and credentials of the webhook {BACKEND_URL}/webhook." in changes
    assert label_studio.hooks[0]["is_active"]
