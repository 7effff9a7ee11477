"""Whom Label Studio can still give which task, and who is at work."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal.labels.events import Annotation
from prepal.labels.serving import Rules, overtaken, resting, serving

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def annotation(
    task: int, by: int, *, skipped: bool = False, minutes: float = 0, at: str | None = None, empty: bool = False
) -> Annotation:
    when = (NOON + timedelta(minutes=minutes)).isoformat() if at is None else at
    return Annotation(task, by, when, skipped, False, {} if skipped or empty else {"topic": ["A"]})


def people(*who: int, of: int = 1000) -> dict[int, Annotation]:
    """Enough annotations of other tasks for these to be at work."""
    return {pk: annotation(of + pk, by) for pk, by in enumerate([*who, *who], start=1)}


def closed_and_passed(
    found: Mapping[int, Annotation], rules: Rules | None = None, postponed: Mapping[int, set[int]] | None = None
) -> tuple[set[int], set[int]]:
    every = {**people(1, 2), **found}
    labelled = {a.task for a in every.values() if a.choices}
    told = serving(every, labelled, rules or Rules(), postponed or {})
    return set(told.closed), set(told.passed)


@pytest.mark.parametrize(
    ("skip_queue", "closed", "passed"),
    [
        ("REQUEUE_FOR_OTHERS", set(), {5}),
        # Others do not get it, and who skipped it gets it back after everything else.
        ("REQUEUE_FOR_ME", {5}, set()),
        ("IGNORE_SKIPPED", {5}, set()),
        ("a rule of tomorrow", {5}, set()),
    ],
)
def test_who_gets_a_skipped_task_depends_on_the_projects_rule(
    skip_queue: str, closed: set[int], passed: set[int]
) -> None:
    skipped = {100: annotation(5, 1, skipped=True)}
    assert closed_and_passed(skipped, Rules(skip_queue=skip_queue)) == (closed, passed)


def test_a_task_that_all_at_work_have_passed_leaves_the_pool() -> None:
    skips = {100: annotation(5, 1, skipped=True), 101: annotation(5, 2, skipped=True)}
    assert closed_and_passed(skips) == ({5}, set())
    assert closed_and_passed({100: skips[100]}, postponed={5: {2}}) == ({5}, set())
    assert closed_and_passed({}, postponed={5: {1, 2}}) == ({5}, set())


def test_what_is_submitted_empty_is_done_where_one_annotator_is_enough() -> None:
    empty = {100: annotation(5, 1, empty=True)}
    assert closed_and_passed(empty) == ({5}, set())
    assert closed_and_passed(empty, Rules(overlap=2)) == (set(), {5})
    twice = {**empty, 101: annotation(5, 1, empty=True)}
    assert closed_and_passed(twice, Rules(overlap=2)) == (set(), {5})
    assert closed_and_passed({**empty, 101: annotation(5, 3, empty=True)}, Rules(overlap=2)) == ({5}, set())


def test_a_skip_counts_for_the_overlap_only_where_others_do_not_get_the_task() -> None:
    skips = {100: annotation(5, 1, skipped=True), 101: annotation(5, 3, skipped=True)}
    assert closed_and_passed(skips, Rules(overlap=2)) == (set(), {5})
    assert closed_and_passed(skips, Rules(overlap=2, skip_queue="IGNORE_SKIPPED")) == ({5}, set())


def test_who_is_not_at_work_keeps_nothing_from_the_head() -> None:
    gone = {-1: annotation(5, 9, skipped=True, minutes=-120)}
    assert closed_and_passed(gone) == (set(), set())
    assert closed_and_passed({}, postponed={5: {9}}) == (set(), set())


def test_a_labelled_task_is_neither_closed_nor_passed() -> None:
    mixed = {100: annotation(5, 1, skipped=True), 101: annotation(5, 2)}
    assert closed_and_passed(mixed, postponed={5: {1, 2}}) == (set(), set())


def test_a_project_without_annotations_has_nobody_at_work_and_nothing_is_closed() -> None:
    told = serving({}, set(), Rules(), {5: {1}})
    assert (told.closed, told.passed, told.at_work) == (frozenset(), frozenset(), 0)


def test_at_work_is_who_annotated_lately_and_more_than_once() -> None:
    found = {
        1: annotation(1, 1, minutes=-45),
        2: annotation(2, 1, minutes=-44),
        3: annotation(3, 2, minutes=-20),
        4: annotation(4, 2, minutes=-10),
        5: annotation(5, 3, minutes=0),
    }
    assert serving(found, {1, 2, 3, 4, 5}, Rules(), {}).at_work == 1


def test_200_people_who_once_labelled_are_not_at_work() -> None:
    found = {pk: annotation(pk, pk, minutes=-pk) for pk in range(1, 201)}
    found |= {1000 + pk: annotation(1000 + pk, 7, minutes=pk) for pk in range(5)}
    assert serving(found, {a.task for a in found.values()}, Rules(), {}).at_work == 1


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_clock_that_was_set_leaves_those_at_work_who_are(hours: float) -> None:
    found = {pk: annotation(pk, 1, minutes=pk) for pk in range(1, 20)}
    found |= {pk: annotation(pk, 2 + pk % 2, minutes=60 * hours + pk) for pk in range(20, 30)}
    told = serving(found, {a.task for a in found.values()}, Rules(), {})
    assert told.at_work >= 2
    assert hours < 0 or told.at_work == 2


@pytest.mark.parametrize(
    "at",
    ["", "2026-01-01", "2026-01-01T12:00:00", "2026-01-01T12:00:00Z", "0001-01-01T00:00:00+14:00",
     "0001-01-01T00:00:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999"],
)  # fmt: skip
def test_any_time_that_an_annotation_may_have_is_understood(at: str) -> None:
    for place in (1, 100, 2):
        found = {**people(1, 2, of=2000), place: annotation(5, 1, skipped=True, at=at)}
        assert serving(found, {a.task for a in found.values() if a.choices}, Rules(), {}).at_work >= 0


PEOPLE = st.integers(1, 4)
SEEN = st.lists(st.tuples(st.integers(1, 6), PEOPLE, st.sampled_from(["skip", "empty", "postpone"])), max_size=25)


@given(
    SEEN,
    st.integers(1, 3),
    st.sampled_from(["REQUEUE_FOR_OTHERS", "REQUEUE_FOR_ME", "IGNORE_SKIPPED"]),
    st.sets(PEOPLE, min_size=1),
)
def test_what_is_neither_closed_nor_passed_can_be_given_to_all_at_work(
    seen: list[tuple[int, int, str]], overlap: int, skip_queue: str, at_work: set[int]
) -> None:
    postponed: dict[int, set[int]] = {}
    found = people(*sorted(at_work))
    everybody = set(at_work)
    for number, (task, person, how) in enumerate(seen):
        if how == "postpone":
            postponed.setdefault(task, set()).add(person)
        else:
            found[100 + number] = annotation(task, person, skipped=how == "skip", empty=True)
            everybody.add(person)
    told = serving(found, {a.task for a in found.values() if a.choices}, Rules(overlap, skip_queue), postponed)
    for task in range(1, 7):
        own = [a for a in found.values() if a.task == task]
        done = {a.annotator for a in own if skip_queue != "REQUEUE_FOR_OTHERS" or not a.skipped}
        can = {
            person
            for person in everybody
            if person not in {a.annotator for a in own} | postponed.get(task, set()) and len(done) < overlap
        }
        assert (task in told.closed) == (not can)
        assert (task in told.passed) == (bool(can) and can != everybody)


# -- tasks that are not given though they are first -----------------------------------------------------------------


def test_a_task_that_is_not_given_again_and_again_rests_for_an_hour() -> None:
    counts: dict[int, list[float]] = {}
    order = list(range(1, 40))
    for step in range(1, 10):
        new = order.pop(1)
        counts = overtaken(counts, [1, new, *order[1:]], 4, {new}, people=1, now=float(step))
        if 1 in resting(counts, float(step)):
            break
    assert step == 4
    assert resting(counts, step + 3599.0) == {1}
    assert resting(counts, step + 3601.0) == set()


def test_more_people_at_work_make_it_take_longer_until_a_task_rests() -> None:
    def steps(people: int) -> int:
        counts: dict[int, list[float]] = {}
        for step in range(1, 100):
            counts = overtaken(counts, [1, 2, 3, 4], 4, {3}, people, now=0.0)
            if 1 in resting(counts, 0.0):
                return step
        raise AssertionError("it never rests")

    assert steps(1) < steps(2) < steps(5)


def test_a_task_that_is_annotated_is_counted_anew() -> None:
    counts = overtaken({}, [1, 2, 3], 3, {2}, people=1, now=0.0)
    assert counts == {1: [1.0, 0.0]}
    assert overtaken(counts, [1, 2, 3], 3, {1}, people=1, now=0.0) == {}
    assert overtaken(counts, [1, 2, 3], 3, set(), people=1, now=0.0) == counts


def test_who_labels_from_a_list_of_their_own_overtakes_nothing() -> None:
    order = list(range(1, 100))
    assert overtaken({}, order, 4, {50, 60, 70}, people=1, now=0.0) == {}
    assert overtaken({}, order, 4, {1000}, people=1, now=0.0) == {}


def test_what_rests_no_longer_and_was_not_counted_is_forgotten() -> None:
    assert overtaken({5: [0.0, 10.0], 6: [0.0, 99.0]}, [], 4, {1}, people=1, now=20.0) == {6: [0.0, 99.0]}
