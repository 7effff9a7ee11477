"""What `prepal status` tells of a project; read from Redis alone."""

import time
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import redis

from prepal import label_config, labels
from prepal.errors import PrepalError
from prepal.jobs import LEARN, SYNC, queue
from prepal.learning.stopping import advise
from prepal.project import Project, RoundRecord
from prepal.vectors import text_ids
from prepal.waiting import QUEUE as EMBED
from prepal.waiting import WaitingTexts

# `next` lists this many places of the ranking.
_NEXT = 10


def report(project: Project, waiting: WaitingTexts, encoder: str) -> dict[str, Any]:
    """The state of a project as one JSON document.

    `up_to_date` is true when the newest finished round knows every fact written so far, and Label Studio serves by it.
    """
    facts, info, record = project.facts, project.info, project.round
    tasks, texts = project.task_texts()
    unembeddable = project.unembeddable()
    failures = waiting.all_failures()
    failed = texts[np.isin(texts, text_ids(list(failures)))].astype(str).tolist()
    waits = np.isin(texts, text_ids(list(waiting.ids())))
    reasons = Counter(unembeddable.values())
    reasons.update(failures[key] for key in failed)
    ranking = project.ranking()
    return {
        "project": project.id,
        "title": info.title,
        "problem": info.problem or None,
        "notes": [
            *info.drift,
            *(record.notes if record else []),
            *_ignored(info.label_config),
            *_switching(project, encoder),
        ],
        "connected": info.connected,
        "encoder": encoder,
        "strategy": record.strategy if record else None,
        "tasks": info.task_count,
        "known": len(tasks) + len(unembeddable),
        "embedded": len(tasks) - len(failed) - int(waits.sum()),
        "texts_per_s": waiting.rate,
        "waiting": len(np.unique(texts[waits])),
        "not_embeddable": dict(reasons),
        "labelled": _labelled(project),
        "up_to_date": record is not None and record.facts == facts and project.facts == facts,
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
        },
        "accuracy": record.accuracy if record else None,
        "advice": None if record is None else _advice(project, record),
        "suspected": record.suspected if record else [],
        "next": [] if ranking is None else ranking.task_ids[:_NEXT].tolist(),
        "next_audit": record.head_audit if record else [],
        "queues": {name: len(queue(project.connection, name)) for name in (LEARN, SYNC, EMBED)},
    }


def wait_for(connection: redis.Redis, project: int, timeout_s: float) -> None:
    """Wait until the newest finished round of a project knows everything.

    Raises:
        PrepalError: it took longer than `timeout_s`.
    """
    known = Project(connection, project)
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        facts, record = known.facts, known.round
        if record is not None and record.facts == facts:
            return
        time.sleep(0.02)
    raise PrepalError(f"No round of project {project} finished within {timeout_s:g} s: look at the learner's log.")


def _advice(project: Project, record: RoundRecord) -> dict[str, str] | None:
    """Whether to go on labelling, and why."""
    try:
        config = label_config.parse(project.info.label_config)
    except PrepalError:
        return None
    accuracies = [(int(known["labels"]), known["estimate"]) for known in project.accuracies()]
    kappas = record.stability.get("kappas", [])
    return asdict(advise(kappas, record.labels / len(config.choices), accuracies))


def _labelled(project: Project) -> int:
    try:
        config = label_config.parse(project.info.label_config)
    except PrepalError:
        return 0
    return len(labels.settle(project.annotations(), config))


def _ignored(xml: str) -> list[str]:
    try:
        config = label_config.parse(xml)
    except PrepalError:
        return []
    if not config.ignored:
        return []
    return [f"Only {config.from_name!r} is learnt; not {', '.join(map(repr, config.ignored))}."]


def _switching(project: Project, encoder: str) -> list[str]:
    before = project.encoder
    if before in (None, encoder):
        return []
    return [f"The ranking rests on the encoder {before} until all texts have a vector of {encoder}."]
