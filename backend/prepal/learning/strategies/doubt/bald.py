"""BALD: texts about which classifiers that fit the labels equally well disagree."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.pool import Pool, best, draw
from prepal.learning.strategies.doubt.entropy import entropy
from prepal.learning.strategies.doubt.posterior import sample_predictions


@dataclass(frozen=True)
class Bald:
    """Houlsby et al., Bayesian Active Learning for Classification and Preference Learning (2011).

    The posterior of the classifier is a Laplace approximation: see `posterior`.
    """

    name: str = "bald"
    multilabel: bool = True

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        members = sample_predictions(pool, rng)
        return draw(len(pool), n, rng) if not members else best(information(members, pool.multilabel), n)


def information(members: list[NDArray[np.float32]], multilabel: bool) -> NDArray[np.float32]:
    """Return the mutual information `(n,)`, in nats, of label and classifier, from each member's `(n, k)`."""
    mean = np.zeros_like(members[0])
    within = np.zeros(len(mean), np.float32)
    for member in members:
        mean += member / len(members)
        within += entropy(member, multilabel) / np.float32(len(members))
    return entropy(mean, multilabel) - within


STRATEGY = Bald()
