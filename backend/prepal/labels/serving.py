"""Whom Label Studio can still give which task: that a task has no label does not mean that anybody will see it again.

Label Studio never again serves a person what they have skipped, postponed or submitted empty, serves nobody what enough
people have finished, and keeps a task that somebody has opened for a day. What the people at work cannot be given has
no business at the head of the ranking.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest

from prepal.labels.events import Annotation, unix_time

# Who annotated within so long before the newest annotation is at work.
_AT_WORK_S = 1800.0
# So many annotations tell who they are.
_LOOKED_AT = 2000
# One annotation of many people, as of an import, does not put them to work: it takes so many.
_LEAST_ANNOTATIONS = 2
# A task that was not given to people who should have got it, so many times and twice for each of them, is held by
# somebody who is gone, or was postponed: it rests for so long. Who has it open still finishes it.
_OVERTAKEN, _RESTS_S = 2, 3600.0


@dataclass(frozen=True)
class Rules:
    """Whom Label Studio serves a task that others have seen already."""

    overlap: int = 1
    """How many annotators finish a task."""
    skip_queue: str = "REQUEUE_FOR_OTHERS"
    """Who gets a task that somebody skipped: `REQUEUE_FOR_OTHERS`, `REQUEUE_FOR_ME` or `IGNORE_SKIPPED` (nobody)."""


@dataclass(frozen=True)
class Serving:
    """Whom tasks without a label can be given.

    Attributes:
        closed: tasks that nobody at work is given any more.
        passed: tasks that somebody at work is not given any more, but others are.
        at_work: how many people are at work.
    """

    closed: frozenset[int]
    passed: frozenset[int]
    at_work: int


def serving(
    annotations: Mapping[int, Annotation],
    labelled: Collection[int],
    rules: Rules,
    postponed: Mapping[int, Collection[int]],
) -> Serving:
    """Tell whom the tasks that are not `labelled` can be given; annotations come by id, who postponed by task."""
    people = _people(annotations)
    begun = {person for person, count in people.items() if count >= _LEAST_ANNOTATIONS}
    by_task: dict[int, list[Annotation]] = defaultdict(list)
    for annotation in annotations.values():
        if annotation.task not in labelled:
            by_task[annotation.task].append(annotation)
    closed, passed = set(), set()
    for task in by_task.keys() | {task for task in postponed if task not in labelled}:
        seen = by_task.get(task, [])
        passers = {a.annotator for a in seen} | set(postponed.get(task, ()))
        if _is_finished(seen, rules) or (people and people.keys() <= passers):
            closed.add(task)
        elif passers & people.keys():
            passed.add(task)
    return Serving(frozenset(closed), frozenset(passed), len(begun))


def overtaken(
    counts: Mapping[int, Sequence[float]],
    order: Sequence[int],
    head: int,
    new: Collection[int],
    people: int,
    now: float,
) -> dict[int, list[float]]:
    """Count how often the first tasks in Label Studio's order were passed over, now that others have been annotated.

    Args:
        counts: what this returned last: how often, and until when a task rests (Unix time), by task.
        order: the tasks in Label Studio's order.
        head: how many of the first ones are counted.
        new: the tasks that were annotated since that was the order.
        people: how many are at work.
        now: Unix time.
    """
    counted = {task: [count, until] for task, (count, until) in counts.items() if task not in new}
    # Who works from a list of their own says nothing of the order.
    near = order[: 2 * head + people]
    places = [place for place, task in enumerate(near) if task in new]
    for place, task in enumerate(near[:head]):
        later = sum(other > place for other in places)
        if task in new or not later:
            continue
        count, until = counted.get(task, [0.0, 0.0])
        rests = count + later >= _OVERTAKEN + 2 * people
        counted[task] = [0.0, now + _RESTS_S] if rests else [count + later, until]
    return {task: [count, until] for task, (count, until) in counted.items() if count or until > now}


def resting(counts: Mapping[int, Sequence[float]], now: float) -> set[int]:
    """The tasks that rest, by what `overtaken` returned."""
    return {task for task, (_, until) in counts.items() if until > now}


def _people(annotations: Mapping[int, Annotation]) -> Counter[int]:
    """How much each of those who are at work has annotated lately.

    Ids tell which annotation is the newest, because Label Studio's clock may have been set back.
    """
    if not annotations:
        return Counter()
    newest = unix_time(annotations[max(annotations)].updated_at)
    since = None if newest is None else newest - _AT_WORK_S
    lately = (annotations[number] for number in nlargest(_LOOKED_AT, annotations))
    times = ((a.annotator, unix_time(a.updated_at)) for a in lately)
    return Counter(annotator for annotator, at in times if since is None or at is None or at >= since)


def _is_finished(annotations: Iterable[Annotation], rules: Rules) -> bool:
    """Whether Label Studio serves a task with these annotations to nobody new."""
    # A skipped task comes back to whoever skipped it, after everything else, or to nobody, where others do not get it.
    counts_skips = rules.skip_queue != "REQUEUE_FOR_OTHERS"
    finished = {a.annotator for a in annotations if counts_skips or not a.skipped}
    return len(finished) >= rules.overlap
