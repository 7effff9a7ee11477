"""An encoder that learns from a project's labels, and is kept where the live classifier is better on its vectors.

Fine-tuned from the base each time, as the final model is, and used as a frozen encoder again: Vysogorets & Gopal,
Towards Efficient Active Learning in NLP via Pretrained Representations (2024), name this as what frozen vectors lack.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from prepal.learner.memory.words import lexical_vectors
from prepal.learning.active_learner import ActiveLearner
from prepal.learning.adapting import is_better
from prepal.learning.classifiers.decisions import how_many, marks
from prepal.learning.classifiers.label_names import name_text
from prepal.learning.classifiers.labels import Labels, NothingToLearn
from prepal.learning.quality.folds import deal
from prepal.vectors import encoders
from prepal_workers.encoder.encoder import Encoder, parts_of
from prepal_workers.encoder.saving import save_with
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.training.epochs import Watch
from prepal_workers.training.measures import fit_temperature, log_loss, logits_of, right
from prepal_workers.training.recipe import Wishes
from prepal_workers.training.training import train

MOST_OTHERS = 500
"""So many texts without a label say what to expect of texts."""
# Half of the labels teach an encoder that the other half judges, in turn.
_PARTS = 2

See = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Known:
    """What is known of a project.

    Attributes:
        texts: of the n labels, in the order in which they were given.
        labels: `(n,)` int64, or `(n, k)` bool where a text may have several.
        choices: the k choices' names, as words.
        audits: `(n,)` bool, which were drawn at random: no encoder learns from them, so that they can judge it.
        groups: `(n,)`, the same number for texts that say the same.
        others: some texts without a label.
    """

    texts: Sequence[str]
    labels: Labels
    choices: Sequence[str]
    audits: NDArray[np.bool_]
    groups: NDArray[np.int64]
    others: Sequence[str]

    @property
    def may_teach(self) -> NDArray[np.int64]:
        """Places of the labels that an encoder may learn from: no audit task's, and of no text that says the same."""
        return np.flatnonzero(~np.isin(self.groups, self.groups[self.audits]))


@dataclass(frozen=True)
class Outcome:
    """What came of an adaptation.

    Attributes:
        encoder: the one in the folder, where it is better than the base.
        learnt: places of the labels that it learnt from.
        judged: by how many labels it was judged.
        accuracy: the live classifier's on these, by its vectors: "base" and "adapted".
        temperature: what the logits of the live classifier on the adapted encoder's vectors are to be divided by.
    """

    encoder: Encoder | None
    learnt: NDArray[np.int64]
    judged: int
    accuracy: dict[str, float]
    temperature: float


class NotAdaptableError(Exception):
    """There is nothing that an encoder could learn from; says why in a sentence."""


def adapt(
    known: Known,
    base: str,
    see: See,
    folder: Path,
    *,
    seed: int = 0,
    wishes: Wishes | None = None,
    watch: Watch | None = None,
) -> Outcome:
    """Train an encoder on the labels, judge it by labels that it did not see, and write it if it is better.

    Half of the labels teach an encoder, and with its vectors a classifier, whom the other half judges; then the other
    way round. The classifier on the base's vectors, which learnt from the same half, is what it is held against.

    Args:
        known: what is known of the project.
        base: the encoder, by name or identity.
        see: gives the base's vectors of texts.
        folder: where the encoder is written, which learnt from all labels that may teach; nothing, if it is no better.
        seed: decides everything that is drawn.
        wishes: hyperparameters that are given.
        watch: told of progress.

    Raises:
        NotAdaptableError: the labels, or half of them, do not tell any two texts apart.
        PrepalError: the base cannot be loaded as a model that can be trained.
    """
    teaching = known.may_teach
    if len(np.unique(_marks(known)[teaching], axis=0)) < 2:
        raise NotAdaptableError("all labels but those of audit tasks are the same")
    parts = deal(_marks(known)[teaching], known.groups[teaching], _PARTS, np.random.default_rng(seed))
    train_on = partial(_trained, known, base, seed=seed, wishes=wishes, watch=watch)
    words, before = _words(known), _Vectors.of(known, see)
    # What the classifier on the base's vectors says of each label, and the one on the adapted encoder's.
    logits = np.full((2, len(known.texts), len(known.choices)), np.nan, np.float32)
    for part in range(_PARTS):
        learnt, asked = teaching[parts != part], teaching[parts == part]
        with tempfile.TemporaryDirectory(prefix="prepal-") as temporary:
            after = _Vectors.of(known, _seen_by(train_on(learnt, Path(temporary))))
        for row, vectors in enumerate((before, after)):
            try:
                logits[row, asked] = _logits(known, vectors.beside(words), learnt, asked, names=vectors is before)
            except NothingToLearn:
                continue
    judged = ~np.isnan(logits).any(axis=(0, 2))
    if not judged.any():
        raise NotAdaptableError("half of the labels do not tell any two texts apart")
    labels = known.labels[judged]
    temperatures = [fit_temperature(said, labels) for said in logits[:, judged]]
    losses = [log_loss(said / t, labels) for said, t in zip(logits[:, judged], temperatures, strict=True)]
    hits = [float(right(said, labels, how_many(known.labels)).mean()) for said in logits[:, judged]]
    encoder = train_on(teaching, folder) if is_better(losses[0], losses[1], _entropy(labels), len(labels)) else None
    accuracy = dict(zip(("base", "adapted"), hits, strict=True))
    return Outcome(encoder, teaching, len(labels), accuracy, temperatures[1])


@dataclass(frozen=True)
class _Vectors:
    """Vectors of the labelled texts `(n, d)`, of others `(m, d)` and of the choices' names `(k, d)`."""

    labelled: NDArray[np.float32]
    others: NDArray[np.float32]
    names: NDArray[np.float32]

    @classmethod
    def of(cls, known: Known, see: See) -> "_Vectors":
        every = [*known.texts, *known.others, *map(name_text, known.choices)]
        ends = [len(known.texts), len(known.texts) + len(known.others)]
        return cls(*np.split(see(every), ends))

    def beside(self, words: "_Vectors") -> "_Vectors":
        both = ((self.labelled, words.labelled), (self.others, words.others), (self.names, words.names))
        return _Vectors(*(np.hstack(pair) for pair in both))


def _words(known: Known) -> _Vectors:
    pool = [*known.texts, *known.others]
    seen, names = lexical_vectors(pool, [name_text(choice) for choice in known.choices])
    return _Vectors(seen[: len(known.texts)], seen[len(known.texts) :], names)


def _logits(
    known: Known, vectors: _Vectors, learnt: NDArray[np.int64], asked: NDArray[np.int64], *, names: bool
) -> NDArray[np.float32]:
    """Logits `(a, k)` by the live classifier of some labels; an adapted encoder has learnt what names say."""
    several, named = known.labels.ndim == 2, vectors.names if names else None
    learner = ActiveLearner(len(known.choices), "random", multilabel=several, name_vectors=named)
    learner.fit(vectors.labelled[learnt], known.labels[learnt], vectors.others)
    said = learner.predict_proba(vectors.labelled[asked])
    assert said is not None
    return logits_of(said, several=several)


def _trained(
    known: Known,
    base: str,
    learnt: NDArray[np.int64],
    folder: Path,
    *,
    seed: int,
    wishes: Wishes | None,
    watch: Watch | None,
) -> Encoder:
    """Train from the base on some labels, and leave the encoder in a folder."""
    trained = train(
        encoders.weights(base),
        [parts_of(known.texts[place]) for place in learnt],
        known.labels[learnt],
        len(known.choices),
        seed=seed,
        unlabelled=[parts_of(text) for text in known.others],
        label_names=known.choices,
        wishes=wishes,
        watch=watch,
    )
    assert isinstance(trained.model, SequenceModel)
    save_with(trained.model.transformer, base, folder)
    return Encoder(base, folder=str(folder))


def _seen_by(encoder: Encoder) -> See:
    return lambda texts: encoder.encode(texts).astype(np.float32)


def _entropy(labels: Labels) -> float:
    """The log loss of labels by their frequencies alone, as `log_loss` counts it."""
    shares = labels.mean(axis=0) if labels.ndim == 2 else np.bincount(labels) / len(labels)
    each = entr(shares) + entr(1 - shares) if labels.ndim == 2 else entr(shares)
    return float(each.mean() if labels.ndim == 2 else each.sum())


def _marks(known: Known) -> NDArray[np.bool_]:
    return marks(known.labels, len(known.choices))
