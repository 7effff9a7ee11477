"""What a project's focus puts first in a round; the strategy goes on behind it, and audit tasks keep their places."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.errors import shortened
from prepal.learner.fitting import Round
from prepal.learning import lexical
from prepal.learning.classifiers import decisions
from prepal.learning.classifiers.label_names import name_text
from prepal.learning.focus import like, surest
from prepal.learning.pool import best
from prepal.project import Focus
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import VectorTable, text_id

_Places = NDArray[np.int64]
_NONE: _Places = np.empty(0, np.int64)


def first(
    this: Round, table: VectorTable, eligible: _Places, n: int, seen: NDArray[np.float32] | None
) -> tuple[NDArray[np.int64], str]:
    """Return which places in `task_ids` the focus puts first, up to n of them, and what it is called in the record.

    What keeps it from putting so many there is noted. A focus that has had its labels is ended.

    Args:
        this: the round.
        table: the vectors that it rests on.
        eligible: `(e,)`, the places that may come first.
        n: how many are wanted.
        seen: `(e, k)`, how likely each choice is for these; None while there is no classifier.
    """
    focus = this.project.focus
    slot, left = f"focus: {focus.what}", focus.left(this.labels)
    if focus.is_on and left == 0:
        this.project.end_focus(focus)
    elif focus.is_on:
        wanted = min(n, len(eligible)) if left is None else min(n, left, len(eligible))
        return eligible[_Head(this, table, focus, eligible, wanted, seen).places()], slot
    return _NONE, slot


@dataclass(frozen=True)
class _Head:
    """The first places of one round; see `first`. Those that its methods return are places in `eligible`."""

    this: Round
    table: VectorTable
    focus: Focus
    eligible: _Places
    n: int
    seen: NDArray[np.float32] | None

    def places(self) -> _Places:
        match self.focus.kind:
            case "choice":
                return self._of_choice()
            case "task":
                return self._like_task()
            case "words":
                query, is_whole = self._vector_of(self.focus.value)
                return self._like(query, self._belief(query) if is_whole else None)
            case "filter":
                return self._matching()
            case _:
                return self._doubted()

    def _of_choice(self) -> _Places:
        """Texts that are likely of a choice; as long as nobody can tell, those that are like its name."""
        this, choice = self.this, self.this.config.place(self.focus.value)
        if choice is None:
            name = shortened(self.focus.value)
            this.notes.append(f"There is no choice {name!r} any more: the ordinary order is served.")
            return _NONE
        is_known = this.labelled.rows[:, choice].any() or this.learner.name_weight is not None
        if self.seen is not None and is_known:
            return surest(self.seen[:, choice], this.labels, self.n)
        query, _ = self._vector_of(name_text(this.config.words[choice]))
        return self._like(query, None)

    def _like_task(self) -> _Places:
        (place,) = self.this.memory.places([int(self.focus.value)])
        if place < 0:
            self.this.notes.append(f"Task {self.focus.value} has no vector: what is like it cannot be told.")
            return _NONE
        query = self.this.memory.vectors_at(np.array([place]))[:].astype(np.float32)[0]
        given = self.this.labelled.given[place]
        return self._like(
            query, self._belief(query) if given < 0 else self.this.labelled.rows[given].astype(np.float32)
        )

    def _like(self, query: NDArray[np.float32], belief: NDArray[np.floating] | None) -> _Places:
        return best(like(self.this.memory.vectors_at(self.eligible), query, self.seen, belief), self.n)

    def _belief(self, query: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """How likely `(k,)` each choice is for a text; None while there is no classifier."""
        said = self.this.learner.predict_proba(query[None])
        return None if said is None else said[0]

    def _vector_of(self, words: str) -> tuple[NDArray[np.float32], bool]:
        """The vector of words that are no task, and whether it is whole.

        Until the encoder has embedded them, before all that waits, it says in what words they are, and not what.
        """
        this, key, encoder = self.this, text_id(words), self.table.encoder
        wanted = (key, encoder, this.memory.words.state)
        if this.memory.asked is not None and this.memory.asked[0] == wanted:
            return this.memory.asked[1], True
        lexical_half = this.memory.words.of_texts([words])[0]
        found, vectors = self.table.find([key])
        if found.all():
            query = np.concatenate([vectors[0].astype(np.float32), lexical_half])
            this.memory.asked = (wanted, query)
            return query, True
        waiting = WaitingTexts(this.project.connection, encoder)
        if waiting.failures([key]):
            this.notes.append(f"The encoder refused {shortened(words)!r}: texts with such words come first.")
        else:
            waiting.add({key: words}, this.project.id, urgent=True)
            this.notes.append(f"Until {shortened(words)!r} is embedded, texts with such words come first.")
        meaning = np.zeros(this.memory.vectors.shape[1] - lexical.DIMENSION, np.float32)
        return np.concatenate([meaning, lexical_half]), False

    def _matching(self) -> _Places:
        """What the strategy chooses among the tasks that have the field's value."""
        this, project = self.this, self.this.project
        at = np.flatnonzero(this.memory.among(project.matching.all()[0].tolist())[self.eligible])
        if len(at) < self.n:
            is_looking = project.matched_until(self.focus) < project.last_task
            so_far = " so far; all tasks are being looked at" if is_looking else ""
            this.notes.append(
                f"{len(at)} tasks without a label have {shortened(self.focus.value)}{so_far}: "
                "the ordinary order follows."
            )
        if not len(at):
            return _NONE
        seen = None if self.seen is None else self.seen[at]
        rng = np.random.default_rng(project.id)
        return at[this.learner.select(this.memory.vectors_at(self.eligible[at]), min(self.n, len(at)), rng, seen)]

    def _doubted(self) -> _Places:
        if self.seen is None:
            self.this.notes.append("Nothing can be doubted before there is a classifier: the ordinary order is served.")
            return _NONE
        each = decisions.how_many(self.this.labelled.targets(self.this.config))
        return best(-np.asarray(decisions.confidences(self.seen, each), np.float32), self.n)
