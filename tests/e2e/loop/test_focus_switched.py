"""A lead changes their mind while three people label: each is served by what was asked for last, and checks stay."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.projects import Loop, tickets

from prepal.machine.up import Installation
from prepal.project import Project

LABELS, TASKS = 150, 600
# After so many labels somebody asks for another order.
SWITCHES = {
    15: ("--choice", "Billing"),
    40: ("--filter", "language=de"),
    70: ("--like", "my parcel did not arrive"),
    95: ("--doubt", "--labels", "20"),
    130: ("--off",),
}


@contextmanager
def rounds_of(project: Project) -> Iterator[dict[int, list[int]]]:
    """The head of each round that ends until the block is left, by its number."""
    heads: dict[int, list[int]] = {}
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(0.01):
            if record := project.round:
                heads[record.number] = record.head

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield heads
    finally:
        ended.set()
        thread.join()


def switch(loop: Loop, *options: str) -> None:
    """Ask for another order, and wait until it is there, and fields were read."""
    loop.prepal("focus", str(loop.id), *options)
    known = loop.known
    wait_until(lambda: "--filter" not in options or known.matched_until(known.focus) >= known.last_task)
    loop.wait_for_round()


def test_while_the_focus_is_switched_five_times_everybody_is_served_by_the_newest(
    installation: Installation, label_studio: LabelStudioApi
) -> None:
    texts, answers = tickets(TASKS, mark="focus")
    data = [{"text": text, "language": ("en", "de", "fr")[n % 3]} for n, text in enumerate(texts)]
    loop = Loop.of(installation, label_studio, data)
    loop.wait_until_ranked(TASKS)
    people = [label_studio.new_annotator(f"focus{n}@example.com") for n in range(3)]
    first: Counter[str] = Counter()
    age: Counter[int] = Counter()
    with rounds_of(loop.known) as heads:
        for labels in range(LABELS):
            if labels in SWITCHES:
                switch(loop, *SWITCHES[labels])
            elif labels % len(people) == 0:
                # Each labels once, whether or not a round has ended meanwhile.
                loop.wait_for_round()
            record = loop.known.round
            assert record is not None
            task = label_studio.next(loop.id, people[labels % len(people)])
            assert task is not None
            if labels in SWITCHES:
                slot = dict(zip(record.head, record.slots, strict=True))[task["id"]]
                first[slot] += 1
                assert slot == "audit" or slot.startswith("focus: ") == (SWITCHES[labels] != ("--off",))
            if not any(task["id"] in head for number, head in list(heads.items()) if number >= record.number):
                # What is put there by a round that has not ended yet.
                loop.wait_for_round()
            newest = max((number for number, head in list(heads.items()) if task["id"] in head), default=0)
            age[max(0, record.number - newest)] += 1
            label_studio.annotate(task["id"], answers[task["data"]["text"]], token=people[labels % len(people)])
    loop.wait_for_round()
    annotations = loop.known.annotations()
    audits = len({a.task for a in annotations.values()} & loop.known.audits())
    print(f"rounds that served tasks are old: {dict(age)}; first after a switch: {dict(first)}")
    print(f"{audits} of {len(annotations)} labels are of audit tasks")
    assert max(age) <= 1
    assert len(annotations) == len({a.task for a in annotations.values()}) == LABELS
    assert Counter(Counter(a.annotator for a in annotations.values()).values()) == {LABELS // 3: 3}
    assert audits == pytest.approx(0.1 * LABELS, abs=0.03 * LABELS)
    told = loop.status()
    assert told["labelled"] == LABELS
    assert told["focus"]["told"].startswith("The ordinary order is served: the focus was ended by ")
    assert {entry["reason"] for entry in told["next_why"]} <= {"audit", "doubt", "coverage", "order"}
