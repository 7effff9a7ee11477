"""What is kept in memory of each project between rounds: vectors, words, classifier, order; and how much of it."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prepal.label_studio.publish import Published
from prepal.labels.label_config import LabelConfig
from prepal.learner.memory.words import Words
from prepal.learning import lexical
from prepal.learning.active_learner import ActiveLearner
from prepal.learning.numerics.rows import Rows
from prepal.learning.quality.audit import audit_priority
from prepal.project import Project
from prepal.vectors import TermTable, VectorTable, text_ids
from prepal.vectors.matrix import VectorMatrix

# Vectors and bases of so many bytes are kept in all: of about 20 projects of 10,000 texts (13 MB of vectors with 384 +
# 256 numbers each, and a basis of some 36 MB), or of one that is larger than that, and in use. What was not used for
# longest goes first; it is read again when it is needed.
MOST_BYTES = 1 << 30


@dataclass
class Memory:
    """What is kept of one project."""

    task_ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """(n,): the tasks whose vectors are known, ascending."""
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """(n,): the row of each of these tasks in `vectors`; tasks with the same text have the same."""
    matrix: VectorMatrix = field(default_factory=lambda: VectorMatrix(lexical.DIMENSION))
    words: Words = field(default_factory=Words)
    """Of what stands beside the vectors in the matrix."""
    table: str = ""
    """Name of the table that the vectors are of."""
    texts: tuple[NDArray[np.int64], NDArray[np.bytes_]] | None = None
    """All tasks that have a text, ascending, and their text ids (m,) S32."""
    versions: tuple[int, int] = (-1, -1)
    """Of the project's tasks and of its vectors."""
    content: str = ""
    """A hash of tasks and texts, once somebody has asked for one."""
    has_twins: bool = False
    """Whether any two tasks have the same text."""
    lot: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """(n,): places in `task_ids` in a uniformly random order of their texts that is the project's own."""
    priority: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    """(n,): the random numbers by which they are ordered; tasks with the same text have the same."""
    learner: ActiveLearner | None = None
    facts: int = -1
    """How many facts there were when the learner learnt last."""
    learnt: tuple[object, ...] = ()
    """What the learner is of: choices, their names' vectors, single or multiple, encoder, strategy, words."""
    names: tuple[tuple[object, ...], NDArray[np.float32]] | None = None
    """Which names, of which encoder, and their vectors (k, d)."""
    asked: tuple[tuple[object, ...], NDArray[np.float32]] | None = None
    """Which words others are to be like, by which encoder, and their vector (d,)."""
    predicted: tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]] | None = None
    """Of the last round: `task_ids`, which of them were the pool (n,), and what was predicted of it (p, k)."""
    published: Published = field(default_factory=Published)
    annotated: frozenset[int] | None = None
    """The tasks that had an annotation in the last round; None before the first one."""
    same: NDArray[np.int64] | None = None
    """(n,): numbers of the tasks' texts, the same for twins, where other questions read other texts; None: `rows`."""
    twins_of: list[tuple[str, int, int]] = field(default_factory=list)
    """Of which states of this and other memories twins are known."""
    space: int = 0
    """Changes whenever what was learnt of the vectors before holds no longer."""
    others: dict[str, "Memory"] = field(default_factory=dict)
    """What is kept of the project's other questions, by their names."""

    def of(self, question: LabelConfig) -> "Memory":
        """What is kept of one of the questions."""
        return self if question.is_first else self.others.setdefault(question.from_name, Memory())

    @property
    def nbytes(self) -> int:
        """How much memory vectors and words take; nothing where they were let go."""
        own = self.vectors.nbytes and self.vectors.nbytes + self.words.nbytes
        return own + sum(other.nbytes for other in self.others.values() if other.matrix is not self.matrix)

    @property
    def vectors(self) -> NDArray[np.float16]:
        """(r, d): the vectors of all texts that are known, the encoder's with the lexical ones behind them."""
        return self.matrix.vectors

    def vectors_at(self, places: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Rows:
        """The vectors (p, d) of some tasks, by their places in `task_ids` (p,), or by which these are (n,)."""
        return Rows(self.vectors, self.rows[places])

    def places(self, tasks: Collection[int]) -> NDArray[np.int64]:
        """The place in `task_ids` of each task (m,); -1 where its vector is not known."""
        wanted = np.fromiter(tasks, np.int64, len(tasks))
        if not len(self.task_ids):
            return np.full(len(wanted), -1)
        at = np.minimum(np.searchsorted(self.task_ids, wanted), len(self.task_ids) - 1)
        return np.where(self.task_ids[at] == wanted, at, -1)

    def among(self, tasks: Collection[int]) -> NDArray[np.bool_]:
        """Which of all tasks (n,) are among these."""
        found = np.zeros(len(self.task_ids), bool)
        places = self.places(tasks)
        found[places[places >= 0]] = True
        return found

    def with_twins(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which tasks (n,) have the text of one of those in a mask (n,): these, and their twins."""
        if not self.has_twins:
            return mask
        found = np.zeros(self.text_count, bool)
        found[self.texts_at[mask]] = True
        return found[self.texts_at]

    @property
    def texts_at(self) -> NDArray[np.int64]:
        """(n,): numbers of the tasks' texts, the same for twins and for no others."""
        return self.rows if self.same is None else self.same

    @property
    def text_count(self) -> int:
        """Above all these numbers."""
        return len(self.vectors) if self.same is None else len(self.same)

    def one_each(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of the tasks in a mask (n,) the first one of each text."""
        return mask & (self._first(mask) == np.arange(len(mask))) if self.has_twins else mask

    def _first(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The first place in a mask (n,) of each task's text (n,); what has no text of one there has any."""
        places = np.flatnonzero(mask)[::-1]
        first = np.zeros(self.text_count, np.int64)
        # Of several values for one text the last one stays.
        first[self.texts_at[places]] = places
        return first[self.texts_at]

    def refresh(self, project: Project, table: VectorTable, questions: Sequence[LabelConfig] = ()) -> None:
        """Follow the project's tasks and the vector cache, reading only what is new.

        Args:
            project: whose memory it is.
            table: of the vectors.
            questions: the project's other ones. Where they read other texts, twins are tasks all of whose texts are the
                same.
        """
        self._follow(project, table)
        self.others = {question.from_name: self.of(question) for question in questions}
        reading = [question for question in questions if question.reads]
        for question in reading:
            other = self.of(question)
            other._follow(project.of(question), table)
            other._see_twins(project.id, [])
        self._see_twins(project.id, [self.of(question) for question in reading])
        for question in questions:
            if not question.reads:
                self.of(question)._share(self)

    def _share(self, other: "Memory") -> None:
        """Go by the texts and vectors of another memory."""
        if self.matrix is not other.matrix or self.space != other.space:
            self.learner = self.names = self.predicted = None
        self.matrix, self.words, self.space = other.matrix, other.words, other.space
        self.table, self.versions, self.content, self.texts = other.table, other.versions, other.content, other.texts
        self.task_ids, self.rows, self.same, self.has_twins = other.task_ids, other.rows, other.same, other.has_twins
        self.lot, self.priority = other.lot, other.priority

    def _follow(self, project: Project, table: VectorTable) -> None:
        """Follow what one question reads."""
        left = None
        if table.name != self.table:
            # The vectors of two encoders have nothing to do with each other, but the lexical ones are of the texts.
            left = self.words.leave(self.matrix)
            self.matrix = VectorMatrix(lexical.DIMENSION)
            self.versions, self.table = (-1, -1), table.name
            self._begin_anew()
        tasks_then, vectors_then = self.versions
        tasks_now, (vectors_now, arrived) = project.tasks_version, project.arrived_since(vectors_then)
        terms = TermTable(table.uri)
        again = self.words.are_to_look_again(terms)
        if (tasks_now, vectors_now) == self.versions and not again:
            return
        if self.texts is None or tasks_now != tasks_then:
            before, self.texts = self.texts, project.task_texts()
            if before is not None and _was_edited(before, self.texts):
                # What was measured of the old texts holds no longer.
                self._begin_anew()
        tasks, texts = self.texts
        known = vectors_then >= 0 and arrived is not None
        self.matrix.load(table, text_ids(arrived or []) if known else texts)
        rows = self.matrix.rows(texts)
        # Should it fail half-way, what was learnt in other directions says nothing.
        learner, self.learner = self.learner, None
        if left is not None:
            self.words.take(left, self.matrix)
        self.words.follow(self.matrix, texts, rows, terms, again=again)
        self.learner = learner
        self.task_ids, self.rows = tasks[rows >= 0], rows[rows >= 0]
        self.content = ""
        self.versions = (tasks_now, vectors_now)

    def _begin_anew(self) -> None:
        self.learner = self.names = None
        self.space += 1

    def _see_twins(self, project: int, reading: "Sequence[Memory]") -> None:
        """Find the tasks that have the same texts, those of other memories too, and draw the lot among them."""
        state = [(one.table, *one.versions) for one in (self, *reading)]
        if state == self.twins_of:
            return
        self.same = None
        if reading:
            columns = [self.rows]
            for other in reading:
                at = other.places(self.task_ids)
                columns.append(np.where(at < 0, -1, other.rows[at]))
            self.same = np.unique(np.column_stack(columns), axis=0, return_inverse=True)[1].ravel()
        first = self._first(np.ones(len(self.rows), bool))
        self.has_twins = not np.array_equal(first, np.arange(len(first)))
        self.priority = audit_priority(self.task_ids[first], project)
        self.lot = np.argsort(self.priority, kind="stable")
        self.twins_of = state


class Memories:
    """The memories of all projects that were worked on lately; several threads may ask for them."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._by_project: OrderedDict[int, Memory] = OrderedDict()
        self._turn = threading.Lock()

    def of(self, project: int) -> Memory:
        """The memory of a project, which is the one in use from now on."""
        with self._turn:
            memory = self._by_project.setdefault(project, Memory())
            self._by_project.move_to_end(project)
            return memory

    def published(self, project: int) -> Published:
        """What is known of the order in Label Studio, for those who need nothing else of a project."""
        with self._turn:
            return self._by_project.setdefault(project, Memory()).published

    def trim(self, projects: Collection[int]) -> None:
        """Let go of projects that are no more, and of those that were not used for longest while there is too much."""
        with self._turn:
            for gone in self._by_project.keys() - set(projects):
                del self._by_project[gone]
            sizes = {project: memory.nbytes for project, memory in self._by_project.items()}
            total = sum(sizes.values())
            for project, size in list(sizes.items())[:-1]:
                if total <= self._most_bytes:
                    break
                # Which order was published last is dear to find out, and small.
                self._by_project[project] = Memory(published=self._by_project[project].published)
                total -= size

    def __len__(self) -> int:
        return sum(bool(memory.nbytes) for memory in self._by_project.values())


def _was_edited(
    before: tuple[NDArray[np.int64], NDArray[np.bytes_]], now: tuple[NDArray[np.int64], NDArray[np.bytes_]]
) -> bool:
    """Whether a task that there was before has another text now."""
    count = len(before[0])
    if len(now[0]) >= count and np.array_equal(now[0][:count], before[0]):
        return not np.array_equal(now[1][:count], before[1])
    _, then_at, now_at = np.intersect1d(before[0], now[0], assume_unique=True, return_indices=True)
    return not np.array_equal(before[1][then_at], now[1][now_at])
