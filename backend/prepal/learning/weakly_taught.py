"""Active learning that begins from imported predictions, too."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.labels import Labels
from prepal.learning.classifiers.prior import Prior
from prepal.learning.classifiers.weak_labels import Teaching, WeakLabels
from prepal.learning.numerics.rows import AnyVectors


class WeaklyTaught(ActiveLearner):
    """An `ActiveLearner` with one choice a text that believes weak labels, as far as labels prove them right.

    Args:
        n_classes: the number of choices, k > 1.
        strategy: a name in `strategies`.
        weak: the weak labels.
        name_vectors: `(k, d)` float32, the vectors of the choices' names; None to do without them.
    """

    def __init__(
        self, n_classes: int, strategy: str, weak: WeakLabels, name_vectors: NDArray[np.float32] | None = None
    ) -> None:
        super().__init__(n_classes, strategy, name_vectors=name_vectors)
        self.weak = weak
        self._taught: tuple[NDArray[np.float32], NDArray[np.float64]] | None = None  # in which space, and what

    @property
    def weights(self) -> tuple[float, float]:
        """How much weak labels and names count now, as multiples of what each says; `name_weight` is of both."""
        mean, weight = None if self._prior is None else self._prior.mean, self.name_weight
        if not isinstance(mean, Teaching) or weight is None:
            return 1.0, 1.0
        weak, names = mean.counts
        return weight * weak, weight * names

    def _understand_names(self, vectors: NDArray[np.float32], labels: Labels, pool: AnyVectors) -> None:
        super()._understand_names(vectors, labels, pool)
        if self._prior is None or isinstance(self._prior.mean, Teaching):
            return
        if self._taught is None or self._taught[0] is not self._prior.shape:
            self._taught = (self._prior.shape, self.weak.taught(self._prior, self.n_classes))
        self._prior = with_teaching(self._prior, self._taught[1])


def with_teaching(prior: Prior, taught: NDArray[np.float64]) -> Prior:
    """Return a prior that believes weak labels, too, which taught weights `(d + 1, k)`."""
    return replace(prior, mean=Teaching(taught, prior.mean))
