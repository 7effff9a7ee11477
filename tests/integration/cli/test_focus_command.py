"""`prepal focus`: what is asked for is remembered with who and when, and told; what is wrong is said in a sentence."""

import getpass
import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from prepal.cli.main import main
from prepal.project import Info, Project
from prepal.queues.requests import mark

CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="topic" toName="text">'
    '<Choice value="A"/><Choice value="B"/></Choices></View>'
)
ASK = [
    (("--choice", "B"), "choice", "B", "texts that are likely 'B'"),
    (("--like", "7"), "task", "7", "texts like that of task 7"),
    (("--like", "late parcel"), "words", "late parcel", "texts like 'late parcel'"),
    (("--filter", "language=de"), "filter", "language=de", "tasks with language=de"),
    (("--doubt",), "doubt", "", "texts that the classifier doubts most"),
]


@pytest.fixture
def project(redis: Redis) -> Project:
    known = Project(redis, 3)
    known.register()
    known.set_info(Info(label_config=CONFIG, connected=True))
    known.put_tasks({7: "0" * 32}, {})
    return known


@pytest.fixture
def prepal(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("REDIS_URL", redis_url)
    return lambda *arguments: CliRunner().invoke(main, ["focus", *map(str, arguments)])


@pytest.mark.parametrize(("options", "kind", "value", "what"), ASK)
def test_what_is_asked_for_is_told_with_who_and_for_how_long(
    prepal: Callable[..., Result], project: Project, options: tuple[str, ...], kind: str, value: str, what: str
) -> None:
    facts = project.facts
    done = prepal(3, *options, "--labels", 20)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"First come {what}, as asked for by {getpass.getuser()} at ")
    assert done.output.endswith(", for 20 labels, of which 20 are left.\n")
    focus = project.focus
    assert (focus.kind, focus.value, focus.by, focus.until) == (kind, value, getpass.getuser(), 20)
    assert project.facts == facts + 1
    assert project.connection.exists(mark("round", 3))
    assert prepal(3).output == done.output
    off = prepal(3, "--off")
    assert off.output.startswith(f"The ordinary order is served: the focus was ended by {getpass.getuser()} at ")
    assert not project.focus.is_on


def test_nobody_has_asked_for_anything_yet(prepal: Callable[..., Result], project: Project) -> None:
    assert prepal(project.id).output == "The ordinary order is served: nobody has asked for a focus yet.\n"
    assert json.loads(prepal(project.id, "--json").output) == {"project": 3, "focus": None}
    assert json.loads(prepal(project.id, "--doubt", "--json").output)["focus"]["kind"] == "doubt"


@pytest.mark.parametrize(
    ("options", "status", "sentence"),
    [
        ((4,), 1, "Project 4 is not connected: run `prepal connect 4`."),
        ((3, "--choice", "C"), 1, "Project 3 has no choice 'C': its choices are 'A', 'B'."),
        ((3, "--annotator", "a@b.c"), 1, "so a@b.c cannot have an order alone"),
        ((3, "--doubt", "--off"), 2, "There is one focus at a time"),
        ((3, "--off", "--labels", 3), 2, "--labels says how long a focus is"),
        ((3, "--doubt", "--labels", 0), 2, "0 is not in the range"),
    ],
)
@pytest.mark.usefixtures("project")
def test_what_is_wrong_is_said_in_one_sentence(
    prepal: Callable[..., Result], options: tuple[object, ...], status: int, sentence: str
) -> None:
    done = prepal(*options)
    assert done.exit_code == status
    assert sentence in " ".join(done.output.split())


def test_of_many_choices_those_are_named_that_are_called_nearly_so(
    prepal: Callable[..., Result], project: Project
) -> None:
    many = "".join(f'<Choice value="{word}{n}"/>' for n in range(40) for word in ("refund", "card"))
    project.set_info(Info(label_config=CONFIG.replace('<Choice value="A"/>', many)))
    said = prepal(3, "--choice", "refund").output
    assert "'refund1'" in said
    assert "'card1'" not in said
    assert "and 51 more" in said
