"""A project's state and the sentences on it, read from Redis alone: what `prepal status` and the page go by."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import redis

from prepal import records
from prepal.errors import PrepalError
from prepal.labels.serving import serving
from prepal.learning.quality.acceptance import acceptance
from prepal.learning.quality.stopping import Stability, advise, hardly_predicted
from prepal.project import Project, Trouble, readable
from prepal.queues.requests import ADAPT, LEARN, SYNC, queue
from prepal.queues.waiting import QUEUE as EMBED
from prepal.queues.waiting import WaitingTexts
from prepal.reports.adaptation import Adapting
from prepal.reports.how_much_longer import how_much_longer
from prepal.reports.people import people_of
from prepal.reports.steering import focus_told, reasons_of
from prepal.reports.view import View
from prepal.vectors import text_ids

# `next` lists this many places of the ranking.
_NEXT = 10
# What is told of the first question as that of the project, too.
_OF_EACH = ("accuracy", "acceptance", "advice", "forecast", "suspected")
# Of the labels that may be wrong so many; Label Studio's tab has more of them.
_SUSPECTED = 20


def report(project: Project, waiting: WaitingTexts) -> dict[str, Any]:
    """The state of a project as one JSON document; `waiting` is for the encoder that its ranking is to rest on.

    `up_to_date` is true when the newest finished round knows every fact written so far, and Label Studio serves by it.

    Raises:
        PrepalError: what Redis has of the project cannot be read.
    """
    with readable(project):
        return report_of(View(project), waiting)


def report_of(view: View, waiting: WaitingTexts) -> dict[str, Any]:
    """The same of a project that is being read."""
    project, info, record, ranking = view.project, view.info, view.record, view.ranking
    tasks, texts = project.task_texts()
    unembeddable = project.unembeddable()
    failures = waiting.all_failures()
    is_failed = np.isin(texts, text_ids(list(failures)))
    waits = np.isin(texts, text_ids(list(waiting.ids())))
    # While texts are read once more, because they have no vector of this encoder, those behind have none.
    is_filling = project.encoder not in (None, waiting.encoder)
    read = tasks <= project.read_until if is_filling else np.ones(len(tasks), bool)
    embedded = int((read & ~waits & ~is_failed).sum())
    adapting = Adapting(project, waiting.encoder, embedded, len(tasks))
    reasons = Counter(unembeddable.values())
    reasons.update(failures[key] for key in texts[is_failed].astype(str).tolist())
    questions = [_question(one) for one in view.questions]
    first = [] if ranking is None else ranking.task_ids[:_NEXT].tolist()
    return {
        "project": project.id,
        "title": info.title,
        "problem": view.problem or None,
        "troubles": [{**asdict(trouble), "told": told(trouble)} for trouble in view.troubles],
        "notes": [*_notes(view, questions), *adapting.notes()],
        "connected": info.connected,
        "encoder": waiting.encoder,
        "adaptation": adapting.told(),
        "strategy": record.strategy if record else None,
        "tasks": info.task_count,
        "known": len(tasks) + len(unembeddable),
        "embedded": embedded,
        "texts_per_s": waiting.rate,
        "waiting": len(np.unique(texts[waits])),
        "not_embeddable": dict(reasons),
        "labelled": len(view.answered),
        "twins": {
            "labelled": record.twins if record else 0,
            "contradicted": record.contradicted if record else [],
        },
        "passed": _passed(view),
        "up_to_date": record is not None and record.facts == view.facts == project.facts,
        "rounds": record.number if record else 0,
        "round": None
        if record is None
        else {
            "labels": record.labels,
            "ranked": record.ranked,
            "finished_at": record.finished_at,
            "age_s": round(max(0.0, time.time() - record.finished_at), 3),
            "seconds": record.seconds,
            "changed": record.changed,
            "classifier": record.classifier,
            "name_weight": record.name_weight,
            "weak_labels": {"tasks": record.weak_labels, "weight": record.weak_weight},
        },
        **{name: told for name, told in questions[0].items() if name in _OF_EACH},
        "questions": questions,
        "people": people_of(view),
        "tabs": {kind: tab for kind, (tab, _) in project.tabs.get("tabs", {}).items() if tab},
        "focus": focus_told(view),
        "next": first,
        "next_why": reasons_of(view, first),
        "next_audit": record.head_audit if record else [],
        "queues": {name: len(queue(project.connection, name)) for name in (LEARN, SYNC, EMBED, ADAPT)},
    }


def _question(view: View) -> dict[str, Any]:
    """What is told of one question."""
    config, record = view.config, view.record
    return {
        "question": config.from_name if config else None,
        "labelled": len(view.labels),
        "classifier": record is not None and record.classifier,
        "accuracy": record.accuracy if record else None,
        "acceptance": acceptance_of(view),
        "advice": _advice(view),
        "forecast": how_much_longer(record, len(view.labels)),
        "suspected": record.suspected[:_SUSPECTED] if record else [],
    }


def wait_for(connection: redis.Redis, project: int, timeout_s: float) -> None:
    """Wait until the newest finished round of a project knows everything.

    Raises:
        PrepalError: it took longer than `timeout_s`.
    """
    waited_for = Project(connection, project)
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        facts, record = waited_for.facts, waited_for.round
        if record is not None and record.facts == facts:
            return
        time.sleep(0.02)
    raise PrepalError(f"No round of project {project} finished within {timeout_s:g} s: look at the learner's log.")


def told(trouble: Trouble) -> str:
    """One sentence on what goes wrong, for people."""
    again_s = max(0.0, trouble.until - time.time())
    times = "once" if trouble.count == 1 else f"{trouble.count} times"
    return f"{trouble.job} failed {times}, and is tried again in {again_s:.0f} s: {trouble.what}"


def _passed(view: View) -> dict[str, int]:
    """How many tasks without a label were skipped, postponed or submitted empty, and what that means for them."""
    project = view.project
    found = serving(view.annotations, view.answered, project.rules, project.postponed())
    without_label = {a.task for a in view.annotations.values() if a.task not in view.answered}
    passed = without_label | found.passed | found.closed
    return {
        "tasks": len(passed),
        "left_to_others": len(found.passed),
        "left_to_nobody": len(found.closed),
        "audit_tasks": len(passed & project.audits()),
    }


def acceptance_of(view: View) -> dict[str, Any] | None:
    """How often people agree with predictions that they see, and with ones that they do not see."""
    config, labels = view.config, view.labels
    shown = {task: what for task, what in view.project.shown().items() if task in labels}
    if not shown or config is None:
        return None
    agreed = [set(config.names(labels[task])) == set(chosen) for task, (chosen, _, _) in shown.items()]
    confidence, hidden = zip(*((sure, hides) for _, sure, hides in shown.values()), strict=True)
    found = acceptance(np.array(agreed), np.array(confidence, float), np.array(hidden, bool))
    return None if found is None else asdict(found)


def _notes(view: View, questions: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What people should know of a project that is no fault, a sentence each."""
    yield from view.info.drift
    yield from view.config.notes if view.config else []
    for one, told_of_it in zip(view.questions, questions, strict=True):
        yield from one.record.notes if one.record else []
        lead = f"{told_of_it['question']!r}: " if len(questions) > 1 else ""
        yield from (f"{lead}{note}" for note in _notes_of(one, told_of_it["acceptance"]))


def _notes_of(view: View, accepts: dict[str, Any] | None) -> Iterator[str]:
    """What people should know of one question."""
    record = view.record
    if record is not None and record.weak_weight is not None:
        yield (
            f"The classifier began from {record.weak_labels:,} predictions that somebody imported; by the labels so "
            f"far they count {record.weak_weight:.1f} times what they say."
        )
    if record is not None and record.contradicted:
        yield (
            f"Tasks {', '.join(map(str, record.contradicted[0]))} have the same text and different labels, so no other "
            "task with this text takes either: make them agree."
        )
    if accepts is not None and accepts["accepts"]:
        yield f"{agreement_told(accepts)}: they accept what they are shown, so labels are less sure than they look."


def agreement_told(found: dict[str, Any]) -> str:
    """How often people agree with predictions, as `acceptance_of` has it; a sentence without its full stop."""
    shown, hidden = found["shown"], found["hidden"]
    return (
        f"People agree with {shown['agreed']:.0%} of the predictions that they see, where {shown['expected']:.0%} were "
        f"expected, and with {hidden['agreed']:.0%} of those that they do not see, where {hidden['expected']:.0%} were "
        "expected"
    )


def _advice(view: View) -> dict[str, str] | None:
    """Whether to go on labelling, and why; None before the first round."""
    record, config, predictions = view.record, view.config, view.predictions
    if record is None or config is None:
        return None
    accuracies = [(int(estimate["labels"]), estimate["estimate"]) for estimate in view.accuracies]
    stability = records.fill(Stability, record.stability) or Stability()
    unseen = [] if predictions is None else [config.choices[at] for at in hardly_predicted(predictions.chosen)]
    return asdict(advise(stability.kappas, record.labels / len(config.choices), accuracies, unseen))
