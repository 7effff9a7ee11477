"""Every strategy of ours, the default with names of the choices, and with misleading ones too."""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from benchmarks.choosing.contestants import posterior
from benchmarks.choosing.contestants.contestant import OURS, Contestant, Places
from benchmarks.texts import Texts
from prepal.learning import strategies
from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.labels import NothingToLearn

WITH_NAMES = "auto, names"
MISLED = "auto, misleading names"


def contestants() -> list[Contestant]:
    """Return the default with label names, with every name at another class, and every strategy without."""
    return [Contestant(OURS, name) for name in (WITH_NAMES, MISLED, *strategies.names(), *posterior.STRATEGIES)]


def enter(contestant: Contestant, texts: Texts, seed: int) -> "Own":
    """Return what goes through one experiment; it moves the texts' vectors about."""
    names = names_for(contestant, texts, seed)
    learner = ActiveLearner(texts.n_classes, contestant.strategy.partition(",")[0], name_vectors=names)
    learner.strategy = posterior.STRATEGIES.get(contestant.strategy, learner.strategy)
    return Own(texts, learner, seed)


def names_for(contestant: Contestant, texts: Texts, seed: int) -> NDArray[np.float32] | None:
    """Return the vectors `(k, d)` of the classes' names that a contestant is told; None if it is told none."""
    if contestant == Contestant(OURS, WITH_NAMES):
        return texts.name_vectors
    if contestant == Contestant(OURS, MISLED) and texts.name_vectors is not None:
        # One cycle through all classes, in random order, leaves no class its own name.
        order = np.random.default_rng(seed).permutation(texts.n_classes)
        misleading = np.empty_like(texts.name_vectors)
        misleading[order] = texts.name_vectors[np.roll(order, 1)]
        return misleading
    return None


class Own:
    """Ours. The pool is kept compact: the last text takes the place of one that got a label."""

    def __init__(self, texts: Texts, learner: ActiveLearner, seed: int) -> None:
        self._vectors = texts.vectors
        self.learner = learner
        self._rng = np.random.default_rng(seed)
        self._texts = np.arange(len(texts.vectors))  # which text each row of the pool is
        self._rows = self._texts.copy()  # and the row of each text
        self._count = len(self._texts)
        self._labelled: list[NDArray[np.float32]] = []

    def choose(self, labelled: Places, labels: NDArray[np.int64], n: int) -> Places:
        """See `Chooser`."""
        for place in labelled[len(self._labelled) :].tolist():
            self._take_out(place)
        known = np.array(self._labelled, np.float32).reshape(-1, self._vectors.shape[1])
        pool = self._vectors[: self._count]
        with suppress(NothingToLearn):
            self.learner.fit(known, labels, pool)
        chosen = self._texts[self.learner.select(pool, n, self._rng)]
        return chosen

    def _take_out(self, place: int) -> None:
        row, last = int(self._rows[place]), self._count - 1
        self._labelled.append(self._vectors[row].astype(np.float32))
        self._vectors[row], self._texts[row] = self._vectors[last], self._texts[last]
        self._rows[self._texts[row]] = row
        self._count = last
