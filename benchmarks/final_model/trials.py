"""What is measured: texts of a set, with labels that one seed of auto chose of it."""

import json
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
from prepal_workers.simulate.dataset import read
from prepal_workers.simulate.experiment import WORDS, Setting, Vectors, run

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


def read_trial(folder: Path, n: int, seed: int, texts: int, pool: int) -> tuple[Trial, Record]:
    """Return a trial, and how good our own logistic regression was on its labels."""
    dataset = read(folder / "train.jsonl", folder / "test.jsonl")
    first, tested = (np.arange(len(part.texts)) for part in (dataset.train, dataset.test))
    dataset = replace(
        dataset,
        train=dataset.train if folder.name == WHOLE else dataset.train.at(first[:pool]),
        test=dataset.test.at(tested[:texts]),
    )
    names = [name_text(choice) for choice in dataset.choices]
    parts = dataset.train.texts, dataset.test.texts, names
    vectors = {
        ENCODER: Vectors(*(embed(part, ENCODER, CACHE) for part in parts)),
        WORDS: Vectors(*lexical_vectors(*parts)),
    }
    if (folder.name, seed) not in LABELS.read():
        # The first labels do not depend on how many there will be.
        rows = list(run(Setting("auto", ENCODER, batch_size=BATCH, budget=MANY, seed=seed), dataset, vectors))
        own = {str(r["labels"]): {"accuracy": r["accuracy"], "macro_f1": r["macro_f1"]} for r in rows}
        picked = [place for row in rows for place in row["picked"]]
        LABELS.append(
            {"set": folder.name, "seed": seed, "picked": picked, "own": {str(c): own[str(c)] for c in _COUNTS}}
        )
    chosen = LABELS.read()[folder.name, seed]
    picked = np.array(chosen["picked"][:n], np.int64)
    train_texts, test_texts = _texts(folder / "train.jsonl"), _texts(folder / "test.jsonl")
    trial = Trial(
        folder.name,
        n,
        seed,
        dataset.choices,
        [train_texts[place] for place in picked],
        dataset.train.labels[picked],
        test_texts[:texts],
        dataset.test.labels,
        vectors,
        picked,
    )
    return trial, chosen["own"][str(n)]


def _texts(path: Path) -> list[Text]:
    """Texts of a set; pairs are pairs."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    return [(row["text_a"], row["text_b"]) if "text_a" in row else row["text"].strip() for row in rows]
