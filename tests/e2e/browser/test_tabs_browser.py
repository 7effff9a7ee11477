"""The tabs of second looks in a real browser, as whoever leads the labelling sees them; screenshots in test-output/."""

import time
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.e2e.browser.test_choices_browser import sign_in
from tests.helpers import ROOT
from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.projects import Loop, tickets

from prepal.label_studio import tabs
from prepal.machine.up import Installation
from prepal.queues.requests import mark

OUTPUT = ROOT / "test-output"
LABELS, PLANTED, MOST_S = 120, 6, 5.0
WRONG, DISPUTED, TWINS, PASSED = (tabs.TITLES[kind] for kind in ("suspected", "disputed", "twins", "passed"))


class Lead:
    """A project with wrong labels, a disagreement, twins with different labels and a skipped task."""

    def __init__(self, loop: Loop, api: LabelStudioApi) -> None:
        self.loop = loop
        self.api = api
        texts = [task["data"]["text"] for task in api.tasks(loop.id)]
        self.tasks = [task["id"] for task in api.tasks(loop.id)]
        self.text = dict(zip(self.tasks, texts, strict=True))
        self.annotations: dict[int, int] = {}

    def tab(self, title: str) -> list[int]:
        """The tasks of a tab, in its order."""
        views = self.api.call("GET", "/api/dm/views/", params={"project": self.loop.id})
        tab = next((view["id"] for view in views if view["data"].get("title") == title), None)
        if tab is None:
            return []
        page = {"view": tab, "project": self.loop.id, "page_size": 100}
        return [task["id"] for task in self.api.call("GET", "/api/tasks", params=page)["tasks"]]

    def titles(self) -> list[str]:
        views = self.api.call("GET", "/api/dm/views/", params={"project": self.loop.id})
        return [view["data"].get("title", "") for view in views]


@pytest.fixture(scope="module")
def lead(installation: Installation, label_studio: LabelStudioApi) -> Lead:
    texts, answers = tickets(200, mark="tabs")
    data: list[dict[str, Any]] = [{"text": text} for text in [*texts, texts[0]]]
    loop = Loop.of(installation, label_studio, data)
    loop.wait_until_ranked(len(texts))
    lead = Lead(loop, label_studio)
    topics = sorted(set(answers.values()))
    for number, task in enumerate([*lead.tasks[:LABELS], lead.tasks[-1]]):
        right = answers[lead.text[task]]
        wrong = number in range(10, 10 + PLANTED) or task == lead.tasks[-1]
        said = topics[(topics.index(right) + 2) % len(topics)] if wrong else right
        lead.annotations[task] = label_studio.annotate(task, said)
    other = label_studio.new_annotator("tabs@example.com")
    disputed = lead.tasks[30]
    label_studio.annotate(disputed, topics[(topics.index(answers[lead.text[disputed]]) + 1) % len(topics)], token=other)
    label_studio.annotate(lead.tasks[LABELS], was_cancelled=True)

    def judged() -> bool:
        judging = loop.redis.exists(mark("judge", loop.id), f"prepal:lock:{loop.id}:figures")
        return not judging and loop.is_up_to_date() and tabs.is_fresh(loop.known)

    wait_until(judged, 120)
    return lead


def test_a_browser_shows_the_tasks_in_their_order_and_why(
    lead: Lead, installation: Installation, browser: Browser
) -> None:
    listed = lead.tab(WRONG)
    planted = lead.tasks[10 : 10 + PLANTED]
    print(f"of {PLANTED} planted wrong labels {len(set(listed[:20]) & set(planted))} are among the first 20")
    assert set(listed[:20]) >= set(planted)
    assert lead.titles()[0] == "Default"
    page, errors = opened(browser, lead, installation, WRONG)
    expect(page.get_by_text("Rather ", exact=False).first).to_be_visible()
    page.screenshot(path=OUTPUT / "tab-suspected.png")
    page.get_by_text(lead.text[listed[0]][:30]).first.click()
    expect(page.locator(".lsf-richtext, .htx-richtext").first).to_be_visible()
    expect(page.get_by_text("PRepAL", exact=True).first).to_be_visible()
    page.screenshot(path=OUTPUT / "tab-task.png")
    for title, name in ((DISPUTED, "disputed"), (TWINS, "twins"), (PASSED, "passed")):
        assert lead.tab(title), title
        page.goto(address(lead, installation, title))
        expect(page.get_by_text(lead.text[lead.tab(title)[0]][:30]).first).to_be_visible()
        page.screenshot(path=OUTPUT / f"tab-{name}.png")
    assert not errors
    page.close()
    # To look at a tab changes nothing in it.
    assert lead.tab(WRONG) == listed


def test_what_people_are_served_is_the_newest_rounds(lead: Lead) -> None:
    lead.loop.wait_for_round()
    task = lead.api.next(lead.loop.id)
    assert task is not None
    assert task["id"] == lead.loop.status()["next"][0]
    assert task["id"] not in {t for title in (WRONG, DISPUTED, TWINS, PASSED) for t in lead.tab(title)}


def test_a_mended_label_leaves_its_tab_within_seconds(lead: Lead) -> None:
    _, answers = tickets(200, mark="tabs")
    for task in lead.tasks[10 : 10 + PLANTED]:
        value = {"choices": [answers[lead.text[task]]]}
        began = time.monotonic()
        lead.api.update_annotation(
            lead.annotations[task],
            result=[{"from_name": "topic", "to_name": "text", "type": "choices", "value": value}],
        )
        wait_until(lambda task=task: task not in lead.tab(WRONG), MOST_S)
        print(f"out of the tab after {time.monotonic() - began:.1f} s")


def test_leaving_takes_the_tabs_along(lead: Lead) -> None:
    lead.loop.prepal("disconnect", str(lead.loop.id))
    assert lead.titles() == ["Default"]


def address(lead: Lead, installation: Installation, title: str) -> str:
    views = lead.api.call("GET", "/api/dm/views/", params={"project": lead.loop.id})
    tab = next(view["id"] for view in views if view["data"].get("title") == title)
    return f"{installation.label_studio_url}/projects/{lead.loop.id}/data?tab={tab}"


def opened(browser: Browser, lead: Lead, installation: Installation, title: str) -> tuple[Page, list[str]]:
    """A tab in the browser of somebody who is signed in, and what goes wrong there."""
    page, errors = browser.new_page(viewport={"width": 1700, "height": 950}), []
    page.set_default_timeout(90_000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    fields = {"email": installation.label_studio_user or "", "password": installation.label_studio_password or ""}
    sign_in(page, installation.label_studio_url, fields)
    page.goto(address(lead, installation, title))
    return page, errors
