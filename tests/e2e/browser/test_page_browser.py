"""The project page in a real browser, on a desktop and a phone, light and dark; screenshots go to test-output/."""

import random
import re
import time
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.helpers import ROOT
from tests.helpers.api import LabelStudioApi
from tests.helpers.projects import LABEL_CONFIG, Loop, tickets

from prepal.machine.up import Installation

OUTPUT = ROOT / "test-output"
TITLE = "Tickets <script>document.title='executed'</script>"
EVIL = "<img src=x onerror=\"document.title='executed'\">"
ENTITIES = str.maketrans({"<": "&lt;", ">": "&gt;", '"': "&quot;"})
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
# What WCAG asks of body text; measured on what the browser really computes.
LEAST_CONTRAST = 4.5
CONTRASTS = """() => {
  const parse = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor);
      if (a > 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("h1, h2, h3, p, dt, dd, th, td, a, span, summary")]
    .filter((element) => element.offsetParent && element.innerText.trim())
    .map((element) => {
      const [one, other] = [light(parse(getComputedStyle(element).color).slice(0, 3)), light(behind(element))];
      return [(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), element.innerText.slice(0, 40)];
    });
}"""


@pytest.fixture(scope="module")
def loop(installation: Installation, label_studio: LabelStudioApi) -> Loop:
    """A project of 100 tickets with 24 labels, one of them disputed; half of the labels are of audit tasks."""
    texts, answers = tickets(100, mark="p")
    config = LABEL_CONFIG.replace("</Choices>", f'<Choice value="{EVIL.translate(ENTITIES)}"/></Choices>')
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts], config, title=TITLE)
    loop.wait_until_ranked(len(texts))
    topics = sorted(set(answers.values()))
    drawn = random.Random(4).sample(label_studio.tasks(loop.id), 24)
    # As if all of them had been served; one in ten would be an audit task, and that would take many more labels.
    loop.known.add_audits(task["id"] for task in drawn[::2])
    for number, task in enumerate(drawn):
        label_studio.annotate(task["id"], topics[0] if number % 10 == 9 else answers[task["data"]["text"]])
        if number in (11, 17):
            loop.wait_for_round()
    last = drawn[0]
    other = next(topic for topic in topics if topic != answers[last["data"]["text"]])
    label_studio.annotate(last["id"], other, token=label_studio.new_annotator("page@example.com"))
    loop.wait_for_round()
    return loop


def open_page(browser: Browser, loop: Loop, size: str, theme: str) -> tuple[Page, list[str]]:
    width, height = SIZES[size]
    there = loop.installation
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
        http_credentials={"username": there.backend_user, "password": there.backend_password},
    )
    page, seen = context.new_page(), []
    page.set_default_timeout(15_000)
    page.on("request", lambda request: seen.append(request.url))
    page.on("pageerror", lambda error: pytest.fail(f"the page has an error: {error}"))
    page.on("console", lambda said: seen.append(f"console: {said.text}") if said.type == "error" else None)
    page.goto(f"{there.backend_url}/projects/{loop.id}")
    expect(page.locator("#labelled")).to_have_text(re.compile(r"\d+"))
    return page, seen


def test_the_project_page_tells_without_explanation_and_follows_each_label(
    installation: Installation, loop: Loop, label_studio: LabelStudioApi, browser: Browser
) -> None:
    for size in SIZES:
        for theme in ("light", "dark"):
            page, seen = open_page(browser, loop, size, theme)
            expect(page.locator("h1")).to_have_text(TITLE)
            expect(page.locator("#choices th").last).to_have_text(EVIL)
            expect(page.locator("#next tr")).to_have_count(10)
            expect(page.locator("#disputed tr")).to_have_count(1)
            chart = page.locator("#accuracy-chart img")
            expect(chart).to_be_visible()
            expect(chart).not_to_have_js_property("naturalWidth", 0)
            assert f"theme={theme}" in chart.evaluate("image => image.currentSrc")
            drawn = "narrow" if size == "phone" else "wide"
            assert f"width={drawn}" in chart.evaluate("image => image.currentSrc")
            assert page.title() == f"{TITLE} – PRepAL"
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            poor = [found for found in page.evaluate(CONTRASTS) if found[0] < LEAST_CONTRAST]
            assert not poor
            page.screenshot(path=OUTPUT / f"page-{size}-{theme}.png", full_page=True)
            assert {urlsplit(url).hostname for url in seen} == {"127.0.0.1"}, seen
            page.context.close()

    page, _ = open_page(browser, loop, "desktop", "light")
    before = int(page.locator("#labelled").inner_text())
    task = label_studio.next(loop.id)
    assert task is not None
    label_studio.annotate(task["id"], "Billing")
    began = time.perf_counter()
    expect(page.locator("#labelled")).to_have_text(str(before + 1), timeout=5000)
    loop.wait_for_round()
    expect(page.locator("#state")).to_have_text("Up to date", timeout=5000)
    print(f"the page told of a label after {time.perf_counter() - began:.1f} s")
    page.goto(f"{installation.backend_url}/")
    expect(page.get_by_role("link", name=TITLE)).to_be_visible()
    page.screenshot(path=OUTPUT / "page-index.png")
    page.context.close()


def test_the_lead_says_on_the_page_what_comes_first_and_ends_it_by_keyboard_alone(loop: Loop, browser: Browser) -> None:
    loop.wait_for_round()
    for size in SIZES:
        page, _ = open_page(browser, loop, size, "dark" if size == "phone" else "light")
        page.locator("#asking summary").focus()
        page.keyboard.press("Enter")
        words = page.get_by_role("textbox", name="Words")
        words.focus()
        page.keyboard.type("the invoice <b>is wrong</b>")
        expect(page.get_by_role("radio", name="texts like these words")).to_be_checked()
        page.get_by_role("spinbutton", name="for so many labels").focus()
        page.keyboard.type("12")
        page.screenshot(path=OUTPUT / f"focus-{size}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert not [found for found in page.evaluate(CONTRASTS) if found[0] < LEAST_CONTRAST]
        page.keyboard.press("Enter")
        expect(page.locator("#focus-said")).to_have_text(re.compile("Asked for"))
        expect(page.locator("#focus")).to_have_text(
            re.compile(rf"like 'the invoice <b>is wrong</b>', as asked for by {loop.installation.backend_user} at ")
        )
        loop.wait_for_round()
        expect(page.locator("#next td").filter(has_text="asked for: texts like").first).to_be_visible()
        page.get_by_role("button", name="End the focus").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#focus")).to_have_text(re.compile("The ordinary order is served: the focus was ended"))
        expect(page.locator("#asking summary")).to_be_focused()
        expect(page.get_by_role("button", name="End the focus")).to_be_hidden()
        page.get_by_role("radio", name="tasks with").check()
        page.get_by_role("textbox", name="Field and its value").fill("nothing")
        page.get_by_role("button", name="Serve these first").click()
        expect(page.locator("#focus-said")).to_have_text(re.compile("write it as 'field=value'"))
        page.context.close()
