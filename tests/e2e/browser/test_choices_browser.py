"""Whatever choices look like, the interface marks what is predicted, and what is submitted so is learnt as the same."""

from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.helpers import ROOT
from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.projects import Loop, tickets

from prepal.labels.label_config import LabelConfig, parse
from prepal.machine.up import Installation

OUTPUT = ROOT / "test-output"
LABELS = 6
TREE = """<Choice value="Shipping"><Choice value="Late"/><Choice value="Other"/></Choice>
<Choice value="Billing" alias="money"><Choice value="Invoice"/><Choice value="Other"/></Choice>
<Choice value="Praise"/>"""
ODD = """<Choice value="a &gt; b, &quot;c&quot; / d"/><Choice value="Caf&#233;"/><Choice value="caf&#233;"/>
<Choice value="日本" html="&lt;b&gt;Shipping&lt;/b&gt;"/>"""
KINDS = {
    "odd names": f'<Choices name="topic" toName="text">{ODD}</Choices>',
    "nested": f'<Choices name="topic" toName="text" allowNested="true">{TREE}</Choices>',
    "several nested": f'<Choices name="topic" toName="text" allowNested="true" choice="multiple">{TREE}</Choices>',
    "taxonomy": f'<Taxonomy name="topic" toName="text" maxUsages="1" leafsOnly="true">{TREE}</Taxonomy>',
    "several of a taxonomy": f'<Taxonomy name="topic" toName="text">{TREE}</Taxonomy>',
}


@pytest.fixture(scope="module")
def signed_in(installation: Installation) -> dict[str, str]:
    return {"email": installation.label_studio_user or "", "password": installation.label_studio_password or ""}


def sign_in(page: Page, url: str, fields: dict[str, str]) -> None:
    page.goto(f"{url}/user/login")
    for name, value in fields.items():
        page.fill(f"input[name={name}]", value)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)


SEVERAL = """<Choices name="topic" toName="text"><Choice value="Shipping"/><Choice value="Billing"/></Choices>
<Choices name="urgent" toName="text" choice="multiple"><Choice value="today"/><Choice value="angry"/></Choices>
<Taxonomy name="area" toName="text" maxUsages="1" leafsOnly="true"><Choice value="Post"><Choice value="Parcel"/>
<Choice value="Letter"/></Choice></Taxonomy>
<Choices name="refund" toName="text" visibleWhen="choice-selected" whenTagName="topic" whenChoiceValue="Billing">
<Choice value="yes"/><Choice value="no"/></Choices>"""


def open_the_queue(page: Page, url: str, fields: dict[str, str], loop: Loop) -> Locator:
    """Begin to label a project as a person does; returns where the text is shown."""
    page.set_default_timeout(90_000)
    sign_in(page, url, fields)
    page.goto(f"{url}/projects/{loop.id}/data")
    page.get_by_role("button", name="Label All Tasks").click()
    text = page.locator(".lsf-richtext, .htx-richtext").first
    expect(text).to_be_visible()
    return text


def answers(config: LabelConfig, number: int) -> list[dict[str, Any]]:
    """What somebody says who answers all questions that are asked."""
    return config.results([([number % len(question.choices)], 1.0) for question in config.questions])


def test_all_questions_are_marked_and_submitted_and_the_next_task_comes(
    installation: Installation, label_studio: LabelStudioApi, browser: Browser, signed_in: dict[str, str]
) -> None:
    xml = f'<View><Text name="text" value="$text"/>{SEVERAL}</View>'
    config = parse(xml)
    texts, _ = tickets(30, mark="several questions")
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts], xml)
    loop.wait_until_ranked(len(texts))
    first = first_shown(loop, config)
    (predicted,) = label_studio.call("GET", "/api/predictions/", params={"task": first})
    by_tag = {item["from_name"]: item for item in predicted["result"]}
    is_asked = by_tag["topic"]["value"]["choices"] == ["Billing"]
    assert set(by_tag) == {"topic", "urgent", "area", *(["refund"] if is_asked else [])}

    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    text = open_the_queue(page, installation.label_studio_url, signed_in, loop)
    shown = text.inner_text()
    submit = page.get_by_role("button", name="Submit current annotation")
    expect(submit).to_be_enabled()
    page.screenshot(path=OUTPUT / "choices-several-questions.png")
    submit.click()
    expect(text).not_to_have_text(shown)
    page.close()

    (submitted,) = wait_until(lambda: label_studio.call("GET", f"/api/tasks/{first}/annotations/"))
    said = {item["from_name"]: item["value"] for item in submitted["result"]}
    for tag, item in by_tag.items():
        kind = item["type"]
        assert said.get(tag, {}).get(kind, []) == item["value"][kind], tag
    loop.wait_for_round()
    assert [one["labelled"] for one in loop.status()["questions"]][:3] == [LABELS + 1] * 3


def first_shown(loop: Loop, config: LabelConfig) -> int:
    """Label tasks until the first one in the order is no audit task, whose predictions nobody sees; returns it."""
    labels = 0
    while True:
        loop.wait_for_round()
        record = loop.known.round
        assert record is not None
        if labels >= LABELS and record.head[0] not in loop.hidden():
            return record.head[0]
        task = loop.api.next(loop.id)
        assert task is not None
        result = answers(config, labels)
        loop.api.call("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": result})
        labels += 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_predicted_is_marked_and_learnt_when_it_is_submitted(
    kind: str, installation: Installation, label_studio: LabelStudioApi, browser: Browser, signed_in: dict[str, str]
) -> None:
    xml = f'<View><Text name="text" value="$text"/>{KINDS[kind]}</View>'
    config = parse(xml)
    texts, _ = tickets(30, mark=kind)
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts], xml)
    loop.wait_until_ranked(len(texts))
    first = first_shown(loop, config)
    (predicted,) = label_studio.call("GET", "/api/predictions/", params={"task": first})
    (item,) = predicted["result"]

    page = browser.new_page(viewport={"width": 1280, "height": 800})
    open_the_queue(page, installation.label_studio_url, signed_in, loop)
    submit = page.get_by_role("button", name="Submit current annotation")
    expect(submit).to_be_enabled()
    page.screenshot(path=OUTPUT / f"choices-{kind.replace(' ', '-')}.png")
    submit.click()

    def submitted() -> list[dict]:  # type: ignore[type-arg]
        return label_studio.call("GET", f"/api/tasks/{first}/annotations/")

    wait_until(submitted)
    page.close()
    (result,) = submitted()[0]["result"]
    chosen = item["value"][config.kind]
    assert chosen
    assert [path for path in result["value"][config.kind] if path in chosen] == chosen
    (learnt,) = wait_until(lambda: [a for a in loop.known.annotations().values() if a.task == first])
    assert {config.place(name) for name in learnt.choices["topic"]} == {
        place
        for place, _ in enumerate(config.choices)
        if config.result([place], 1.0)[0]["value"][config.kind][0] in chosen
    }
