"""The ranking: the strategy's picks, audit tasks drawn and put in their places, then the rest by confidence.

Where there are several questions the first one's memory tells which tasks there are, and each picks for its places.
"""

import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prepal.labels.label_config import LabelConfig
from prepal.labels.serving import overtaken, resting
from prepal.learner import focusing
from prepal.learner.fitting import Round
from prepal.learning import strategies
from prepal.learning.classifiers import decisions
from prepal.learning.pool import by_confidence
from prepal.learning.quality.audit import Head, by_lot, interleave_audit
from prepal.learning.questions import need
from prepal.project import Ranking
from prepal.vectors import VectorTable

# Places that are exact after every round: two for each annotator, who may ask before the next one, at least these.
_SMALLEST_HEAD = 4
# So many texts of the lot are looked at first for ones that can be served.
_FIRST_LOTS = 256
# So many confidences tell about where their middle is.
_MEDIAN_OF = 1000


@dataclass(frozen=True)
class Beliefs:
    """What the classifier of a question believes of the pool: the tasks without a label that somebody can be given.

    Attributes:
        mask: `(n,)` bool, which of the memory's tasks they are.
        pool: `(p,)` int64, their places in the memory's `task_ids`, ascending.
        chosen: `(p, k)` bool in Fortran order, what is predicted.
        confidence: `(p,)` float32, how surely; NaN without a classifier.
        probabilities: `(p, k)` float32; None without a classifier.
        others: the same of the other questions, in their order. One that reads other texts knows of fewer tasks.
    """

    mask: NDArray[np.bool_]
    pool: NDArray[np.int64]
    chosen: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None
    others: tuple["Beliefs", ...] = ()

    @property
    def questions(self) -> tuple["Beliefs", ...]:
        """This and the others."""
        return (self, *self.others)


@dataclass(frozen=True)
class Ranked:
    """A ranking, and how its head came about.

    Attributes:
        ranking: of the whole pool, with what is predicted for the first question.
        others: the same order with what is predicted for each of the others.
        is_audit: `(h,)` bool, which places of its head are audit tasks.
        drawn: labelled tasks that were drawn as audit tasks besides, or have the text of one.
        slots: what put each task of the head there; see `RoundRecord`.
        likely: the two most likely choices of each; see `RoundRecord`.
    """

    ranking: Ranking
    others: list[Ranking]
    is_audit: NDArray[np.bool_]
    drawn: list[int]
    slots: list[str]
    likely: list[dict[str, float]]


def predict(this: Round) -> Beliefs:
    """Return what the classifiers believe of all tasks that somebody can be given."""
    waits = ~(this.answered | this.twins) & ~this.memory.among(this.served.closed)

    def of(other: Round) -> NDArray[np.bool_]:
        return other.memory.among(this.memory.task_ids[waits]) if other.config.reads else waits

    others = (_predict(other, of(other)) for other in this.others)
    return replace(_predict(this, waits), others=tuple(others))


def _predict(this: Round, mask: NDArray[np.bool_]) -> Beliefs:
    """Return what the classifier of one question believes of some tasks `(n,)`."""
    pool, k = np.flatnonzero(mask), len(this.config.choices)
    # Where most texts are in the pool, scoring all takes less than gathering the vectors of these.
    asked = slice(None) if 2 * len(pool) > len(mask) else pool
    probabilities = this.probabilities(this.memory.vectors_at(asked)) if len(pool) else None
    if probabilities is None:
        return Beliefs(mask, pool, np.zeros((len(pool), k), bool), np.full(len(pool), np.nan, np.float32), None)
    if len(probabilities) > len(pool):
        probabilities = probabilities.T.take(pool, axis=1).T
    each = decisions.how_many(this.labelled.targets(this.config))
    confidence = np.asarray(decisions.confidences(probabilities, each), np.float32)
    return Beliefs(mask, pool, decisions.decide(probabilities, each), confidence, probabilities)


def rank(this: Round, beliefs: Beliefs, table: VectorTable) -> Ranked:
    """Rank the pool; `table` has the vectors that the round rests on."""
    memory, pool = this.memory, beliefs.pool
    is_open = _open(this, beliefs)
    picked, reasons = _pick(this, beliefs, is_open, table)
    head, drawn = _with_audits(this, is_open, picked)
    first = np.searchsorted(pool, np.concatenate([head.places, picked[~np.isin(picked, head.places)]]))
    hidden = by_lot(memory.priority, this.choosing.audit_fraction)
    hidden[head.places[head.is_audit]] = True
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        order = np.concatenate([first, *_rest(this, beliefs, is_open, first, threads)])
        chosen = threads.submit(beliefs.chosen.T.take, order, axis=1)
        places, confidence = pool.take(order), beliefs.confidence.take(order)
        tasks, hides = memory.task_ids.take(places), hidden.take(places)
        twins = memory.task_ids[this.twins]
        ranking = Ranking(tasks, chosen.result().T, confidence, hides, this.config.meaning, twins)
    others = []
    for other, believed in zip(this.others, beliefs.others, strict=True):
        said, sure = _of_pool(this, beliefs, other, believed)
        columns = said.T.take(order, axis=1).T
        others.append(replace(ranking, chosen=columns, confidence=sure.take(order), meaning=other.config.meaning))
    why = dict(zip(picked.tolist(), reasons, strict=False))
    is_drawn = zip(head.places.tolist(), head.is_audit, strict=True)
    slots = ["audit" if is_audit else why[place] for place, is_audit in is_drawn]
    return Ranked(ranking, others, head.is_audit, drawn, slots, _likely(this, beliefs, order[: len(slots)]))


def _of_pool(
    this: Round, beliefs: Beliefs, other: Round, believed: Beliefs
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """What another question's classifier predicts `(p, k)` of the pool of the first one, and how surely `(p,)`."""
    if not other.config.reads:
        return believed.chosen, believed.confidence
    places = other.memory.places(this.memory.task_ids[beliefs.pool])
    known = np.isin(places, believed.pool)
    at = np.searchsorted(believed.pool, places[known])
    chosen, confidence = np.zeros((len(known), believed.chosen.shape[1]), bool), np.full(len(known), np.nan, np.float32)
    chosen[known], confidence[known] = believed.chosen[at], believed.confidence[at]
    return chosen, confidence


def _asked(this: Round, beliefs: Beliefs, question: LabelConfig) -> NDArray[np.bool_]:
    """Of which tasks of the pool `(p,)` a question is asked, as far as what is predicted for the others tells."""
    tag, choices = question.asked_if or ("", ())
    for other, believed in zip(this.questions, beliefs.questions, strict=True):
        meant = [place for choice in choices if (place := other.config.place(choice)) is not None]
        if other.config.from_name == tag and meant and believed.probabilities is not None:
            return np.asarray(_of_pool(this, beliefs, other, believed)[0][:, meant].any(axis=1))
    return np.ones(len(beliefs.pool), bool)


def _open(this: Round, beliefs: Beliefs) -> NDArray[np.bool_]:
    """Which tasks `(n,)` may come first: ones that whoever asks next can be given; if there are none, any.

    Of tasks with the same text one may: its label is to be that of all.
    """
    for_all = beliefs.mask & ~_passed(this)
    at_once = for_all & ~this.memory.among(_resting(this))
    return this.memory.one_each(next((mask for mask in (at_once, for_all) if mask.any()), beliefs.mask))


def _passed(this: Round) -> NDArray[np.bool_]:
    """Which tasks `(n,)` have a text that somebody at work passed, be it with another task."""
    return this.memory.with_twins(this.memory.among(this.served.passed | this.served.closed))


def _pick(
    this: Round, beliefs: Beliefs, is_open: NDArray[np.bool_], table: VectorTable
) -> tuple[NDArray[np.int64], list[str]]:
    """The places in `task_ids` of what is to be labelled next, as many as the head has, and what put each there.

    What the focus asks for comes before what the strategy wants.
    """
    eligible = np.flatnonzero(is_open)
    size = min(max(_SMALLEST_HEAD, 2 * this.served.at_work), len(eligible))
    if not size:
        return eligible, []
    asked, slot = focusing.first(this, table, eligible, size, _seen(beliefs, is_open))
    left = size - len(asked)
    if not left:
        return asked, [slot] * size
    others = is_open.copy()
    others[asked] = False
    reasons = ["strategy"] * left
    if not this.others:
        has_classifier = beliefs.probabilities is not None
        labels = len(this.labelled.places)
        reasons = strategies.reasons(this.learner.strategy, labels, left, has_classifier=has_classifier)
    return np.concatenate([asked, _wanted(this, beliefs, others, left)]), [slot] * len(asked) + reasons


def _wanted(this: Round, beliefs: Beliefs, is_open: NDArray[np.bool_], size: int) -> NDArray[np.int64]:
    """The places in `task_ids` of what the strategy wants to be labelled next, for whichever question."""
    if not this.others:
        return _picks(this, beliefs, is_open, size)
    each = list(zip(this.questions, beliefs.questions, strict=True))
    asked = [_asked(this, beliefs, one.config) for one, _ in each]
    needs = [need(_of_pool(this, beliefs, *pair)[1], of_it) for pair, of_it in zip(each, asked, strict=True)]
    may_come = is_open.copy()
    picked: NDArray[np.int64] = np.empty(0, np.int64)
    # Where less is open that the one is asked of that needs it most, the next one picks, too.
    for at in np.argsort(-np.array(needs), kind="stable"):
        (one, believed), of_it = each[at], may_come.copy()
        of_it[beliefs.pool] &= asked[at]
        if one.config.reads:
            of_it = one.memory.among(this.memory.task_ids[of_it]) & believed.mask
        places = one.memory.task_ids[_picks(one, believed, of_it, size - len(picked))]
        picked = np.append(picked, this.memory.places(places))
        may_come[picked] = False
    return np.append(picked, _picks(this, beliefs, may_come, size - len(picked)))


def _picks(this: Round, beliefs: Beliefs, is_open: NDArray[np.bool_], size: int) -> NDArray[np.int64]:
    """The places of up to `size` tasks that one question's strategy wants to be labelled next."""
    eligible = np.flatnonzero(is_open)
    if not len(eligible) or not size:
        return eligible[:0]
    seen = _seen(beliefs, is_open)
    # The seed is the project's own, so that the same labels always give the same ranking.
    rng = np.random.default_rng(this.project.id)
    return eligible[this.learner.select(this.memory.vectors_at(eligible), min(size, len(eligible)), rng, seen)]


def _seen(beliefs: Beliefs, is_open: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """What the classifier believes of the tasks `(n,)` of the pool that may come."""
    seen = beliefs.probabilities
    if seen is None or is_open[beliefs.pool].all():
        return seen
    return seen.T.compress(is_open[beliefs.pool], axis=1).T


def _likely(this: Round, beliefs: Beliefs, order: NDArray[np.int64]) -> list[dict[str, float]]:
    """How likely two choices of each place in the pool are, by name; empty without a classifier."""
    if beliefs.probabilities is None:
        return []
    rows, choices = beliefs.probabilities[order], this.config.choices
    two = np.argsort(np.abs(rows - 0.5) if this.config.multiple else -rows, axis=1, kind="stable")[:, :2]
    return [{choices[at]: float(row[at]) for at in best} for row, best in zip(rows, two.tolist(), strict=True)]


def _with_audits(this: Round, is_open: NDArray[np.bool_], picked: NDArray[np.int64]) -> tuple[Head, list[int]]:
    """The head, and labelled tasks that were drawn on the way; places are those in `task_ids`."""
    memory, own, count = this.memory, this.answered, int(this.answered.sum())
    were_drawn = memory.among(this.project.audits())
    is_audit = memory.with_twins(were_drawn)
    lot = _lot(this, is_audit, is_open, own, 2 * len(picked))
    has_label = own[lot]
    head = interleave_audit(
        picked,
        np.where(has_label, -1, lot),
        labels=count - this.project.labels_before(count),
        audits=int((is_audit & own).sum()),
        fraction=this.choosing.audit_fraction,
        head=len(picked),
    )
    twins = np.flatnonzero(is_audit & own & ~were_drawn)
    return head, memory.task_ids[np.concatenate([twins, lot[has_label][: head.found]])].tolist()


def _lot(
    this: Round, is_audit: NDArray[np.bool_], is_open: NDArray[np.bool_], own: NDArray[np.bool_], count: int
) -> NDArray[np.int64]:
    """Places in `task_ids` of the texts that are drawn next, as audit tasks, until `count` of them can be served.

    Draws are uniform over texts: one that a hundred tasks have is as likely as one that a single task has, and is
    judged by one label. Texts that were drawn before come first: someone may be reading one of them right now. What
    cannot be served is passed over, and so replaced by the next draw.

    Args:
        this: the round.
        is_audit: `(n,)`, which tasks have a text that was drawn before.
        is_open: `(n,)`, which may come first, one of each text.
        own: `(n,)`, which have a label of their own.
        count: how many texts are wanted.
    """
    memory = this.memory
    waiting = np.flatnonzero(is_audit & is_open & ~memory.with_twins(own))
    waiting = waiting[np.argsort(memory.priority[waiting])]
    possible = memory.one_each(~is_audit & (is_open | own))
    looked_at = _FIRST_LOTS
    while True:
        taken = memory.lot[:looked_at]
        taken = taken[possible[taken]]
        if looked_at >= len(memory.lot) or is_open[taken].sum() >= count:
            return np.concatenate([waiting, taken])
        looked_at *= 4


def _rest(
    this: Round,
    beliefs: Beliefs,
    is_open: NDArray[np.bool_],
    first: NDArray[np.int64],
    threads: ThreadPoolExecutor,
) -> Iterable[NDArray[np.int64]]:
    """All other places in the pool, by confidence; behind them tasks that somebody passed, or whose twin is to come."""
    rest = np.ones(len(beliefs.pool), bool)
    rest[first] = False
    last = (_passed(this) | (this.memory.with_twins(is_open) & ~is_open)).take(beliefs.pool)
    confidence = _confidence(this, beliefs)
    if not len(confidence) or np.isnan(confidence[0]):
        doubt = this.memory.priority[beliefs.pool]
        parts = np.flatnonzero(rest & ~last), np.flatnonzero(rest & last)
        return [part[np.argsort(doubt[part], kind="stable")] for part in parts]
    # Two halves, for two cores.
    sure = confidence > np.median(confidence[:: 1 + len(rest) // _MEDIAN_OF])
    masks = rest & ~last & ~sure, rest & ~last & sure, rest & last
    return threads.map(lambda mask: by_confidence(confidence, np.flatnonzero(mask)), masks)


def _confidence(this: Round, beliefs: Beliefs) -> NDArray[np.float32]:
    """How sure of each task of the pool `(p,)` the least sure classifier is whose question is asked; all NaN: none."""
    if not this.others:
        return beliefs.confidence
    each = [
        np.where(_asked(this, beliefs, one.config), _of_pool(this, beliefs, one, believed)[1], np.nan)
        for one, believed in zip(this.questions, beliefs.questions, strict=True)
    ]
    least: NDArray[np.float32] = np.fmin.reduce(each)
    return least if np.isnan(least).all() else np.nan_to_num(least, nan=0.0).astype(np.float32)


def _resting(this: Round) -> set[int]:
    """Tasks that Label Studio does not give to the people at work, as far as can be told from what they annotate."""
    project, memory, now = this.project, this.memory, time.time()
    counts, last = project.overtaken(), project.round
    if this.new and last is not None and memory.published.is_newest(project):
        before = (memory.annotated or frozenset()) - this.new
        order = [entry.task for entry in memory.published.front if entry.task not in before]
        found = overtaken(counts, order, len(last.head), this.new, this.served.at_work, now)
        if found != counts:
            project.set_overtaken(found)
        counts = found
    return resting(counts, now)
