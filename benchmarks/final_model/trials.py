"""What is measured: texts of a set, with labels that one seed of auto chose of it."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.labelled_sets import CACHE, ENCODER
from benchmarks.storage import FOLDER, Lines, Record
from prepal.learner.memory.words import lexical_vectors
from prepal.learning.classifiers.decisions import HowMany, how_many
from prepal.learning.classifiers.label_names import name_text
from prepal.learning.classifiers.labels import Labels
from prepal_workers.encoder.cached import embed
from prepal_workers.labelled.fields import Text
from prepal_workers.simulate.dataset import Dataset, read
from prepal_workers.simulate.experiment import WORDS, Setting, run
from prepal_workers.simulate.vectors import Vectors

BATCH, MANY, FEW = 10, 300, 20
_COUNTS = (FEW, MANY)
# On which sets, with how many labels.
MAIN = ("ag_news", "trec6", "sst2_sentences")
OTHERS = ("sms_spam", "qnli_dev", "goemotions")
TRIALS = [(name, n) for n in (MANY, FEW) for name in MAIN] + [(name, MANY) for name in OTHERS]
# Its texts are short, so that its whole training set is embedded in a minute.
WHOLE = "trec6"
LABELS = Lines(FOLDER / "finetune-labels.jsonl", ("set", "seed"))


@dataclass(frozen=True)
class Trial:
    """One set, with the labels that one seed chose of it."""

    name: str
    labels: int
    seed: int
    names: Sequence[str]
    learnt: list[Text]
    truth: Labels
    tested: list[Text]
    test_truth: Labels
    vectors: Vectors
    picked: NDArray[np.int64]

    @property
    def each(self) -> HowMany:
        """How many labels a text has."""
        return how_many(self.truth)


@dataclass(frozen=True)
class Pool:
    """The texts of one set that labels are chosen from, and those that are measured on."""

    name: str
    dataset: Dataset
    vectors: dict[str, Vectors]
    texts: list[Text]
    tested: list[Text]


def read_pool(folder: Path, texts: int, pool: int) -> Pool:
    """Return the first texts of a set, as many as are wanted, with their vectors."""
    dataset = read(folder / "train.jsonl", folder / "test.jsonl")
    first, tested = (np.arange(len(part.texts)) for part in (dataset.train, dataset.test))
    dataset = replace(dataset, train=dataset.train.at(first[:pool]), test=dataset.test.at(tested[:texts]))
    parts = dataset.train.texts, dataset.test.texts, [name_text(choice) for choice in dataset.choices]
    vectors = {
        ENCODER: Vectors(*(embed(part, ENCODER, CACHE) for part in parts)),
        WORDS: Vectors(*lexical_vectors(*parts)),
    }
    learnt, asked = _texts(folder / "train.jsonl"), _texts(folder / "test.jsonl")
    return Pool(folder.name, dataset, vectors, learnt[:pool], asked[:texts])


def trial_of(pool: Pool, picked: Sequence[int], seed: int) -> Trial:
    """Return what is measured with labels for the texts at some places."""
    places = np.array(picked, np.int64)
    return Trial(
        pool.name,
        len(places),
        seed,
        pool.dataset.choices,
        [pool.texts[place] for place in places],
        pool.dataset.train.labels[places],
        pool.tested,
        pool.dataset.test.labels,
        pool.vectors[ENCODER],
        places,
    )


def read_trial(folder: Path, n: int, seed: int, texts: int, pool: int) -> tuple[Trial, Record]:
    """Return a trial, and how good our own logistic regression was on its labels."""
    whole = read_pool(folder, texts, sys.maxsize if folder.name == WHOLE else pool)
    if (folder.name, seed) not in LABELS.read():
        # The first labels do not depend on how many there will be.
        setting = Setting("auto", ENCODER, batch_size=BATCH, budget=MANY, seed=seed)
        rows = list(run(setting, whole.dataset, whole.vectors))
        own = {str(r["labels"]): {"accuracy": r["accuracy"], "macro_f1": r["macro_f1"]} for r in rows}
        picked = [place for row in rows for place in row["picked"]]
        LABELS.append(
            {"set": folder.name, "seed": seed, "picked": picked, "own": {str(c): own[str(c)] for c in _COUNTS}}
        )
    chosen = LABELS.read()[folder.name, seed]
    return trial_of(whole, chosen["picked"][:n], seed), chosen["own"][str(n)]


def _texts(path: Path) -> list[Text]:
    """Texts of a set; pairs are pairs."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    return [(row["text_a"], row["text_b"]) if "text_a" in row else row["text"].strip() for row in rows]
