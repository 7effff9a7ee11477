"""The figures of a round, by a job beside the next rounds: accuracy, and labels that are probably wrong.

They take longer than learning, so rounds do not wait for them; and they are computed anew whenever a label or an audit
task is another one, so that they never rest on labels that are no more.
"""

import hashlib
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prepal.labels import label_config
from prepal.labels.settle import settle
from prepal.learner.fitting import Choosing, Labelled, learn
from prepal.learner.memory.memory import Memory
from prepal.learning.active_learner import prior_of
from prepal.learning.classifiers.labels import Labels
from prepal.learning.quality.accuracy import Accuracy, estimate_accuracy
from prepal.learning.quality.folds import alike
from prepal.learning.quality.label_issues import suspected
from prepal.project import Project
from prepal.vectors import VectorTable

# Of the labels that may be wrong only the most suspicious ones are worth a second look.
_SUSPECTED = 20
# Of larger pools so many texts tell what is believed before any label.
_POOL = 50_000


@dataclass(frozen=True)
class Evidence:
    """The labels by which a round is judged, apart from the memory that the next round changes.

    Attributes:
        content: changes whenever a label, a text, or what is judged by does.
        tasks: `(m,)`, in the order in which they were labelled.
        vectors: `(m, d)` float32.
        labels: `(m,)` int64, or `(m, k)` bool where a text may have several choices.
        is_audit: `(m,)`, which tasks were drawn at random.
        groups: `(m,)`, the same number for tasks with the same text, or with ones that the encoder takes for equal.
        choices: how many there are.
        pool: `(p, d)`, of the texts without a label; a part of many.
        names: `(k, d)`, of the choices' names; None where they have no vectors.
    """

    content: str
    tasks: NDArray[np.int64]
    vectors: NDArray[np.float32]
    labels: Labels
    is_audit: NDArray[np.bool_]
    groups: NDArray[np.int64]
    choices: int
    pool: NDArray[np.float16]
    names: NDArray[np.float32] | None


@dataclass(frozen=True)
class Figures:
    """What the evidence says.

    Attributes:
        accuracy: None while audit tasks are too few.
        suspected: tasks whose label is probably wrong, most suspicious first.
    """

    accuracy: Accuracy | None
    suspected: list[int]


def evidence(
    project: Project, memory: Memory, table: VectorTable, choosing: Choosing, *, more_come: bool = False
) -> Evidence | None:
    """Gather what the newest round is judged by; None when its figures are known, or there is nothing to judge.

    If another process ran the round, that is learnt first. As long as more texts come in, figures of the same labels
    stay.
    """
    config = label_config.parse_or_none(project.info.label_config)
    if config is None:
        return None
    last = project.round
    if last is not None and memory.facts < last.facts:
        learn(project, memory, table, config, choosing)
    if memory.learner is None or memory.texts is None or not len(memory.task_ids):
        return None
    if memory.learnt[:2] != (config.meaning, config.words):
        # The choices are others since; a round of these is due.
        return None
    labelled = Labelled.of(memory, settle(project.annotations(), config), len(config.choices))
    places = labelled.places
    tasks, rows = memory.task_ids[places], memory.rows[places]
    is_audit = memory.among(project.audits())[places]
    texts = memory.texts[1][np.searchsorted(memory.texts[0], tasks)]
    by = repr(memory.learnt).encode("utf-8", "replace")
    judged = _digest(by, tasks, labelled.rows, is_audit, texts)
    memory.content = memory.content or _digest(b"", *memory.texts, memory.task_ids)
    content = f"{judged}-{memory.content}"
    if content == project.judged or (more_come and project.judged.startswith(f"{judged}-")):
        return None
    vectors = memory.vectors[rows].astype(np.float32)
    _, first, text = np.unique(rows, return_index=True, return_inverse=True)
    groups = alike(vectors[first])[text]
    pool = memory.rows[~labelled.mask]
    pool = pool[:: -(-len(pool) // _POOL) or 1]
    names = None if memory.names is None else memory.names[1]
    targets, k = labelled.targets(config), len(config.choices)
    return Evidence(content, tasks, vectors, targets, is_audit, groups, k, memory.vectors.take(pool, axis=0), names)


def _digest(by: bytes, *parts: NDArray[np.generic]) -> str:
    digest = hashlib.blake2b(by, digest_size=16)
    for part in parts:
        digest.update(part.tobytes())
    return digest.hexdigest()


def judge(found: Evidence) -> Figures:
    """Compute the figures."""
    several = found.labels.ndim == 2
    # What a classifier believes before any label; unlike the live one's, it depends on nothing else.
    prior = prior_of(found.vectors, found.pool, found.choices, found.names, multilabel=several)
    accuracy = estimate_accuracy(
        found.vectors,
        found.labels,
        found.is_audit,
        found.choices,
        multilabel=several,
        prior=prior,
        groups=found.groups,
    )
    wrong = suspected(found.vectors, found.labels, found.choices, multilabel=several, prior=prior, groups=found.groups)
    return Figures(accuracy, found.tasks[wrong[:_SUSPECTED]].tolist())


def note(project: Project, found: Evidence, figures: Figures) -> None:
    """Put the figures into the record of the newest round."""
    record = project.round
    if record is None:
        return
    accuracy = None if figures.accuracy is None else asdict(figures.accuracy)
    if accuracy is not None:
        project.add_accuracy(len(found.tasks), accuracy)
    project.finish_round(replace(record, accuracy=accuracy, suspected=figures.suspected))
    project.judged = found.content
