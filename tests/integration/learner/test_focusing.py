"""What a lead asks for is what comes next, audit tasks keep their share, and nothing else is different."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from tests.helpers.installation import BASE, CHOICES, Installation, Subject, look

from prepal.errors import PrepalError
from prepal.project.focus import Focus, Kind
from prepal.queues.asking import ask
from prepal.vectors import text_id

LANGUAGES = ("en", "de", "fr")


@pytest.fixture
def here(install: Callable[..., Installation]) -> Installation:
    """A project of 40 tasks, each of one language, and another one that must not notice."""
    here = install(40)
    it = here.subjects[1]
    for place, task in enumerate(it.tasks):
        it.label_studio.data[task] |= {"from": {"language": LANGUAGES[place % 3]}, "tags": ["mail", place % 2]}
    return here


@pytest.fixture
def it(here: Installation) -> Subject:
    return here.subjects[1]


def focus_on(here: Installation, it: Subject, kind: Kind, value: str = "", labels: int = 0) -> Focus:
    focus = ask(it.project, kind, value, "anna", labels)
    here.work()
    return focus


def asked_for(it: Subject) -> list[int]:
    """The tasks of the head that the focus put there, in its order."""
    record = it.project.round
    assert record is not None
    return [task for task, slot in zip(record.head, record.slots, strict=True) if slot.startswith("focus: ")]


def told(here: Installation) -> dict[str, Any]:
    found: dict[str, Any] = look(here, 1)[1]
    return found


def vector(here: Installation, it: Subject, task: int) -> Any:
    return here.table.find([it.project.texts_of([task])[task]])[1][0].astype(np.float64)


def test_the_next_one_that_is_served_is_what_was_asked_for(here: Installation, it: Subject) -> None:
    wanted = it.tasks[17]
    focus_on(here, it, "task", str(wanted))
    assert asked_for(it)[0] == wanted
    assert it.label_studio.next(1) == it.project.round.head[0]  # type: ignore[union-attr]
    focus_on(here, it, "filter", "from.language=de")
    assert {it.label_studio.data[task]["from"]["language"] for task in asked_for(it)} == {"de"}
    focus_on(here, it, "")
    assert asked_for(it) == []
    it.check()


def test_what_is_like_a_task_is_near_it(here: Installation, it: Subject) -> None:
    here.connection.delete(it.project.key("audits"))
    it.label(it.tasks[0], "A")
    wanted = it.tasks[0]
    focus_on(here, it, "task", str(wanted))
    found = asked_for(it)
    assert wanted not in found

    def cosine(task: int) -> float:
        one, other = vector(here, it, wanted), vector(here, it, task)
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    # One label teaches no classifier, beside names that mean nothing; words of the texts are nearly the same.
    middle = np.median([cosine(task) for task in it.tasks])
    assert np.mean([cosine(task) for task in found]) > middle


def test_what_is_doubted_most_comes_first(here: Installation, it: Subject) -> None:
    focus_on(here, it, "doubt")
    ranking = it.project.ranking()
    assert ranking is not None
    sure = dict(zip(ranking.task_ids.tolist(), ranking.confidence.tolist(), strict=True))
    first = [sure[task] for task in asked_for(it)]
    assert first == sorted(first)
    assert max(first) <= min(of for task, of in sure.items() if task not in it.project.round.head)  # type: ignore[union-attr]


def test_texts_of_a_choice_come_surest_first(here: Installation, it: Subject) -> None:
    for place in range(6):
        it.label(it.tasks[place], CHOICES[place % 2])
    here.work()
    focus_on(here, it, "choice", "B")
    record = it.project.round
    assert record is not None
    assert set(record.slots) <= {"focus: texts that are likely 'B'", "audit"}
    likely = {task: of["B"] for task, of in zip(record.head, record.likely, strict=True)}
    # The labels before tell that the second of these is the doubtful one.
    first = asked_for(it)
    assert likely[first[0]] == max(likely[task] for task in first)


def test_words_serve_by_their_letters_until_the_encoder_has_seen_them(here: Installation, it: Subject) -> None:
    late = it.label_studio.import_tasks({"text": f"{n}: the parcel came late"} for n in range(3))
    here.compare()
    here.stuck.add(BASE)
    focus_on(here, it, "words", "late parcels")
    assert told(here)["notes"] == ["Until 'late parcels' is embedded, texts with such words come first."]
    assert set(asked_for(it)[:3]) <= set(late)
    here.stuck.clear()
    here.work()
    assert told(here)["notes"] == []
    assert here.table.find([text_id("late parcels")])[0].all()
    assert len(asked_for(it)) + len(it.project.round.head_audit) == len(it.project.round.head)  # type: ignore[union-attr]


def test_words_that_the_encoder_refuses_serve_by_their_letters_alone(here: Installation, it: Subject) -> None:
    here.stuck.add(BASE)
    focus_on(here, it, "words", "refused")
    here.waiting.set_aside(text_id("refused"), "the encoder says no")
    it.project.add_fact()
    focus_on(here, it, "words", "refused")
    assert any("The encoder refused 'refused'" in note for note in told(here)["notes"])
    assert asked_for(it)


@pytest.mark.parametrize("value", ["from.language=en", "tags=1", "tags = mail"])
def test_tasks_with_a_value_are_all_served_and_then_the_others_and_it_is_said(
    here: Installation, it: Subject, value: str
) -> None:
    focus_on(here, it, "filter", value)

    def matches(task: int) -> bool:
        data = it.label_studio.data[task]
        return data["from"]["language"] == "en" if "language" in value else value == "tags = mail" or 1 in data["tags"]

    matching = {task for task in it.tasks if matches(task)}
    assert set(it.project.matching.all()[0].tolist()) == matching
    record = it.project.round
    assert record is not None
    while matching:
        assert set(asked_for(it)) <= matching
        assert len(asked_for(it)) == min(len(matching), len(record.head) - len(it.project.round.head_audit))  # type: ignore[union-attr]
        task = it.label_studio.next(1)
        assert task is not None
        matching.discard(task)
        it.label_next()
        here.work()
    assert asked_for(it) == []
    are_left = bool(it.project.round.ranked)  # type: ignore[union-attr]
    assert are_left == (value != "tags = mail")
    assert are_left == any(note.endswith("the ordinary order follows.") for note in told(here)["notes"])
    it.check()


def test_tasks_that_come_or_change_later_match_too(here: Installation, it: Subject) -> None:
    focus_on(here, it, "filter", "from.language=it")
    assert asked_for(it) == []
    (new,) = it.label_studio.import_tasks([{"text": "new", "from": {"language": "it"}}])
    here.compare()
    edited, gone = it.tasks[3], it.tasks[5]
    it.label_studio.edit_task(edited, {**it.label_studio.data[edited], "from": {"language": "it"}})
    it.label_studio.edit_task(gone, {"text": "other", "from": "it"})
    here.compare()
    it.project.add_fact()
    here.compare()
    assert set(asked_for(it)) == {new, edited}


def test_a_focus_for_some_labels_ends_by_itself(here: Installation, it: Subject) -> None:
    it.label_next()
    here.work()
    focus = focus_on(here, it, "doubt", labels=3)
    assert told(here)["focus"]["left"] == 3
    for left in (2, 1, 0):
        it.label_next()
        here.work()
        assert len(asked_for(it)) <= left
        assert told(here)["focus"]["left"] == left
    assert it.project.focus.over_at
    assert it.project.focus.by == "anna"
    assert "has had its 3 labels" in told(here)["focus"]["told"]
    # Who asked for something meanwhile is not overruled.
    other = focus_on(here, it, "doubt")
    it.project.end_focus(focus)
    assert it.project.focus == other


def test_a_choice_without_a_label_is_found_by_its_name_where_a_text_may_have_several(
    here: Installation, it: Subject
) -> None:
    xml = str(it.label_studio.settings["label_config"])
    it.label_studio.settings["label_config"] = xml.replace("<Choices ", '<Choices choice="multiple" ')
    here.compare()
    for task in it.tasks[:4]:
        it.label(task, "A")
    here.work()
    focus_on(here, it, "choice", "B")
    found = asked_for(it)
    it.label(found[0], "B")
    here.work()
    assert asked_for(it)
    it.check()


def test_a_choice_that_is_no_more_is_told_and_the_ordinary_order_is_served(here: Installation, it: Subject) -> None:
    focus_on(here, it, "choice", "B")
    xml = str(it.label_studio.settings["label_config"])
    it.label_studio.settings["label_config"] = xml.replace('"B"', '"C"')
    here.compare()
    assert asked_for(it) == []
    assert "There is no choice 'B' any more: the ordinary order is served." in told(here)["notes"]
    it.check()


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        ("choice", "C", "Project 1 has no choice 'C': its choices are 'A', 'B'."),
        ("task", "4711", "Project 1 has no task '4711' with a text: give the number of one, or words."),
        ("task", "9" * 40, f"Project 1 has no task '{'9' * 40}' with a text: give the number of one, or words."),
        ("words", "  ", "The words have 0 characters: give 1 to 2,000."),
        ("words", "x" * 2001, "The words have 2,001 characters: give 1 to 2,000."),
        ("filter", "language", "The filter 'language' names no field and value: write it as 'field=value'."),
        ("filter", " =de", "The filter '=de' names no field and value: write it as 'field=value'."),
    ],
)
def test_what_does_not_exist_is_refused_in_one_sentence(it: Subject, kind: Kind, value: str, sentence: str) -> None:
    with pytest.raises(PrepalError) as refusal:
        ask(it.project, kind, value, "anna")
    assert str(refusal.value) == sentence
    assert it.project.focus == Focus()


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_asked_for_checks_at_random_keep_their_share_and_reasons_are_true(
    here: Installation, it: Subject, seed: int
) -> None:
    random, asked = Random(seed), Counter[str]()
    wanted: list[tuple[Kind, str]] = [("choice", "A"), ("task", str(it.tasks[0])), ("words", "text 7")]
    wanted += [("filter", "tags=1"), ("doubt", ""), ("", "")]
    it.label_studio.import_tasks({"text": f"more {n}", "tags": n % 2} for n in range(80))
    here.compare()
    for _ in range(60):
        if random.random() < 0.2:
            kind, value = random.choice(wanted)
            focus_on(here, it, kind, value, random.choice([0, 0, 3]))
        task = it.label_studio.next(1)
        assert task is not None
        it.label(task, random.choice(CHOICES), by=1, skip=random.random() < 0.1)
        here.work()
        record, focus, page = it.project.round, it.project.focus, told(here)
        assert record is not None
        assert [task for task, slot in zip(record.head, record.slots, strict=True) if slot == "audit"] == (
            record.head_audit
        )
        for entry in page["next"]:
            asked[entry["reason"]] += 1
            check_reason(entry, record.head, focus)
    it.check()
    labelled = {a.task for a in it.project.annotations().values() if not a.skipped}
    assert len(labelled & it.project.audits()) == pytest.approx(0.1 * len(labelled), abs=2)
    assert {"audit", "focus", "doubt", "order"} <= asked.keys()


def check_reason(entry: dict[str, Any], head: list[int], focus: Focus) -> None:
    """What is told of a task is what put it there, and nothing else that is shown of it says the opposite."""
    reason, why = entry["reason"], entry["why"]
    assert (entry["task"] in head) == (reason not in ("order",)), entry
    assert (reason == "focus") == why.startswith("asked for: "), entry
    assert reason != "focus" or (focus.is_on and focus.what in why), entry
    assert "teaches" not in why
    if entry["confidence"] is not None and entry["confidence"] > 0.9:
        assert not why.startswith(("between", "unsure")), entry
