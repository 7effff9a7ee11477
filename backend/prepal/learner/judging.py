"""The figures of a round, by a job beside the next rounds: accuracy, and labels that are probably wrong.

They take longer than learning, so rounds do not wait for them; and they are computed anew whenever a label or an audit
task is another one, so that they never rest on labels that are no more. An encoder that was adapted to labels is judged
by audit tasks that it has not learnt from; and as it agrees with those that it has, wrong or not, labels are suspected
by the one that it was adapted from.
"""

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prepal.labels import label_config
from prepal.labels.second_looks import MOST, Opinions
from prepal.labels.settle import settle
from prepal.learner.fitting import Choosing, Labelled, learn, weak_labels
from prepal.learner.memory.memory import Memory
from prepal.learning.active_learner import prior_of
from prepal.learning.classifiers import decisions
from prepal.learning.classifiers.label_names import name_text
from prepal.learning.classifiers.labels import Labels
from prepal.learning.classifiers.prior import Prior
from prepal.learning.classifiers.weak_labels import WeakLabels
from prepal.learning.lexical import DIMENSION
from prepal.learning.quality.accuracy import Accuracy, estimate_accuracy
from prepal.learning.quality.folds import alike
from prepal.learning.quality.forecast import Curve, Forecast, looking_back
from prepal.learning.quality.label_issues import second_opinion
from prepal.learning.weakly_taught import with_teaching
from prepal.project import Project
from prepal.vectors import VectorTable, encoders, text_id, text_ids
from prepal.vectors.matrix import VectorMatrix

# Of larger pools so many texts tell what is believed before any label.
_POOL = 50_000


@dataclass(frozen=True)
class Evidence:
    """The labels by which a round is judged, apart from the memory that the next round changes.

    Attributes:
        content: changes whenever a label, a text, or what is judged by does.
        meaning: what the choices' numbers mean; see `LabelConfig.meaning`.
        tasks: `(m,)`, in the order in which they were labelled.
        vectors: `(m, d)` float32.
        labels: `(m,)` int64, or `(m, k)` bool where a text may have several choices.
        is_audit: `(m,)`, which tasks were drawn at random.
        groups: `(m,)`, the same number for tasks with the same text, or with ones that the encoder takes for equal.
        choices: how many there are.
        pool: `(p, d)`, of the texts without a label; a part of many.
        names: `(k, d)`, of the choices' names; None where they have no vectors, or the encoder knows what they say.
        words: `(k, w)`, the lexical vectors of the names.
        texts: text ids S32, of the tasks `(m,)`, of the pool `(p,)`, and of the names `(k,)`.
        learnt: `(m,)`, which labels the encoder was adapted to.
        weak: what somebody predicted of some texts; None where nothing is made of it, as with an adapted encoder.
        temperature: what the logits of predictions are to be divided by.
    """

    content: str
    meaning: str
    tasks: NDArray[np.int64]
    vectors: NDArray[np.float32]
    labels: Labels
    is_audit: NDArray[np.bool_]
    groups: NDArray[np.int64]
    choices: int
    pool: NDArray[np.float16]
    names: NDArray[np.float32] | None
    words: NDArray[np.float32]
    texts: tuple[NDArray[np.bytes_], NDArray[np.bytes_], NDArray[np.bytes_]]
    learnt: NDArray[np.bool_]
    weak: WeakLabels | None
    temperature: float


@dataclass(frozen=True)
class Figures:
    """What the evidence says.

    Attributes:
        accuracy: None while audit tasks are too few.
        suspected: tasks whose label is probably wrong, most suspicious first.
        opinions: what a classifier of the other labels thinks of each.
        forecast: None while nothing can be said.
    """

    accuracy: Accuracy | None
    suspected: list[int]
    opinions: Opinions
    forecast: Forecast | None = None


def evidence(
    project: Project,
    memory: Memory,
    table: VectorTable,
    choosing: Choosing,
    question: str | None = None,
    *,
    more_come: bool = False,
) -> Evidence | None:
    """Gather what the newest round is judged by; None when its figures are known, or there is nothing to judge.

    If another process ran the round, that is learnt first. As long as more texts come in, figures of the same labels
    stay.

    Args:
        project: whose round it is.
        memory: what is kept of it.
        table: the vectors that its ranking rests on.
        choosing: how its tasks are chosen.
        question: which of several questions is judged; None: the first one.
        more_come: whether texts wait for the encoder.
    """
    config = label_config.parse_or_none(project.info.label_config)
    if config is None:
        return None
    last = project.round
    if last is not None and memory.facts < last.facts:
        learn(project, memory, table, config, choosing)
    config = next((one for one in config.questions if one.from_name == question), config)
    project, memory = project.of(config), memory.of(config)
    if memory.learner is None or memory.texts is None or not len(memory.task_ids):
        return None
    if memory.learnt[:3] != (config.meaning, config.words, table.encoder):
        # The choices, or the vectors, are others since; a round of these is due.
        return None
    labelled = Labelled.of(memory, settle(project.annotations(), config), len(config.choices))
    places = labelled.places
    tasks, rows = memory.task_ids[places], memory.rows[places]
    is_audit = memory.among(project.audits())[places]
    texts = _texts(memory.texts, tasks)
    by = repr(memory.learnt).encode("utf-8", "replace")
    judged = _digest(by, tasks, labelled.rows, is_audit, texts)
    memory.content = memory.content or _digest(b"", *memory.texts, memory.task_ids)
    content = f"{judged}-{memory.content}"
    if content == project.judged or (more_come and project.judged.startswith(f"{judged}-")):
        return None
    pool = np.flatnonzero(~labelled.mask)
    pool = pool[:: -(-len(pool) // _POOL) or 1]
    vectors = memory.vectors[rows].astype(np.float32)
    names = [name_text(words) for words in config.words]
    return Evidence(
        content=content,
        meaning=config.meaning,
        tasks=tasks,
        vectors=vectors,
        labels=labelled.targets(config),
        is_audit=is_audit,
        groups=_groups(vectors, texts),
        choices=len(config.choices),
        pool=memory.vectors.take(memory.rows[pool], axis=0),
        names=None if memory.names is None else memory.names[1],
        words=memory.words.of_texts(names),
        texts=(
            texts,
            _texts(memory.texts, memory.task_ids[pool]),
            text_ids([text_id(name) for name in names]),
        ),
        learnt=_learnt(project, table.encoder, texts),
        weak=weak_labels(project, memory, config, table),
        temperature=project.temperature(table.encoder),
    )


def _texts(known: tuple[NDArray[np.int64], NDArray[np.bytes_]], tasks: NDArray[np.int64]) -> NDArray[np.bytes_]:
    """Text ids (m,) S32 of tasks (m,), all of which are known."""
    return known[1][np.searchsorted(known[0], tasks)]


def _learnt(project: Project, encoder: str, texts: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    """Which labels, of texts `(m,)`, an encoder learnt from: any, where it was adapted and nobody knows to which."""
    learnt = project.learnt_by(encoder)
    if encoders.is_adapted(encoder) and not len(learnt):
        return np.ones(len(texts), bool)
    return np.isin(texts, learnt)


def _groups(vectors: NDArray[np.float32], texts: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Numbers `(m,)`, the same for tasks with the same text `(m,)`, or with ones whose vectors `(m, d)` are alike."""
    _, first, text = np.unique(texts, return_index=True, return_inverse=True)
    return alike(vectors[first])[text]


def _digest(by: bytes, *parts: NDArray[np.generic]) -> str:
    digest = hashlib.blake2b(by, digest_size=16)
    for part in parts:
        digest.update(part.tobytes())
    return digest.hexdigest()


def judge(found: Evidence, base: VectorTable | None = None) -> Figures:
    """Compute the figures.

    Args:
        found: what they rest on.
        base: the vectors of the encoder that the one of the evidence was adapted from; None where it was not adapted.
    """
    several, prior = found.labels.ndim == 2, prior_before_labels(found)
    before, prior_before = found, prior
    if base is not None:
        before = _before_adapting(found, base)
        prior_before = prior_of(before.vectors, before.pool, before.choices, before.names, multilabel=several)
    # One that was adapted may take all texts of a choice for equal.
    groups = before.groups if len(before.tasks) == len(found.tasks) else found.groups
    accuracy = estimate_accuracy(
        found.vectors,
        found.labels,
        found.is_audit,
        found.pool,
        found.choices,
        multilabel=several,
        prior=prior,
        groups=groups,
        judging=~np.isin(groups, groups[found.learnt]),
        temperature=found.temperature,
    )
    found_again = second_opinion(
        before.vectors, before.labels, before.choices, multilabel=several, prior=prior_before, groups=before.groups
    )
    forecast = None
    if accuracy is not None:
        known = (accuracy.estimate, accuracy.low, accuracy.high)
        forecast = curve(found, prior).next_goal(known, len(found.tasks) + len(found.pool))
    suspected = before.tasks[found_again.suspected[:MOST]].tolist()
    return Figures(accuracy, suspected, _opinions(before, found_again.probabilities), forecast)


def curve(found: Evidence, prior: Prior | None) -> Curve:
    """Return how the accuracy may go on."""
    several = found.labels.ndim == 2
    seen = looking_back(found.vectors, found.labels, found.pool, found.choices, multilabel=several, prior=prior)
    return Curve.after(len(found.tasks), seen)


def prior_before_labels(found: Evidence) -> Prior | None:
    """Return what a classifier believes before any label; unlike the live one's, it depends on nothing else."""
    prior = prior_of(found.vectors, found.pool, found.choices, found.names, multilabel=found.labels.ndim == 2)
    if prior is None or found.weak is None:
        return prior
    return with_teaching(prior, found.weak.taught(prior, found.choices))


def _opinions(found: Evidence, probabilities: NDArray[np.float64]) -> Opinions:
    """What is thought of the labels by the probabilities `(m, k)` of a classifier of the others."""
    judged = np.flatnonzero(~np.isnan(probabilities[:, 0]))
    judged = judged[np.argsort(found.tasks[judged])]
    believed, each = probabilities[judged], decisions.how_many(found.labels)
    labels, thinks = decisions.marks(found.labels, found.choices)[judged], decisions.decide(believed, each)
    of_label = np.where(labels, believed, 1 - believed if found.labels.ndim == 2 else 1.0).prod(axis=1)
    sure = decisions.confidences(believed, each)
    return Opinions(
        found.meaning, found.tasks[judged], labels, thinks, sure.astype(np.float32), of_label.astype(np.float32)
    )


def _before_adapting(found: Evidence, base: VectorTable) -> Evidence:
    """The same as another encoder sees it, of the texts that it has embedded; their lexical vectors are the same."""
    matrix = VectorMatrix()
    matrix.load(base, np.concatenate(found.texts))

    def seen(texts: NDArray[np.bytes_], words: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        rows = matrix.rows(texts)
        there = rows >= 0
        return there, np.hstack([matrix.vectors[rows[there]], words[there]])

    of_tasks, of_pool, of_names = found.texts
    there, vectors = seen(of_tasks, found.vectors[:, -DIMENSION:])
    pool_there, pool = seen(of_pool, found.pool[:, -DIMENSION:])
    named, names = seen(of_names, found.words)
    return replace(
        found,
        tasks=found.tasks[there],
        vectors=vectors,
        labels=found.labels[there],
        is_audit=found.is_audit[there],
        groups=_groups(vectors, of_tasks[there]),
        pool=pool,
        names=names if named.all() else None,
        texts=(of_tasks[there], of_pool[pool_there], of_names),
        learnt=found.learnt[there],
    )


def note(project: Project, found: Evidence, figures: Figures) -> None:
    """Put the figures into the record of the newest round."""
    record = project.round
    if record is None:
        return
    accuracy = None if figures.accuracy is None else asdict(figures.accuracy)
    if accuracy is not None:
        project.add_accuracy(len(found.tasks), accuracy)
    project.put_opinions(figures.opinions)
    forecast = None if figures.forecast is None else asdict(figures.forecast)
    project.finish_round(replace(record, accuracy=accuracy, suspected=figures.suspected, forecast=forecast))
    project.judged = found.content
