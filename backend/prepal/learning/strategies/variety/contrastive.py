"""Contrastive: texts predicted otherwise than the labelled texts that are most like them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.learning.numerics.float16 import as_float32
from prepal.learning.numerics.threads import by_chunks
from prepal.learning.pool import Pool, best, draw, refuse_multilabel

_NEIGHBOURS = 10  # the paper's
_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Contrastive:
    """CAL: Margatina et al., Active Learning by Acquiring Contrastive Examples (2021).

    The score is the mean divergence of the text's prediction from those of its nearest labelled texts.
    """

    name: str = "contrastive"
    multilabel: bool = False

    def select(self, pool: Pool, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See `Strategy`."""
        refuse_multilabel(self, pool)
        labelled = pool.labelled_vectors
        if pool.probabilities is None or pool.classifier is None or not len(labelled):
            return draw(len(pool), n, rng)
        neighbours = min(_NEIGHBOURS, len(labelled))
        theirs = np.maximum(pool.classifier.predict_proba(labelled), _TINY)
        squares = np.einsum("ij,ij->i", labelled, labelled)
        negative_entropy = np.einsum("ij,ij->i", theirs, np.log(theirs))
        logs = np.log(np.maximum(pool.probabilities, _TINY))
        scores = np.empty(len(pool), np.float32)

        def score(rows: slice) -> None:
            distances = squares - 2 * (as_float32(pool.vectors[rows]) @ labelled.T)
            nearest = np.argpartition(distances, neighbours - 1, axis=1)[:, :neighbours]
            # KL(theirs ‖ own) = Σ theirs log theirs - Σ theirs log own
            divergence = negative_entropy[nearest].mean(axis=1)
            scores[rows] = divergence - np.einsum("ik,ik->i", theirs[nearest].mean(axis=1), logs[rows])

        by_chunks(len(pool), score)
        return best(scores, n)


STRATEGY = Contrastive()
