"""BatchBALD: texts whose labels together say the most about the classifier."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.pool import Pool, best, draw, refuse_multilabel
from prepal.learning.strategies.doubt.bald import information
from prepal.learning.strategies.doubt.posterior import sample_predictions

# Joint labels are counted exactly up to so many combinations; of more, so many are drawn.
_COMBINATIONS = 1024
# Only texts that tell much by themselves can tell much together.
_CANDIDATES = 1000
# With ten classifiers ten texts tell them apart; what follows is in the order of BALD.
_JOINT_PICKS = 16
Floats = NDArray[np.float64]
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class BatchBald:
    """Kirsch, van Amersfoort & Gal, BatchBALD: Efficient and Diverse Batch Acquisition (2019).

    Greedy, over the 1,000 texts of highest BALD score; the first 16 picks jointly, the others by BALD.
    """

    name: str = "batch_bald"
    multilabel: bool = False

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        refuse_multilabel(self, pool)
        members = sample_predictions(pool, rng)
        if not members:
            return draw(len(pool), n, rng)
        n = min(n, len(pool))
        candidates = best(information(members, multilabel=False), max(n, _CANDIDATES))
        predictions = np.stack([member[candidates] for member in members]).astype(np.float64)
        picked = joint_picks(predictions, min(n, _JOINT_PICKS), rng)
        rest = np.setdiff1d(np.arange(len(candidates)), picked)
        return np.asarray(candidates[np.concatenate([picked, rest])[:n]], np.int64)


def joint_picks(predictions: Floats, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return n places `(n,)` of highest joint mutual information, greedily, from `(members, texts, k)`."""
    members, texts, k = predictions.shape
    conditional = -(predictions * np.log(np.maximum(predictions, _TINY))).sum(axis=2).mean(axis=0)
    joint: Floats = np.ones((members, 1))  # probability of each combination of the labels picked so far, by member
    importance: Floats = np.ones(1)  # how many combinations each stands for
    picked: list[int] = []
    for _ in range(min(n, texts)):
        # (combinations, texts, k): probability of a combination and a label of one more text
        both = np.einsum("mc,mtk->ctk", joint, predictions) / members
        entropy = -(importance[:, None, None] * both * np.log(np.maximum(both, _TINY))).sum(axis=(0, 2))
        gain = entropy - conditional
        gain[picked] = -np.inf
        choice = int(gain.argmax())
        picked.append(choice)
        joint = (joint[:, :, None] * predictions[:, choice][:, None, :]).reshape(members, -1)
        importance = np.repeat(importance, k)
        if joint.shape[1] > _COMBINATIONS:
            mass = importance * joint.mean(axis=0)
            mass /= mass.sum()
            drawn = rng.choice(len(mass), _COMBINATIONS, p=mass)
            joint, importance = joint[:, drawn], importance[drawn] / (mass[drawn] * _COMBINATIONS)
    return np.array(picked, np.int64)


STRATEGY = BatchBald()
