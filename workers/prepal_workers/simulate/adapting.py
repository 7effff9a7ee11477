"""The encoder follows the labels in an experiment, by the rule and the code of the adapt worker."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prepal.learning.adapting import is_due
from prepal.learning.classifiers.label_names import name_text
from prepal.learning.quality.folds import equal
from prepal_workers.adapt.adaptation import MOST_OTHERS, Known, NotAdaptableError, adapt
from prepal_workers.labelled.wording import words_of
from prepal_workers.simulate.dataset import Dataset
from prepal_workers.simulate.vectors import Vectors


class Adapting:
    """The adapted encoders of one experiment.

    Args:
        dataset: its texts.
        encoder: the base, by name.
        vectors: the base's, without words.
        seed: decides everything that is random.

    Attributes:
        measuring_s: seconds that the last call took to embed what only measures.
        labels: how many labels the encoder in use learnt from; 0 for the base.
        temperature: what the logits of the classifier on its vectors are to be divided by.
    """

    def __init__(self, dataset: Dataset, encoder: str, vectors: Vectors, seed: int) -> None:
        self._dataset = dataset
        self._encoder = encoder
        self._seed = seed
        names = [name_text(choice) for choice in dataset.choices]
        self._known = dict(zip(dataset.train.texts, vectors.train, strict=True))
        self._known |= dict(zip(names, vectors.names, strict=True))
        self._tried = 0
        self.measuring_s = 0.0
        self.labels = 0
        self.temperature = 1.0

    def after(self, labelled: NDArray[np.int64], free: NDArray[np.int64]) -> Vectors | None:
        """Return the vectors of an encoder that is better for these labels, if it is time to look for one.

        Args:
            labelled: places of the labelled texts, in their order.
            free: those of the others.
        """
        if not is_due(len(labelled), self._tried):
            return None
        self._tried = len(labelled)
        texts, labels = self._dataset.train.texts, self._dataset.train.labels[labelled]
        some = np.sort(np.random.default_rng(self._seed).permutation(free)[:MOST_OTHERS])
        learnt = [texts[place] for place in labelled]
        known = Known(
            learnt,
            labels,
            self._dataset.choices,
            np.zeros(len(labelled), bool),
            equal([words_of(text) for text in learnt]),
            [texts[place] for place in some],
        )
        with tempfile.TemporaryDirectory(prefix="prepal-") as temporary:
            try:
                outcome = adapt(known, self._encoder, self._see, Path(temporary), seed=self._seed)
            except NotAdaptableError:
                return None
            if outcome.encoder is None:
                return None
            train = outcome.encoder.encode(texts).astype(np.float32)
            began = time.perf_counter()
            test = outcome.encoder.encode(self._dataset.test.texts).astype(np.float32)
            self.measuring_s = time.perf_counter() - began
        self.labels, self.temperature = len(labelled), outcome.temperature
        # What names say it has learnt, and the classifier does without them.
        return Vectors(train, test, np.zeros((len(self._dataset.choices), train.shape[1]), np.float32))

    def _see(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([self._known[text] for text in texts], np.float32)
