"""A lead changes their mind while three people label: each is served by what was asked for last, and checks stay."""

from collections import Counter

import pytest
from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.projects import Loop, tickets

from prepal.machine.up import Installation
from prepal.project import RoundRecord

LABELS, TASKS = 150, 600
# After so many labels somebody asks for another order.
SWITCHES = {
    15: ("--choice", "Billing"),
    40: ("--filter", "language=de"),
    70: ("--like", "my parcel did not arrive"),
    95: ("--doubt", "--labels", "20"),
    130: ("--off",),
}


def test_while_the_focus_is_switched_five_times_everybody_is_served_by_the_newest(
    installation: Installation, label_studio: LabelStudioApi
) -> None:
    texts, answers = tickets(TASKS, mark="focus")
    data = [{"text": text, "language": ("en", "de", "fr")[n % 3]} for n, text in enumerate(texts)]
    loop = Loop.of(installation, label_studio, data)
    loop.wait_until_ranked(TASKS)
    people = [label_studio.new_annotator(f"focus{n}@example.com") for n in range(3)]
    heads: dict[int, list[int]] = {}
    first: Counter[str] = Counter()

    def look() -> RoundRecord:
        record = loop.known.round
        assert record is not None
        heads[record.number] = record.head
        return record

    def switch(*options: str) -> None:
        loop.prepal("focus", str(loop.id), *options)
        known = loop.known
        wait_until(lambda: "--filter" not in options or known.matched_until(known.focus) >= known.last_task)
        loop.wait_for_round()

    for labels in range(LABELS):
        if labels in SWITCHES:
            switch(*SWITCHES[labels])
        record = look()
        task = label_studio.next(loop.id, people[labels % 3])
        assert task is not None
        if labels in SWITCHES:
            slot = dict(zip(record.head, record.slots, strict=True))[task["id"]]
            first[slot] += 1
            assert slot == "audit" or slot.startswith("focus: ") == (SWITCHES[labels] != ("--off",))
        look()
        if not any(task["id"] in head for number, head in heads.items() if number >= record.number - 1):
            # Its round was about to end when we looked.
            loop.wait_for_round()
            look()
        assert any(task["id"] in head for number, head in heads.items() if number >= record.number - 1)
        label_studio.annotate(task["id"], answers[task["data"]["text"]], token=people[labels % 3])
    loop.wait_for_round()
    annotations = loop.known.annotations()
    audits = len({a.task for a in annotations.values()} & loop.known.audits())
    print(f"first after a switch: {dict(first)}; {audits} of {len(annotations)} labels are of audit tasks")
    assert len(annotations) == len({a.task for a in annotations.values()}) == LABELS
    assert Counter(Counter(a.annotator for a in annotations.values()).values()) == {LABELS // 3: 3}
    assert audits == pytest.approx(0.1 * LABELS, abs=0.03 * LABELS)
    told = loop.status()
    assert told["labelled"] == LABELS
    assert told["focus"]["told"].startswith("The ordinary order is served: the focus was ended by ")
    assert {entry["reason"] for entry in told["next_why"]} <= {"audit", "doubt", "coverage", "order"}
