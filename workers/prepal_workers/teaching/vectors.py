"""The vectors that a teacher sees: those of the project's encoder, or of the model itself, with words beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.labels.label_config import FIELD_MARK
from prepal.learner.memory.words import lexical_vectors
from prepal.learning.classifiers.label_names import name_text
from prepal_workers.encoder.cached import embed
from prepal_workers.labelled.fields import Text
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.model.word_counts import WORD_COUNTS


@dataclass(frozen=True)
class Source:
    """Where vectors come from.

    Attributes:
        encoder: the project's, by name.
        cache: the vector cache.
        model: what is trained; it makes the vectors where that encoder cannot be loaded.
    """

    encoder: str
    cache: str
    model: str


@dataclass(frozen=True)
class Seen:
    """What a teacher sees.

    Attributes:
        labelled: `(n, d)` float32, of the texts with a label.
        others: `(m, d)` float32, of those without.
        names: `(k, d)` float32, of the labels' names.
        encoder: what made those of meaning, by name.
    """

    labelled: NDArray[np.float32]
    others: NDArray[np.float32]
    names: NDArray[np.float32]
    encoder: str


def see(
    texts: Sequence[Text],
    others: Sequence[Text],
    label_names: Sequence[str],
    source: Source,
    show: Callable[[int, int], None],
) -> Seen:
    """The vectors of texts with and without labels and of the labels' names; `show` is told how many of how many are.

    Raises:
        PrepalError: neither the encoder nor the model can be loaded.
    """
    # As the live loop has them: then their vectors are in the cache already.
    every = [text if isinstance(text, str) else FIELD_MARK.join(text) for text in (*texts, *others)]
    every += map(name_text, label_names)
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        show(done, len(every))

    encoder = source.encoder
    try:
        vectors = embed(every, encoder, source.cache, advance)
    except PrepalError:
        encoder = source.model
        if encoder == WORD_COUNTS:
            # What stands beside the vectors has to do.
            vectors = np.empty((len(every), 0), np.float32)
        else:
            reader = SequenceModel(source.model, len(label_names))
            reader.on_read = show
            vectors = reader.vectors([text.replace(FIELD_MARK, "\n") for text in every])
    ends = [len(texts), len(texts) + len(others)]
    words = lexical_vectors(every[: ends[1]], every[ends[1] :])
    labelled, without, names = np.split(np.hstack([vectors, np.concatenate(words)]), ends)
    return Seen(labelled, without, names, encoder)
