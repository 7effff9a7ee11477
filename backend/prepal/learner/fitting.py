"""What a round goes by: the labels, whom other tasks can be given, and a learner that has learnt from all labels.

Of several questions each has labels and a learner of its own, on the same vectors where they read the same texts.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prepal.labels.label_config import LabelConfig
from prepal.labels.serving import Serving, serving
from prepal.labels.settle import settle
from prepal.learner.memory.memory import Memory
from prepal.learning import strategies
from prepal.learning.active_learner import ActiveLearner
from prepal.learning.adapting import softened
from prepal.learning.classifiers.label_names import name_text
from prepal.learning.classifiers.labels import Labels, NothingToLearn
from prepal.learning.classifiers.weak_labels import WeakLabels
from prepal.learning.numerics.float16 import as_float32
from prepal.learning.numerics.rows import Rows
from prepal.learning.weakly_taught import WeaklyTaught
from prepal.project import Project
from prepal.vectors import VectorTable, encoders, text_id

# What chooses where the strategy of the settings cannot.
_ALWAYS_POSSIBLE = "auto"
# From so many weak labels everything is learnt that they say, in a second or two.
_WEAK_LABELS = 5000


@dataclass(frozen=True)
class Choosing:
    """How tasks are chosen."""

    strategy: str
    audit_fraction: float


@dataclass(frozen=True)
class Labelled:
    """The tasks that have a label of their own, in the order in which they got it, and twins that take it from them.

    A task without a label of its own takes that of the tasks with the same text, as long as these have one label. Where
    they contradict each other none of them hands on what it has. A text is learnt from labels of its tasks' own alone.

    Attributes:
        places: `(m,)` int64, places in the memory's `task_ids` of those with a label of their own.
        rows: `(m, k)` bool, the label of each.
        given: `(n,)` int64, which of these labels each of all tasks has, its own or a twin's; -1: it has none.
        contradicted: `(m,)` bool, whose label is not that of all tasks with the same text.
    """

    places: NDArray[np.int64]
    rows: NDArray[np.bool_]
    given: NDArray[np.int64]
    contradicted: NDArray[np.bool_]

    @classmethod
    def of(cls, memory: Memory, labels: dict[int, NDArray[np.bool_]], choices: int) -> "Labelled":
        """Return those of the tasks in memory that have a label, of labels `(choices,)` bool by task."""
        at = memory.places(labels)
        places, numbers = at[at >= 0], np.arange((at >= 0).sum())
        rows = np.array(list(labels.values()), bool).reshape(len(labels), choices)[at >= 0]
        given: NDArray[np.int64] = np.full(len(memory.task_ids), -1)
        contradicted: NDArray[np.bool_] = np.zeros(len(rows), bool)
        if memory.has_twins:
            of_text = np.full(memory.text_count, -1)
            texts = memory.texts_at[places]
            of_text[texts] = numbers
            differ = np.unique(texts[(rows != rows[of_text[texts]]).any(axis=1)])
            contradicted = np.isin(texts, differ)
            of_text[differ] = -1
            given = of_text[memory.texts_at]
        given[places] = numbers
        return cls(places, rows, given, contradicted)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which of all tasks `(n,)` have a label, their own or a twin's."""
        return self.given >= 0

    @property
    def own(self) -> NDArray[np.bool_]:
        """Which of all tasks `(n,)` have a label of their own."""
        found = np.zeros(len(self.given), bool)
        found[self.places] = True
        return found

    @property
    def takes(self) -> NDArray[np.bool_]:
        """Which of all tasks `(n,)` have a twin's label alone."""
        return self.mask & ~self.own

    def targets(self, config: LabelConfig) -> Labels:
        """Return the labels as classifiers want them: `(m,)` int64, or `(m, k)` bool where a text may have several."""
        return self.rows if config.multiple else self.rows.argmax(axis=1).astype(np.int64)


@dataclass(frozen=True)
class Round:
    """What one round goes by, of one question: of the project's first one, and of each of the others.

    Attributes:
        project: what is remembered of the question.
        memory: what is kept of it.
        config: the question.
        choosing: how tasks are chosen.
        learner: the project's, which has learnt from the labels.
        labelled: the tasks that have a label.
        answered: `(n,)` bool, which tasks have a label of their own for any of the questions.
        served: whom the others can be given.
        labels: how many tasks have a label for any question, also those whose vector is not there yet.
        new: tasks that were annotated since the last round of this process; empty in its first one.
        notes: what is to be said of the round.
        temperature: what the logits of predictions are to be divided by.
        others: the same of the other questions, in their order.
    """

    project: Project
    memory: Memory
    config: LabelConfig
    choosing: Choosing
    learner: ActiveLearner
    labelled: Labelled
    answered: NDArray[np.bool_]
    served: Serving
    labels: int
    new: frozenset[int]
    notes: list[str]
    temperature: float
    others: tuple["Round", ...] = ()

    @property
    def questions(self) -> tuple["Round", ...]:
        """This and the others."""
        return (self, *self.others)

    @property
    def twins(self) -> NDArray[np.bool_]:
        """Which tasks `(n,)` without a label of their own take one, for any question, from one with the same texts."""
        takes = [question.labelled.takes for question in self.questions if not question.config.reads]
        return np.asarray(np.logical_or.reduce(takes) & ~self.answered)

    def probabilities(self, vectors: Rows) -> NDArray[np.float32] | None:
        """The probability `(n, k)` of each choice, as sure as is right; None while nothing can be predicted."""
        said = self.learner.predict_proba(vectors)
        return None if said is None else softened(said, self.temperature, multilabel=self.config.multiple)


def learn(project: Project, memory: Memory, table: VectorTable, config: LabelConfig, choosing: Choosing) -> Round:
    """Let a project's learners learn from all labels that there are, and return what a round goes by then."""
    facts = project.facts
    memory.refresh(project, table, config.others)
    annotations = project.annotations()
    labels = [settle(annotations, question) for question in config.questions]
    answered = set().union(*labels)
    served = serving(annotations, answered, project.rules, project.postponed())
    annotated = frozenset(annotation.task for annotation in annotations.values())
    new = annotated - memory.annotated if memory.annotated is not None else frozenset()
    memory.annotated = annotated

    def learnt(question: LabelConfig, labels: dict[int, NDArray[np.bool_]]) -> Round:
        own, of_question = project.of(question), memory.of(question)
        learner, labelled, notes = _learnt(own, of_question, table, question, choosing, labels)
        of_question.facts = facts
        return Round(
            project=own,
            memory=of_question,
            config=question,
            choosing=choosing,
            learner=learner,
            labelled=labelled,
            answered=of_question.among(answered),
            served=served,
            labels=len(answered),
            new=new,
            notes=[f"{question.from_name!r}: {note}" for note in notes] if config.others else notes,
            temperature=project.temperature(table.encoder),
        )

    first, *others = [learnt(question, of_it) for question, of_it in zip(config.questions, labels, strict=True)]
    return replace(first, others=tuple(others))


def _learnt(
    project: Project,
    memory: Memory,
    table: VectorTable,
    config: LabelConfig,
    choosing: Choosing,
    labels: dict[int, NDArray[np.bool_]],
) -> tuple[ActiveLearner, Labelled, list[str]]:
    """Let the learner of one question learn; returns it, the tasks that have a label, and what is to be said of it."""
    labelled = Labelled.of(memory, labels, len(config.choices))
    learner, notes = _learner(project, memory, config, table, choosing)
    if len(memory.task_ids):
        try:
            learner.fit(
                as_float32(memory.vectors_at(labelled.places)[:]),
                labelled.targets(config),
                memory.vectors_at(~labelled.mask),
            )
        except NothingToLearn as error:
            notes.append(str(error))
    return learner, labelled, notes


def _learner(
    project: Project, memory: Memory, config: LabelConfig, table: VectorTable, choosing: Choosing
) -> tuple[ActiveLearner, list[str]]:
    """The project's learner, begun anew when it is to learn something else; and what is to be said of it."""
    strategy, notes = choosing.strategy, []
    if config.multiple and not strategies.get(strategy).multilabel:
        notes = [f"The strategy {strategy!r} needs a single choice per text; {_ALWAYS_POSSIBLE!r} chooses instead."]
        strategy = _ALWAYS_POSSIBLE
    names = _names(memory, config, table)
    # While vectors come in, those of more weak labels do, too.
    of_weak = project.weak_version and (project.weak_version, len(memory.task_ids).bit_length())
    learnt = (config.meaning, config.words, table.encoder, strategy, names is not None, memory.words.state, of_weak)
    if memory.learner is None or memory.learnt != learnt:
        weak = weak_labels(project, memory, config, table) if of_weak else None
        k = len(config.choices)
        if weak is None:
            memory.learner = ActiveLearner(k, strategy, multilabel=config.multiple, name_vectors=names)
        else:
            memory.learner = WeaklyTaught(k, strategy, weak, names)
        memory.learnt = learnt
        memory.predicted = None
    return memory.learner, notes


def weak_labels(project: Project, memory: Memory, config: LabelConfig, table: VectorTable) -> WeakLabels | None:
    """What somebody predicted of tasks whose vectors are known; of many tasks some."""
    # An adapted encoder has learnt from labels what texts are about.
    if config.multiple or len(config.choices) < 2 or encoders.is_adapted(table.encoder):
        return None
    tasks, numbers, names = project.weak_labels()
    place_of = np.array([-1 if (place := config.place(name)) is None else place for name in names], np.int64)
    places, labels = memory.places(tasks.tolist()), place_of[numbers]
    known = np.flatnonzero((places >= 0) & (labels >= 0))
    if not len(known):
        return None
    some = np.random.default_rng(project.id).permutation(known)[:_WEAK_LABELS]
    return WeakLabels(memory.vectors_at(places[some])[:], labels[some])


def _names(memory: Memory, config: LabelConfig, table: VectorTable) -> NDArray[np.float32] | None:
    """The vectors of the choices' names, `(k, d)`, once all are embedded."""
    # An adapted encoder has learnt what they say.
    if encoders.is_adapted(table.encoder):
        return None
    wanted = (config.words, table.encoder, memory.words.state)
    if memory.names is None or memory.names[0] != wanted:
        texts = [name_text(words) for words in config.words]
        found, vectors = table.find([text_id(text) for text in texts])
        whole = np.hstack([vectors.astype(np.float32), memory.words.of_texts(texts)]) if found.all() else None
        memory.names = None if whole is None else (wanted, whole)
    return None if memory.names is None else memory.names[1]
