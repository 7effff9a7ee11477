"""Judges a way of training by texts that it did not learn from: held-back ones, or all in turn where labels are few."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from prepal.errors import PrepalError
from prepal.files import json_bytes, write_whole
from prepal.learning.classifiers.decisions import HowMany
from prepal.learning.classifiers.labels import Labels
from prepal.learning.quality.folds import deal
from prepal_workers.labelled.data import LabelledData
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.training.bar import Bar
from prepal_workers.training.epochs import Epoch
from prepal_workers.training.measures import log_loss, macro_f1, right, score
from prepal_workers.training.recipe import Method, Recipe, Wishes
from prepal_workers.training.training import Trained, train

# One text in five is held back to judge by.
_HELD_BACK = 5
# With fewer audit tasks, or when hardly anything would be left to learn from, texts are drawn instead.
_LEAST_AUDITS, _MOST_AUDIT_SHARE = 30, 0.5
# So few labels that a fifth of them tells nothing: each is held back once, and more than one method is tried.
FEW = 64
# Into so many parts texts are dealt, of which each is held back from learning, or from choosing what judges it.
_PARTS = 4
METHODS: tuple[Method, ...] = ("logistic", "fine-tune", "contrast")
_TITLE = "training"
_Tried = TypeVar("_Tried", Method, int)
CROSS_VALIDATION = "each once, by models of the others"


@dataclass
class Judged:
    """What the texts that were held back say.

    Attributes:
        held_back: `(n,)` bool.
        learnt: `(n,)` bool, what the judged model learnt from; copies of the texts that were held back are neither.
        how: how the texts were chosen that were held back.
        logits: `(h, k)` float32, what the judged model says of these.
        method: the best one.
        trained: the model that said so; None if there were several.
        scores: the score of each method that was tried.
        interrupted: whether Ctrl-C ended it.
    """

    held_back: NDArray[np.bool_]
    learnt: NDArray[np.bool_]
    how: str
    logits: NDArray[np.float32]
    method: Method
    trained: Trained | None = None
    scores: dict[Method, float] = field(default_factory=dict)
    interrupted: bool = False


@dataclass(frozen=True)
class Training:
    """What all trainings of one command have in common.

    Attributes:
        data: what was labelled.
        model: name on the Hugging Face hub, or a local folder.
        checkpoints: the folder of what `resume` goes on from.
        console: gets a line per epoch.
        wishes: hyperparameters that are given.
        seed: decides everything that is drawn.
        resume: go on where the same command was ended.
    """

    data: LabelledData
    model: str
    checkpoints: Path
    console: Console
    wishes: Wishes
    seed: int
    resume: bool

    def run(
        self,
        places: NDArray[np.int64],
        name: str,
        method: Method | None = None,
        validation: NDArray[np.int64] | None = None,
        title: str = _TITLE,
    ) -> Trained:
        """Train on the texts at some places.

        `name` is that of the folder of checkpoints; of few labels none are kept, because writing them would take longer
        than training once more. `title` is the progress bar's.
        """
        data, wishes = self.data, self.wishes if method is None else replace(self.wishes, method=method)
        judged_by = None if validation is None else (data.texts_at(validation), data.labels[validation])
        with Bar(self.console, title, lines=title == _TITLE) as bar:
            return train(
                self.model,
                data.texts_at(places),
                data.labels[places],
                len(data.label_names),
                seed=self.seed,
                out=self.checkpoints / name if len(data.texts) > FEW else None,
                validation=judged_by,
                unlabelled=data.unlabelled,
                label_names=data.label_names,
                wishes=wishes,
                resume=self.resume,
                watch=bar,
            )


def judge(training: Training) -> Judged:
    """Find out how good the model will be, and which method is best where labels are few.

    Raises:
        PrepalError: there are too few labels to hold some back.
    """
    data = training.data
    if len(data.texts) <= FEW and not audits_suffice(data):
        return _cross_validate(training)
    held_back, learnt, how = split(data, training.seed)
    console = training.console
    console.print(f"Judged by {int(held_back.sum())} texts ({how}), learning from {int(learnt.sum())}.")
    done, kept = training.checkpoints / "judged.json", training.checkpoints / "judged"
    places = np.flatnonzero(held_back)
    if training.resume and (said := _read(done, places)):
        epochs = [Epoch(**epoch) for epoch in said["epochs"]]
        trained = Trained(SequenceModel(str(kept)), Recipe(**said["recipe"]), said["best_epoch"], epochs)
        logits = np.array(said["logits"], np.float32)
    else:
        trained = training.run(np.flatnonzero(learnt), "part", validation=places)
        if trained.logits:
            parts = deal(data.marks[places], data.groups[places], _PARTS, np.random.default_rng(training.seed))
            logits = _of_chosen(trained.logits, data.labels[places], data.how_many, parts)
        else:
            logits = trained.model.logits(data.texts_at(places))
        if not trained.interrupted:
            trained.model.save(kept, data.label_names)
            said = {"epochs": [asdict(e) for e in trained.epochs], "recipe": asdict(trained.recipe)}
            _write(done, places, {**said, "logits": logits.tolist(), "best_epoch": trained.best_epoch})
    if trained.interrupted:
        console.print("Ended early: the best so far is kept.")
    elif trained.best_epoch == 0 and trained.recipe.method == "fine-tune":
        console.print("No epoch was better than the logistic regression that training started from: it is taken.")
    method: Method = trained.recipe.method if trained.best_epoch else "logistic"
    return Judged(held_back, learnt, how, logits, method, trained, interrupted=trained.interrupted)


def split(data: LabelledData, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_], str]:
    """Which texts `(n,)` are held back to judge by, which ones are learnt from meanwhile, and how they were chosen.

    Audit tasks were drawn at random, so what they say holds for all texts. Where they are too few, a fifth of every
    class is drawn. No class is left without an example to learn from, and no text is learnt from that equals one that
    is held back.

    Raises:
        PrepalError: there are too few labels, or too few different texts.
    """
    marks, groups = data.marks, data.groups
    if audits_suffice(data):
        held_back, how = data.is_audit.copy(), "the audit tasks"
    else:
        parts = deal(marks, groups, _HELD_BACK, np.random.default_rng(seed))
        sizes = np.bincount(parts, minlength=_HELD_BACK)
        held_back = parts == np.abs(sizes - len(parts) / _HELD_BACK).argmin()
        how = "drawn at random within each class"
    for label in range(marks.shape[1]):
        if not marks[~np.isin(groups, groups[held_back]), label].any():
            held_back &= ~np.isin(groups, groups[marks[:, label]])
    if not held_back.any():
        raise PrepalError(
            f"{len(marks)} labels of {len(np.unique(groups))} different texts are too few to hold some back to judge "
            "by: label more."
        )
    return held_back, ~np.isin(groups, groups[held_back]), how


def audits_suffice(data: LabelledData) -> bool:
    """Whether the audit tasks can judge: there are some, and enough other texts to learn from."""
    return bool(_LEAST_AUDITS <= data.is_audit.sum() <= _MOST_AUDIT_SHARE * len(data.texts))


def _cross_validate(training: Training) -> Judged:
    """Try every method, each text being held back once."""
    data, console = training.data, training.console
    parts = deal(data.marks, data.groups, _PARTS, np.random.default_rng(training.seed))
    if len(np.unique(parts)) < 2:
        raise PrepalError(f"All {len(parts)} labels are of one text: label others.")
    # The logistic regression takes no time and comes first.
    methods = METHODS if training.wishes.method is None else tuple(dict.fromkeys(("logistic", training.wishes.method)))
    if training.wishes.epochs == 0:
        methods = ("logistic",)
    console.print(f"{len(parts)} labels are few: {_PARTS} times a part of them is held back, to choose how to train.")
    logits: dict[Method, NDArray[np.float32]] = {}
    for method in methods:
        if (said := _by_models_of_the_others(training, method, parts)) is None:
            # What was tried whole is judged.
            console.print("Ended early: the best so far is kept.")
            break
        logits[method] = said
    scores = {method: score(found, data.labels, data.how_many) for method, found in logits.items()}
    for method, found in logits.items():
        accuracy = right(found, data.labels, data.how_many).mean()
        f1 = macro_f1(found, data.labels, data.how_many)
        console.print(
            f"{method:10}  accuracy {accuracy:.3f}  macro-F1 {f1:.3f}  loss {log_loss(found, data.labels):.3f}"
        )
    best = max(logits, key=lambda method: scores[method])
    everything, held_out = np.ones(len(parts), bool), _of_chosen(logits, data.labels, data.how_many, parts)
    ended = len(logits) < len(methods)
    return Judged(everything, everything, CROSS_VALIDATION, held_out, best, scores=scores, interrupted=ended)


def _by_models_of_the_others(
    training: Training, method: Method, parts: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """Logits `(n, k)` float32 of each part by a model of the other parts; None if Ctrl-C ended it."""
    data = training.data
    logits = np.zeros((len(parts), len(data.label_names)), np.float32)
    for part in np.unique(parts):
        asked, name = np.flatnonzero(parts == part), f"{method}-{part}"
        done = training.checkpoints / f"{name}.json"
        if training.resume and (said := _read(done, asked)):
            logits[asked] = said["logits"]
            continue
        trained = training.run(np.flatnonzero(parts != part), name, method, title=f"{method}, part {part + 1}")
        if trained.interrupted:
            return None
        logits[asked] = trained.model.logits(data.texts_at(asked))
        _write(done, asked, {"logits": logits[asked].tolist()})
    return logits


def _of_chosen(
    logits: Mapping[_Tried, NDArray[np.float32]], labels: Labels, each: HowMany, parts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Of each part what the method, or epoch, says that is best for the others: the best of many is so by luck, too."""
    found = np.empty_like(next(iter(logits.values())))
    for part in np.unique(parts):
        asked = parts == part
        others = asked if asked.all() else ~asked
        scores = {tried: score(said[others], labels[others], each) for tried, said in logits.items()}
        found[asked] = logits[max(scores, key=lambda tried: scores[tried])][asked]
    return found


def _write(path: Path, asked: NDArray[np.int64], said: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json_bytes({"asked": asked.tolist(), **said}))


def _read(path: Path, asked: NDArray[np.int64]) -> dict[str, Any] | None:
    """What `_write` left; None if it is of other texts, as after another release, or there is nothing."""
    said = json.loads(path.read_text()) if path.exists() else {}
    return said if isinstance(said, dict) and said.get("asked") == asked.tolist() else None
