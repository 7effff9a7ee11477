"""Label configs of all kinds on a real Label Studio: served to the end, or told in a sentence."""

import json
from typing import Any

import pytest
from tests.helpers.api import LabelStudioApi
from tests.helpers.projects import Loop, tickets

from prepal.labels.label_config import parse
from prepal.machine.up import Installation

CHOICES = '<Choice value="Shipping"/><Choice value="Billing"/>'
ASKED = f'<Choices name="topic" toName="text">{CHOICES}</Choices>'
TREE = '<Choice value="Order"><Choice value="Other"/></Choice><Choice value="Bill"><Choice value="Other"/></Choice>'


def turns(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}, {"role": "assistant", "content": "I will look."}]


# A config, what a task of a text has, and how the text is read.
SERVED: dict[str, tuple[str, Any, str]] = {
    "chat": (
        '<Chat name="text" value="$chat"/>' + ASKED,
        lambda t: {"chat": turns(t)},
        "user: {}\nassistant: I will look.",
    ),
    "heading": (
        f'<Header value="Is this about $thing?"/><Text name="text" value="$body"/>{ASKED}',
        lambda t: {"thing": "a drill", "body": t},
        "a drill\n{}",
    ),
    "digit": (f'<Text name="text" value="$1"/>{ASKED}', lambda t: {"1": t}, "{}"),
    "path": (f'<Text name="text" value="$turns[0].content"/>{ASKED}', lambda t: {"turns": turns(t)}, "{}"),
    "items": (
        f'<Text name="text" value="$a"/>{ASKED}<Text name="other" value="$b"/>'
        f'<Choices name="of_other" toName="other">{CHOICES}</Choices>',
        lambda t: {"a": t, "b": "something else"},
        "{}",
    ),
    "nested": (
        f'<Text name="text" value="$t"/><Choices name="topic" toName="text" allowNested="true">{TREE}</Choices>',
        lambda t: {"t": t},
        "{}",
    ),
    "taxonomy": (
        f'<Text name="text" value="$t"/><Taxonomy name="topic" toName="text">{TREE}</Taxonomy>',
        lambda t: {"t": t},
        "{}",
    ),
}


@pytest.mark.parametrize("kind", SERVED)
def test_a_config_is_served_to_the_end(kind: str, installation: Installation, label_studio: LabelStudioApi) -> None:
    inner, data, text = SERVED[kind]
    config = parse(f"<View>{inner}</View>")
    texts, _ = tickets(12, mark=kind)
    loop = Loop.of(installation, label_studio, [data(one) for one in texts], f"<View>{inner}</View>")
    loop.wait_until_ranked(len(texts))
    loop.vectors([config.text_for_encoder(data(one)) for one in texts])
    assert config.text(data(texts[0])) == text.format(texts[0])
    for number in range(4):
        task = label_studio.next(loop.id)
        assert task is not None
        result = config.result([number % 2], 1.0)
        label_studio.call("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": result})
        loop.wait_for_round()
    told = loop.status()
    assert (told["labelled"], told["not_embeddable"], told["troubles"]) == (4, {}, [])
    shown = [row["result"] for row in label_studio.predictions(loop.id) if row["result"]]
    assert shown
    kinds = {question.from_name: question.kind for question in config.questions}
    assert {item["from_name"]: item["type"] for result in shown for item in result} == kinds


def found_by_doctor(loop: Loop) -> dict[str, dict[str, str]]:
    told = json.loads(loop.prepal("doctor", str(loop.id), "--json", check=False).stdout)
    return {row["name"]: row for row in told["findings"] if row["project"] == loop.id}


@pytest.mark.parametrize(
    ("variable", "field", "value", "why"),
    [
        (
            "Review Text",
            "Review Text",
            "Where is it?",
            "the config reads $Review, the task has 'Review Text': rename one",
        ),
        (
            "review-text",
            "review-text",
            "Where is it?",
            "the config reads $review, the task has 'review-text': rename one",
        ),
        ("text", "text", "s3://letters/{}.txt", "the text is an address"),
    ],
)
def test_tasks_without_the_text_that_the_config_reads_are_told_at_once_and_by_the_doctor(
    variable: str, field: str, value: str, why: str, installation: Installation, label_studio: LabelStudioApi
) -> None:
    project = label_studio.create_project(f'<View><Text name="text" value="${variable}"/>{ASKED}</View>')
    label_studio.import_tasks(project, [{field: value.format(number)} for number in range(5)])
    loop = Loop(installation, label_studio, project)
    assert why in loop.prepal("connect", str(project)).stdout
    finding = found_by_doctor(loop)["texts"]
    assert finding["state"] == "warning"
    assert finding["what"].startswith(f"5 of the first 5 tasks have no text to read, most of them because {why}")
    loop.wait_until_ranked(0)
    (reason,) = loop.status()["not_embeddable"]
    assert reason.startswith(why)


def test_what_is_learnt_of_several_questions_is_told(installation: Installation, label_studio: LabelStudioApi) -> None:
    second = ASKED.replace("topic", "tone").replace(
        "<Choices", '<Choices visibleWhen="choice-selected" whenTagName="topic" whenChoiceValue="Billing"'
    )
    third = '<Choices name="spans" toName="text" perRegion="true"><Choice value="a"/><Choice value="b"/></Choices>'
    project = label_studio.create_project(f'<View><Text name="text" value="$text"/>{ASKED}{second}{third}</View>')
    label_studio.import_tasks(project, [{"text": "Where is it?"}])
    loop = Loop(installation, label_studio, project)
    told = (
        "Only 'topic' and 'tone' are learnt; not 'spans'. The label config's Choices 'spans' is not learnt, as it is "
        "per region or per item, and not about the whole text."
    )
    assert " ".join(told.split()) in " ".join(loop.prepal("connect", str(project)).stdout.split())
    assert told in " ".join(loop.status()["notes"])
    assert told in found_by_doctor(loop)["label config"]["what"]


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        (
            '<Text name="text" value="$文本"/>' + ASKED,
            "reads '$文本', and Label Studio reads no column until it is renamed",
        ),
        ('<Text name="text" value="$text" valueType="url"/>' + ASKED, "its Text 'text' has the valueType 'url'"),
        (
            '<Repeater on="$items" indexFlag="{{i}}"><Text name="text_{{i}}" value="$items[{{i}}].x"/>'
            f'<Choices name="topic_{{{{i}}}}" toName="text_{{{{i}}}}">{CHOICES}</Choices></Repeater>',
            "a Repeater shows several items of a task, each to be imported as a task of its own",
        ),
    ],
)
def test_a_config_that_cannot_be_served_is_refused_by_the_name_of_what_it_is(
    inner: str, words: str, installation: Installation, label_studio: LabelStudioApi
) -> None:
    loop = Loop(installation, label_studio, label_studio.create_project(f"<View>{inner}</View>"))
    refused = loop.prepal("connect", str(loop.id), check=False)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1
