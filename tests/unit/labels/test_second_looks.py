"""Which tasks are worth a second look, and what is said of them."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prepal.labels.events import Annotation
from prepal.labels.label_config import LabelConfig, parse
from prepal.labels.second_looks import MOST, Look, Opinions, SecondLooks
from prepal.labels.serving import Rules
from prepal.labels.settle import settle

CHOICES = ("Billing", "Refund", "Other")
CONFIG = parse(
    '<View><Text name="text" value="$text"/><Choices name="topic" toName="text">'
    + "".join(f'<Choice value="{choice}"/>' for choice in CHOICES)
    + "</Choices></View>"
)


def said(task: int, choice: str | None, by: int = 1, **how: Any) -> Annotation:
    chosen = {} if choice is None else {"topic": [choice]}
    return Annotation(task, by, "2026-01-01T00:00:00+00:00", how.get("skipped", False), how.get("true", False), chosen)


def opinions(*of: tuple[int, str, str, float, float], config: LabelConfig = CONFIG) -> Opinions:
    """Task, its label, what the classifier thinks, how sure it is, and how likely the label is."""
    tasks, labels, thinks, sure, likely = zip(*sorted(of), strict=True)
    rows = [np.array([[choice == one for choice in CHOICES] for one in named]) for named in (labels, thinks)]
    return Opinions(config.meaning, np.array(tasks), *rows, np.array(sure, np.float32), np.array(likely, np.float32))


def looks(annotations: dict[int, Annotation], thought: Opinions | None = None, overlap: int = 1) -> SecondLooks:
    return SecondLooks(annotations, settle(annotations, CONFIG), CONFIG, Rules(overlap=overlap), thought)


def told(found: list[Look]) -> list[tuple[int, str]]:
    return [(look.task, look.why(CONFIG)) for look in found]


SUSPICIOUS = opinions((1, "Billing", "Refund", 0.9, 0.05), (2, "Refund", "Billing", 0.97, 0.01))


def test_the_least_likely_label_comes_first_with_what_it_should_be() -> None:
    found = looks({11: said(1, "Billing"), 12: said(2, "Refund")}, SUSPICIOUS).suspected([1, 2], {})
    assert told(found) == [
        (2, "Rather Billing (97%) than Refund (1%)."),
        (1, "Rather Refund (90%) than Billing (5%)."),
    ]
    assert [look.annotation for look in found] == [12, 11]


def test_a_label_is_suspected_no_more_once_it_is_another_or_true_or_confirmed_or_gone() -> None:
    before = {11: said(1, "Billing"), 12: said(2, "Refund")}
    for after in ({11: said(1, "Refund")}, {11: said(1, "Billing", true=True)}, {11: said(1, None, skipped=True)}):
        assert [look.task for look in looks({**before, **after}, SUSPICIOUS).suspected([1, 2], {})] == [2]
    assert [look.task for look in looks(before, SUSPICIOUS).suspected([1, 2], {1: ["Billing"]})] == [2]
    assert [look.task for look in looks(before, SUSPICIOUS).suspected([1, 2], {1: ["Other"]})] == [2, 1]
    assert looks(before, None).suspected([1, 2], {}) == []


def test_disagreement_tells_who_said_what_until_somebody_says_what_is_true() -> None:
    annotations = {11: said(1, "Billing"), 12: said(1, "Refund", 2), 13: said(1, "Billing", 3), 14: said(2, "Other")}
    thought = opinions((1, "Billing", "Billing", 0.8, 0.8))
    assert told(looks(annotations, thought).disputed()) == [(1, "Billing (2), Refund (1). Most likely Billing (80%).")]
    assert told(looks(annotations).disputed()) == [(1, "Billing (2), Refund (1).")]
    assert looks({**annotations, 15: said(1, "Refund", 4, true=True)}, thought).disputed() == []
    assert looks({**annotations, 12: said(1, "Billing", 2)}, thought).disputed() == []


def test_twins_tell_of_each_other() -> None:
    annotations = {11: said(1, "Billing"), 12: said(2, "Refund"), 13: said(3, "Billing"), 14: said(4, "Billing")}
    thought = opinions((2, "Refund", "Billing", 0.9, 0.1), (1, "Billing", "Billing", 0.9, 0.9))
    assert told(looks(annotations, thought).twins([[1, 2], [3, 4], [5, 6]])) == [
        (2, "Same text as task 1 (Billing). Rather Billing (90%) than Refund (10%)."),
        (1, "Same text as task 2 (Refund). Most likely Billing (90%)."),
    ]


def test_what_most_people_passed_comes_first_and_what_nobody_annotated_is_named_by_itself() -> None:
    annotations = {
        11: said(1, None, skipped=True),
        12: said(2, None, skipped=True),
        13: said(2, None, 2),
        14: said(3, "Other"),
        15: said(3, None, 2, skipped=True),
    }
    assert looks(annotations).passed({4: {1}, 1: {1, 2, 3}, 3: {3}}, {3}) == [Look(1, 11), Look(2, 13), Look(4, 0)]


def test_nothing_is_told_while_others_are_still_asked() -> None:
    annotations = {11: said(1, "Billing"), 12: said(1, "Refund", 2)}
    thought = opinions((1, "Refund", "Billing", 0.8, 0.2))
    (asked,) = looks(annotations, thought, overlap=3).disputed()
    assert asked.thinks is None
    assert asked.why(CONFIG) == "Billing (1), Refund (1)."
    assert asked.likely == np.float32(0.2)
    (finished,) = looks(annotations, thought, overlap=2).disputed()
    assert finished.thinks == (0,)


@given(
    votes=st.lists(
        st.tuples(
            st.integers(1, 80), st.sampled_from([*CHOICES, None]), st.integers(1, 3), st.booleans(), st.booleans()
        )
    ),
    suspected=st.lists(st.integers(1, 90), unique=True),
    groups=st.lists(st.lists(st.integers(1, 90), unique=True), max_size=3),
)
def test_whatever_people_did_each_task_is_listed_once_and_for_a_reason(
    votes: list[tuple[int, str | None, int, bool, bool]], suspected: list[int], groups: list[list[int]]
) -> None:
    annotations = {
        n: said(task, choice, by, skipped=skipped, true=true)
        for n, (task, choice, by, skipped, true) in enumerate(votes, start=1)
    }
    labels = settle(annotations, CONFIG)
    judged = [(task, CONFIG.names(row)[0], "Other", 0.9, 0.1) for task, row in labels.items()]
    found = looks(annotations, opinions(*judged) if judged else None)
    lists = [found.suspected(suspected, {}), found.disputed(), found.passed({}, labels), found.twins(groups[:1])]
    for listed in lists:
        tasks = [look.task for look in listed]
        assert len(set(tasks)) == len(tasks) <= MOST
        assert all(annotations[look.annotation].task == look.task for look in listed)
    for listed in (lists[0], lists[1], lists[3]):
        assert {look.task for look in listed} <= labels.keys()
        assert all(look.why(CONFIG) for look in listed)
    assert not {look.task for look in lists[2]} & labels.keys()
