"""One experiment: labels are asked for in batches, and after each one the classifier is measured on the test texts."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from prepal.learning.active_learner import ActiveLearner
from prepal.learning.adapting import softened
from prepal.learning.classifiers.decisions import HowMany, decide, how_many, macro_f1, marks, right
from prepal.learning.classifiers.labels import NothingToLearn
from prepal_workers.encoder.cached import identity
from prepal_workers.simulate.dataset import Dataset, Labelled
from prepal_workers.simulate.vectors import Vectors

if TYPE_CHECKING:
    from prepal_workers.simulate.adapting import Adapting

WORDS = "parts of words"
"""The lexical vectors, which stand beside those of every encoder, as in the live loop."""
ClassifierName = Literal["logistic", "network", "finetune"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What is tried.

    Attributes:
        strategy: chooses what is labelled.
        encoder: its vectors are what the strategy sees.
        classifier: retrained after each batch; `finetune` fine-tunes the encoder's own model each time (AL+FT).
        label_names: whether the choices' names are made use of.
        batch_size: labels between two retrainings.
        budget: labels in all.
        seed: decides everything that is random.
        judge: the encoder on whose vectors accuracy is measured, as with labels that were acquired for another model.
        final_model: fine-tuned on all labels at the end; "" for none.
        adapt: whether the encoder is trained on the labels as they come.
    """

    strategy: str
    encoder: str
    classifier: ClassifierName = "logistic"
    label_names: bool = True
    batch_size: int = 10
    budget: int = 300
    seed: int = 0
    judge: str = ""
    final_model: str = ""
    adapt: bool = False


def run(setting: Setting, dataset: Dataset, vectors: Mapping[str, Vectors]) -> Iterator[Row]:
    """Yield a row for each number of labels, and one more for the model that is fine-tuned at the end.

    What is chosen after a row depends on the seed and the row's number alone. Labels come in the order in which they
    were asked for, so the first text of a choice is the one that was labelled first.
    """
    known = about(setting, dataset)
    words = vectors.get(WORDS)
    own = vectors[setting.encoder].beside(words)
    chooser = _chooser(setting, dataset, own)
    judging = vectors[setting.judge].beside(words) if setting.judge else own
    at_random = replace(setting, strategy="random", classifier="logistic")
    judge = _chooser(at_random, dataset, judging) if setting.judge else chooser
    adapting = _adapting(setting, dataset, vectors)
    labelled = np.empty(0, np.int64)
    number = 0

    def row(
        phase: str, probabilities: NDArray[np.float32] | None, fit_s: float, rank_s: float, picked: Sequence[int]
    ) -> Row:
        return {
            **known,
            "phase": phase,
            "round": number,
            "labels": len(labelled),
            **scores(probabilities, dataset.test, how_many(dataset.train.labels[labelled])),
            "fit_s": round(fit_s, 6),
            "rank_s": round(rank_s, 6),
            **({} if adapting is None else {"adapted": adapting.labels}),
            "picked": picked,
        }

    while True:
        free = np.setdiff1d(np.arange(len(own.train)), labelled)
        began = time.perf_counter()
        if adapting is not None and (adapted := adapting.after(labelled, free)):
            judging = own = adapted.beside(words)
            judge = chooser = _chooser(replace(setting, label_names=False), dataset, own, adapting.temperature)
            # To embed the test texts is what it takes to measure, not to learn.
            began += adapting.measuring_s
        chooser.fit(labelled, free)
        fitted = time.perf_counter()
        n = min(setting.batch_size, setting.budget - len(labelled), len(free))
        rng = np.random.default_rng((setting.seed, number))
        picked = free[chooser.select(free, n, rng)] if n > 0 else free[:0]
        ranked = time.perf_counter()
        if judge is not chooser:
            judge.fit(labelled, free)
        yield row("round", judge.predict_proba(judging.test), fitted - began, ranked - fitted, picked.tolist())
        if not len(picked):
            break
        labelled = np.concatenate([labelled, picked])
        number += 1
    if setting.final_model:
        began = time.perf_counter()
        model = _fine_tuned(setting.final_model, dataset, labelled, setting.seed)
        probabilities = model.predict_proba(dataset.test.texts)
        yield row("final", probabilities, time.perf_counter() - began, 0.0, [])


def scores(probabilities: NDArray[np.float32] | None, test: Labelled, each: HowMany) -> dict[str, float | None]:
    """Return accuracy and macro-F1 of predictions `(m, k)` for the test texts; None where nothing was predicted.

    A prediction is right when it has all choices of the text and no other; `each` is how many those have that were
    learnt from.
    """
    if probabilities is None:
        return {"accuracy": None, "macro_f1": None}
    truth, given = marks(test.labels, probabilities.shape[1]), decide(probabilities, each)
    return {"accuracy": round(float(right(given, truth).mean()), 6), "macro_f1": round(macro_f1(truth, given), 6)}


class _OnVectors:
    """Retrains a classifier of vectors: PRepAL."""

    def __init__(self, learner: ActiveLearner, vectors: Vectors, dataset: Dataset, temperature: float) -> None:
        self._learner = learner
        self._temperature = temperature
        self._vectors = vectors
        self._dataset = dataset
        self._only: int | None = None

    def fit(self, labelled: NDArray[np.int64], free: NDArray[np.int64]) -> None:
        labels = self._dataset.train.labels[labelled]
        self._only = None
        try:
            self._learner.fit(self._vectors.train[labelled], labels, self._vectors.train[free])
        except NothingToLearn:
            # All that is known is one choice, if any.
            self._only = int(labels[0]) if len(labels) and not self._dataset.multilabel else None

    def select(self, free: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        pool = self._vectors.train[free]
        return self._learner.select(pool, n, rng, self._softened(self._learner.predict_proba(pool)))

    def predict_proba(self, vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
        probabilities = self._softened(self._learner.predict_proba(vectors))
        if probabilities is None and self._only is not None:
            probabilities = np.zeros((len(vectors), len(self._dataset.choices)), np.float32)
            probabilities[:, self._only] = 1
        return probabilities

    def _softened(self, probabilities: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        if probabilities is None:
            return None
        return softened(probabilities, self._temperature, multilabel=self._dataset.multilabel)


class _ByFineTuning:
    """Fine-tunes the whole model after every batch: AL+FT, the paper's expensive baseline."""

    def __init__(self, setting: Setting, vectors: Vectors, dataset: Dataset) -> None:
        self._setting = setting
        self._vectors = vectors
        self._dataset = dataset
        self._learner = ActiveLearner(len(dataset.choices), setting.strategy, multilabel=dataset.multilabel)
        self._model: Any = None

    def fit(self, labelled: NDArray[np.int64], free: NDArray[np.int64]) -> None:
        del free  # only what is labelled teaches the model
        self._model = None
        if len(np.unique(self._dataset.train.labels[labelled], axis=0)) > 1:
            self._model = _fine_tuned(self._setting.encoder, self._dataset, labelled, self._setting.seed)

    def select(self, free: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        texts = self._dataset.train.texts
        probabilities = None if self._model is None else self._model.predict_proba([texts[at] for at in free])
        return self._learner.select(self._vectors.train[free], n, rng, probabilities)

    def predict_proba(self, vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
        del vectors  # the model reads texts
        predicted: NDArray[np.float32] | None = None
        if self._model is not None:
            predicted = self._model.predict_proba(self._dataset.test.texts)
        return predicted


def _adapting(setting: Setting, dataset: Dataset, vectors: Mapping[str, Vectors]) -> "Adapting | None":
    if not setting.adapt:
        return None
    # Here, because torch takes seconds to load, and other experiments need none.
    from prepal_workers.simulate.adapting import Adapting

    return Adapting(dataset, setting.encoder, vectors[setting.encoder], setting.seed)


def _chooser(
    setting: Setting, dataset: Dataset, vectors: Vectors, temperature: float = 1.0
) -> _OnVectors | _ByFineTuning:
    if setting.classifier == "finetune":
        return _ByFineTuning(setting, vectors, dataset)
    learner = ActiveLearner(
        len(dataset.choices),
        setting.strategy,
        multilabel=dataset.multilabel,
        name_vectors=vectors.names if setting.label_names else None,
        classifier=setting.classifier,
    )
    return _OnVectors(learner, vectors, dataset, temperature)


def _fine_tuned(model: str, dataset: Dataset, labelled: NDArray[np.int64], seed: int) -> Any:  # noqa: ANN401
    from prepal_workers.training.training import train

    texts = [dataset.train.texts[at] for at in labelled]
    return train(model, texts, dataset.train.labels[labelled], len(dataset.choices), seed=seed)


def about(setting: Setting, dataset: Dataset, **more: str) -> Row:
    """Return what every row of a setting says: its release, texts and models, the setting itself, and more."""
    said = {**asdict(setting), **more}
    data = {"dataset": dataset.name, "data": dataset.fingerprint}
    return {"version": version("prepal-label-studio"), **data, "models": models_of(said), **said}


def models_of(row: Mapping[str, Any]) -> list[str]:
    """Return the identities of a row's models: in the same folder may be another one by now.

    Words are one of them: what was chosen before they stood beside the vectors is of another kind.
    """
    named = [identity(row[name]) for name in ("encoder", "judge", "final_model", "successor") if row.get(name)]
    return [*named, WORDS]
