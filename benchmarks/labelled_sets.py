"""The labelled sets that are measured on: read from a folder, embedded by the default encoder."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from benchmarks.texts import Texts
from prepal.learner.memory.words import lexical_vectors
from prepal.learning.classifiers.label_names import name_text
from prepal.settings import Settings
from prepal_workers.encoder.cached import embed
from prepal_workers.simulate.dataset import Dataset, read
from prepal_workers.simulate.successors import Features, words

ENCODER = str(Settings.model_fields["prepal_encoder"].default)
CACHE = ".prepal/bench-vectors"  # where every measurement keeps its vectors unless it is told otherwise
SETS = ("ag_news", "trec6", "sst2_sentences", "sms_spam", "tweeteval_emotion")


@dataclass(frozen=True)
class TextSet:
    """A labelled set: texts to choose from, and others to measure the accuracy on.

    Attributes:
        train: the texts to choose from.
        train_labels: `(n,)` int64.
        test: `(t, d)` float32.
        test_labels: `(t,)` int64.
        words: counts of both parts' words, for who learns from the labels alone.
        hybrid: the texts to choose from with lexical vectors beside those of the encoder, as in the live loop.
        hybrid_test: `(t, e)` float32.
        texts: n texts.
    """

    train: Texts
    train_labels: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    words: Features
    hybrid: Texts
    hybrid_test: NDArray[np.float32]
    texts: Sequence[str]


def read_set(folder: Path, cache: str, advance: Callable[[int], None] = lambda _: None) -> TextSet:
    """Read `train.jsonl` and `test.jsonl` of one set.

    Args:
        folder: of the set.
        cache: the vector cache; what it lacks is embedded by the default encoder.
        advance: told how many texts more have a vector.
    """
    dataset = read(folder / "train.jsonl", folder / "test.jsonl")
    parts = _parts(dataset)
    train, test, names = (embed(part, ENCODER, cache, advance) for part in parts)
    whole, whole_test, whole_names = (
        np.hstack(both) for both in zip((train, test, names), lexical_vectors(*parts), strict=True)
    )
    return TextSet(
        train=Texts(train, len(names), names),
        train_labels=dataset.train.labels,
        test=test,
        test_labels=dataset.test.labels,
        words=words(dataset.train.texts, dataset.test.texts),
        hybrid=Texts(whole, len(names), whole_names),
        hybrid_test=whole_test,
        texts=dataset.train.texts,
    )


def embed_sets(data: Path, cache: str, names: Iterable[str], progress: Progress) -> None:
    """Embed what the cache lacks of the sets of these names, each with a bar of its own; `read_set` is quick then."""
    for name in names:
        parts = _parts(read(data / name / "train.jsonl", data / name / "test.jsonl"))
        bar = progress.add_task(f"vectors of {name}", total=sum(map(len, parts)))
        read_set(data / name, cache, lambda done, bar=bar: progress.advance(bar, done))


def _parts(dataset: Dataset) -> tuple[list[str], list[str], list[str]]:
    names = [name_text(choice) for choice in dataset.choices]
    return list(dataset.train.texts), list(dataset.test.texts), names
