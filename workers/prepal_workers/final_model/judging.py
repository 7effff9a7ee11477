"""Judges a way of training by texts that it did not learn from: held-back ones, or all in turn where labels are few."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.learning.quality.folds import deal
from prepal_workers.final_model.choosing import Helped, Tried, best, of_chosen
from prepal_workers.final_model.trainings import BELIEFS, FEW, JUDGED, Training, read_said, write_said
from prepal_workers.labelled.data import LabelledData
from prepal_workers.training.measures import log_loss, macro_f1, right, score
from prepal_workers.training.recipe import Method
from prepal_workers.training.training import Trained

# One text in five is held back to judge by.
_HELD_BACK = 5
# With fewer audit tasks, or when hardly anything would be left to learn from, texts are drawn instead.
_LEAST_AUDITS, _MOST_AUDIT_SHARE = 30, 0.5
# Into so many parts texts are dealt, of which each is held back from learning, or from choosing what judges it.
_PARTS = 4
METHODS: tuple[Method, ...] = ("logistic", "fine-tune", "contrast")
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
        helped: whether beliefs helped; None if none were tried.
        scores: the score of each method that was tried.
        interrupted: whether Ctrl-C ended it.
    """

    held_back: NDArray[np.bool_]
    learnt: NDArray[np.bool_]
    how: str
    logits: NDArray[np.float32]
    method: Method
    trained: Trained | None = None
    helped: Helped | None = None
    scores: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False


def judge(training: Training) -> Judged:
    """Find out how good the model will be, whether beliefs help, and which method is best where labels are few.

    Raises:
        PrepalError: there are too few labels to hold some back.
    """
    data, console = training.data, training.console
    if len(data.texts) <= FEW and not audits_suffice(data):
        return _cross_validate(training)
    held_back, learnt, how = split(data, training.seed)
    console.print(f"Judged by {int(held_back.sum())} texts ({how}), learning from {int(learnt.sum())}.")
    places, asked = np.flatnonzero(learnt), np.flatnonzero(held_back)
    trained = plain = training.judged_run(places, JUDGED, asked)
    tried = {Tried(plain.recipe.method, epoch): said for epoch, said in plain.logits.items()}
    judged = Judged(held_back, learnt, how, next(iter(tried.values())), plain.recipe.method)
    if not plain.interrupted and training.teaches:
        believing = _try_beliefs(training, judged, tried, plain)
        if believing is not None and judged.helped is not None and judged.helped.helped:
            trained = believing
    judged.trained, judged.interrupted = trained, judged.interrupted or plain.interrupted
    parts = deal(data.marks[asked], data.groups[asked], _PARTS, np.random.default_rng(training.seed))
    judged.logits = of_chosen(tried, data.labels[asked], data.how_many, parts)
    if judged.interrupted:
        console.print("Ended early: the best so far is kept.")
    elif trained.best_epoch == 0 and trained.recipe.method == "fine-tune":
        console.print("No epoch was better than the logistic regression that training started from: it is taken.")
    judged.method = trained.recipe.method if trained.best_epoch else "logistic"
    return judged


def _try_beliefs(
    training: Training, judged: Judged, tried: dict[Tried, NDArray[np.float32]], plain: Trained
) -> Trained | None:
    """Train with beliefs, too, and note in `judged` and `tried` what came of it; None if nothing did."""
    data = training.data
    places, asked = np.flatnonzero(judged.learnt), np.flatnonzero(judged.held_back)
    training.console.print(
        f"A teacher, who sees texts as {training.teacher} does once it learnt from the labels, says what "
        f"{len(data.unlabelled)} others may be.",
        markup=False,
    )
    try:
        said = training.said(places, JUDGED, plain.asked)
    except KeyboardInterrupt:
        judged.interrupted = True
        return None
    if said is None:
        return None
    beliefs = training.beliefs(said)
    how = "On from there" if training.goes_on else "Once more"
    training.console.print(f"{how}, with beliefs of {len(beliefs.texts)} texts without a label.")
    believing = training.judged_run(places, JUDGED + BELIEFS, asked, beliefs)
    if believing.interrupted:
        judged.interrupted = True
        return None
    tried |= {Tried(training.method_of_beliefs, epoch, True): said for epoch, said in believing.logits.items()}
    labels, count = data.labels[asked], len(beliefs.texts)
    judged.helped = Helped.of(tried, said[asked], labels, data.how_many, count, training.teacher)
    training.console.print(str(judged.helped), markup=False)
    return believing


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
    if training.wishes.epochs == 0 or training.counts_words:
        methods = ("logistic",)
    console.print(f"{len(parts)} labels are few: {_PARTS} times a part of them is held back, to choose how to train.")
    ways = [Tried(method) for method in methods]
    if training.teaches:
        ways.append(Tried(training.method_of_beliefs, believed=True))
    tried: dict[Tried, NDArray[np.float32]] = {}
    for way in ways:
        if (found := _by_models_of_the_others(training, way, parts)) is None:
            # What was tried whole is judged.
            console.print("Ended early: the best so far is kept.")
            break
        tried[way], taught = found
    for way, said in tried.items():
        accuracy = right(said, data.labels, data.how_many).mean()
        f1 = macro_f1(said, data.labels, data.how_many)
        console.print(
            f"{way.name:10}  accuracy {accuracy:.3f}  macro-F1 {f1:.3f}  loss {log_loss(said, data.labels):.3f}"
        )
    everything, chosen = np.ones(len(parts), bool), best(tried, data.labels, data.how_many)
    helped = None
    if any(way.believed for way in tried):
        # Beliefs were tried last.
        helped = Helped.of(tried, taught, data.labels, data.how_many, training.most_beliefs, training.teacher)
        console.print(str(helped), markup=False)
    return Judged(
        everything,
        everything,
        CROSS_VALIDATION,
        of_chosen(tried, data.labels, data.how_many, parts),
        chosen.method,
        helped=helped,
        scores={way.name: score(said, data.labels, data.how_many) for way, said in tried.items()},
        interrupted=len(tried) < len(ways),
    )


def _by_models_of_the_others(
    training: Training, way: Tried, parts: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Logits `(n, k)` float32 of each part by a model of the other parts, and by its teacher; None after Ctrl-C."""
    data = training.data
    logits, taught = np.zeros((2, len(parts), len(data.label_names)), np.float32)
    for part in np.unique(parts):
        asked, name, title = np.flatnonzero(parts == part), f"{way.name}-{part}", f"{way.name}, part {part + 1}"
        done = training.checkpoints / f"{name}.json"
        if training.resume and (before := read_said(done, asked)):
            logits[asked], taught[asked] = before["logits"], before.get("teacher", 0)
            continue
        others = np.flatnonzero(parts != part)
        if way.believed:
            trained, said = training.believing(others, name, title)
            taught[asked] = 0 if said is None else said[asked]
        else:
            trained = training.run(others, name, way.method, title=title)
        if trained.interrupted:
            return None
        logits[asked] = trained.model.logits(data.texts_at(asked))
        write_said(done, asked, {"logits": logits[asked].tolist(), "teacher": taught[asked].tolist()})
    return logits, taught
