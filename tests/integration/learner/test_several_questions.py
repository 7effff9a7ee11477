"""Several questions in one project: each learnt by itself, all predicted, and told one by one."""

from collections.abc import Callable

import numpy as np
import pytest
from tests.helpers.installation import CHOICES, Installation, Subject, look

from prepal.labels import label_config
from prepal.learner import jobs
from prepal.learner.handing_on import Believer
from prepal.project import Project
from prepal.reports.status import report
from prepal.server.model import PrepalModel

TASKS = 30


def config(tone: str = "", text: str = "text") -> str:
    other = '<Text name="other" value="$other"/>' if text == "other" else ""
    return (
        '<View><Text name="text" value="$text"/><Choices name="topic" toName="text"><Choice value="A"/>'
        f'<Choice value="B"/></Choices>{other}<Choices name="tone" toName="{text}"{tone}><Choice value="calm"/>'
        '<Choice value="angry"/><Choice value="sad"/></Choices></View>'
    )


IF_B = ' visibleWhen="choice-selected" whenTagName="topic" whenChoiceValue="B"'
TONES = ("calm", "angry", "sad")


def change(here: Installation, it: Subject, xml: str) -> None:
    it.label_studio.settings["label_config"] = xml
    PrepalModel(it.project).fit("PROJECT_UPDATED", {"project": {"label_config": xml}})
    here.compare()
    rest(here, it)


def rest(here: Installation, it: Subject) -> None:
    """What is done when all is quiet."""
    here.maintain()
    here.work()
    jobs.freshen(it.number)


def answer(it: Subject, task: int, topic: str | None, tone: str | None) -> None:
    raw = it.label_studio.annotate(task, *([topic] if topic else []), answers={"tone": tone} if tone else {})
    PrepalModel(it.project).fit("ANNOTATION_CREATED", {"annotation": raw})


def of(it: Subject, name: str) -> Project:
    found = label_config.parse(it.project.info.label_config)
    return it.project.of(next(question for question in found.questions if question.from_name == name))


def predicted(it: Subject) -> dict[int, list[str]]:
    """Which questions the prediction of each waiting task answers."""
    labelled = {raw["task"] for raw in it.label_studio.raw_annotations.values()}
    return {
        row["task"]: [item["from_name"] for item in row["result"]]
        for row in it.label_studio.predictions(project=it.number)
        if row["task"] not in labelled
    }


@pytest.fixture
def here(install: Callable[..., Installation]) -> Installation:
    here = install(TASKS)
    it = here.subjects[1]
    for task in it.tasks:
        it.label_studio.edit_task(task, {**it.label_studio.data[task], "other": f"other text of {task}"})
    return here


@pytest.fixture
def it(here: Installation) -> Subject:
    return here.subjects[1]


def label_all_kinds(here: Installation, it: Subject, count: int = 12) -> None:
    for number in range(count):
        task = it.label_studio.next(1)
        assert task is not None
        answer(it, task, CHOICES[number % 2], TONES[number % 3])
        here.work()
    rest(here, it)


def test_all_questions_are_learnt_predicted_and_told(here: Installation, it: Subject) -> None:
    change(here, it, config())
    label_all_kinds(here, it)
    it.check()
    hidden = it.project.ranking()
    assert hidden is not None
    assert hidden.hidden is not None
    secret = set(hidden.task_ids[hidden.hidden].tolist())
    for task, questions in predicted(it).items():
        assert questions == ([] if task in secret else ["topic", "tone"])
    told = look(here, 1)[1]
    assert [(one["question"], one["labelled"], one["classifier"]) for one in told["questions"]] == [
        ("topic", 12, True), ("tone", 12, True),
    ]  # fmt: skip
    assert [[choice["choice"] for choice in one["choices"]] for one in told["questions"]] == [["A", "B"], list(TONES)]
    assert [said["question"] for said in told["next"][0]["said"]] == ["topic", "tone"]
    assert told["labelled"] == 12
    assert any("several questions" in note for note in told["notes"])
    first, second = it.project.ranking(), of(it, "tone").ranking()
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.task_ids, second.task_ids)


def test_a_task_that_answers_one_question_is_served_no_more(here: Installation, it: Subject) -> None:
    change(here, it, config())
    first, second, third = it.tasks[:3]
    answer(it, first, "A", None)
    answer(it, second, None, "sad")
    answer(it, third, "B", "calm")
    here.work()
    ranking = it.project.ranking()
    assert ranking is not None
    assert set(it.tasks) - set(ranking.task_ids.tolist()) == {first, second, third}
    told = report(it.project, here.waiting)
    assert told["labelled"] == 3
    assert [one["labelled"] for one in told["questions"]] == [2, 2]
    assert told["passed"]["tasks"] == 0
    it.check()


def test_a_question_that_an_answer_opens_is_learnt_from_those_who_were_asked(here: Installation, it: Subject) -> None:
    change(here, it, config(IF_B))
    for number, task in enumerate(it.tasks[:12]):
        answer(it, task, CHOICES[number % 2], TONES[number % 3] if number % 2 else None)
    here.work()
    rest(here, it)
    told = report(it.project, here.waiting)
    assert [one["labelled"] for one in told["questions"]] == [12, 6]
    ranking = it.project.ranking()
    assert ranking is not None
    answers = predicted(it)
    for place, task in enumerate(ranking.task_ids.tolist()):
        if answers[task]:
            assert ("tone" in answers[task]) == bool(ranking.chosen[place, 1])


def test_a_question_about_a_text_of_its_own_reads_that_one_alone(here: Installation, it: Subject) -> None:
    change(here, it, config(text="other"))
    label_all_kinds(here, it)
    it.check()
    tone = of(it, "tone")
    first, own = it.project.texts_of(it.tasks), tone.texts_of(it.tasks)
    assert set(first) == set(own) == set(it.tasks)
    assert not set(first.values()) & set(own.values())
    told = report(it.project, here.waiting)
    assert [one["classifier"] for one in told["questions"]] == [True, True]
    assert "'tone' is learnt from $other alone." in told["notes"]
    # Who has no such text is told, and its first question still learnt and predicted.
    it.label_studio.import_tasks([{"text": "one text alone"}])
    here.compare()
    here.work()
    new = max(it.tasks)
    assert new in tone.unembeddable()
    ranking = it.project.ranking()
    assert ranking is not None
    assert new in ranking.task_ids.tolist()
    assert predicted(it)[new] in (["topic"], [])
    it.label_studio.delete_task(new)
    PrepalModel(it.project).fit("TASKS_DELETED", {"tasks": [{"id": new}]})
    assert new not in tone.unembeddable()


def test_twins_are_tasks_all_of_whose_texts_are_the_same(here: Installation, it: Subject) -> None:
    change(here, it, config(text="other"))
    task = it.tasks[0]
    data = it.label_studio.data[task]
    same, half = it.label_studio.import_tasks([dict(data), {**data, "other": "another text"}])
    here.compare()
    answer(it, task, "A", "sad")
    here.work()
    ranking = it.project.ranking()
    assert ranking is not None
    assert ranking.twins.tolist() == [same]
    assert half in ranking.task_ids.tolist()


def test_a_question_that_comes_or_goes_leaves_the_others_as_they_are(here: Installation, it: Subject) -> None:
    change(here, it, config())
    label_all_kinds(here, it)
    before = it.project.texts_of(it.tasks)
    topic = here.learner.memories.of(1).learner
    assert topic is not None
    alone = config().replace(config()[config().index('<Choices name="tone"') : -len("</View>")], "")
    change(here, it, alone)
    assert here.learner.memories.of(1).learner is topic
    assert it.project.texts_of(it.tasks) == before
    assert {tuple(questions) for questions in predicted(it).values()} <= {("topic",), ()}
    assert [one["question"] for one in report(it.project, here.waiting)["questions"]] == ["topic"]
    change(here, it, config())
    assert here.learner.memories.of(1).learner is topic
    assert ("topic", "tone") in {tuple(questions) for questions in predicted(it).values()}
    it.check()


def first_if_angry() -> str:
    """A first question that the answer to the second one opens."""
    condition = ' visibleWhen="choice-selected" whenTagName="tone" whenChoiceValue="angry"'
    return config().replace('<Choices name="topic" toName="text"', f'<Choices name="topic" toName="text"{condition}')


def test_a_first_question_that_the_second_one_opens_leaves_no_place_of_the_head_empty(
    here: Installation, it: Subject
) -> None:
    change(here, it, first_if_angry())
    for number in range(10):
        task = it.label_studio.next(1)
        assert task is not None
        tone = TONES[number % 3]
        answer(it, task, CHOICES[number % 2] if tone == "angry" else None, tone)
        here.work()
        record = it.project.round
        assert record is not None
        assert len(record.head) == len(set(record.head)) == len(record.slots) == 4
    rest(here, it)
    it.check()


def test_a_twin_of_who_answered_any_question_leaves_the_queue(here: Installation, it: Subject) -> None:
    change(here, it, first_if_angry())
    task = it.tasks[0]
    (twin,) = it.label_studio.import_tasks([dict(it.label_studio.data[task])])
    here.compare()
    answer(it, task, None, "calm")
    here.work()
    ranking = it.project.ranking()
    assert ranking is not None
    assert ranking.twins.tolist() == [twin]
    assert twin not in ranking.task_ids.tolist()


def test_what_is_believed_of_each_question_is_handed_on(here: Installation, it: Subject) -> None:
    change(here, it, config())
    label_all_kinds(here, it)
    ranking = it.project.ranking()
    assert ranking is not None
    waiting = ranking.task_ids.tolist()
    believer = Believer(it.project, here.table, here.learner.choosing)
    known = believer.of_tasks(it.tasks)
    assert set(known) == set(waiting)
    for told in known.values():
        assert {name: tuple(found) for name, found in told["prepal_beliefs"].items()} == {
            "topic": tuple(CHOICES), "tone": TONES,
        }  # fmt: skip


@pytest.mark.parametrize("name", ["round", "ranking", "accuracies", "texts", "unembeddable", "judged", "weak-labels"])
def test_what_nobody_can_read_of_a_question_is_made_anew(here: Installation, it: Subject, name: str) -> None:
    change(here, it, config(text="other"))
    label_all_kinds(here, it)
    key = of(it, "tone").key(name)
    assert key != it.project.key(name)
    names = [key, *here.connection.scan_iter(f"{key}:*")]
    here.connection.delete(*names)
    (here.connection.zadd(key, {"x": 1.0}) if name != "texts" else here.connection.set(f"{key}:pages", "x"))
    here.maintain()
    here.compare()
    it.rest()
    here.maintain()
    here.compare()
    here.work()
    it.check()
    assert [one["labelled"] for one in report(it.project, here.waiting)["questions"]] == [12, 12]


def test_nothing_of_a_question_is_left_when_the_project_is_forgotten(here: Installation, it: Subject) -> None:
    change(here, it, config(text="other"))
    label_all_kinds(here, it)
    it.project.forget()
    left = {key.decode().rpartition(":")[2] for key in here.connection.scan_iter(it.project.key("*"))}
    assert left <= {"accuracies", "audits", "created", "expected", "labels-before", "questions", "shown"}
