"""What an annotator sees, in a real browser; screenshots are kept in test-output/."""

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.helpers import ROOT
from tests.helpers.api import LabelStudioApi
from tests.helpers.projects import Loop, tickets

from prepal.machine.up import Installation

OUTPUT = ROOT / "test-output"


@pytest.fixture
def page(browser: Browser) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(60_000)
    return page


def test_an_annotator_signs_in_sees_the_predicted_choice_submits_and_gets_the_next_text(
    installation: Installation, label_studio: LabelStudioApi, page: Page
) -> None:
    texts, answers = tickets(300, mark="b")
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts])
    loop.wait_until_ranked(len(texts))
    first, labels = -1, 0
    # Of a task that is labelled as a check nobody sees what is predicted.
    while labels < 10 or first in loop.hidden():
        loop.annotate_next(answers)
        loop.wait_for_round()
        record = loop.known.round
        assert record is not None
        first, labels = record.head[0], record.labels
    assert record.classifier
    text_of = {task["id"]: task["data"]["text"] for task in label_studio.tasks(loop.id)}

    page.goto(f"{installation.label_studio_url}/user/login")
    page.fill("input[name=email]", installation.label_studio_user or "")
    page.fill("input[name=password]", installation.label_studio_password or "")
    page.screenshot(path=OUTPUT / "1-sign-in.png")
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)
    page.goto(f"{installation.label_studio_url}/projects/{loop.id}/data")
    button = page.get_by_role("button", name="Label All Tasks")
    expect(button).to_be_enabled()
    page.screenshot(path=OUTPUT / "2-project.png")

    button.click()
    text = page.locator(".lsf-richtext, .htx-richtext").first
    expect(text).to_be_visible()
    expect(text).to_have_text(text_of[first])
    chosen = page.locator(".ant-checkbox-wrapper-checked, .ant-radio-wrapper-checked")
    expect(chosen).to_have_count(1)
    predicted = label_studio.call("GET", "/api/predictions/", params={"task": first})[0]
    assert predicted["result"][0]["value"]["choices"][0] in chosen.inner_text()
    page.screenshot(path=OUTPUT / "3-predicted-choice.png")

    page.get_by_role("button", name="Submit current annotation").click()
    expect(text).not_to_have_text(text_of[first])
    expect(page.get_by_role("button", name="Submit current annotation")).to_be_enabled()
    assert text.inner_text().strip() in {shown.strip() for shown in text_of.values()}
    page.screenshot(path=OUTPUT / "4-next-text.png")
    loop.wait_for_round()
    assert first in {annotation.task for annotation in loop.known.annotations().values()}
