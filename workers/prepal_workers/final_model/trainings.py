"""What all trainings of one command have in common: what they learn from, and what they leave to go on from."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from prepal.files import json_bytes, write_whole
from prepal.learning.classifiers.labels import NothingToLearn
from prepal_workers.labelled.data import LabelledData
from prepal_workers.labelled.fields import Text
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.model.word_counts import WORD_COUNTS
from prepal_workers.teaching.teacher import Teacher, draw
from prepal_workers.teaching.vectors import Source, see
from prepal_workers.training.bar import Bar
from prepal_workers.training.beliefs import Beliefs
from prepal_workers.training.counting import count_words
from prepal_workers.training.epochs import Epoch
from prepal_workers.training.recipe import Method, Recipe, Wishes
from prepal_workers.training.training import Trained, train

# So few labels that a fifth of them tells nothing: each is held back once, and more than one method is tried.
FEW = 64
# Up to so many labels every one counts, and training once more on all of them takes minutes.
LEARN_FROM_ALL = 2000
# Beliefs of fewer texts are not worth a training; more would make it take more than twice as long on a processor.
_LEAST_BELIEFS, _MOST_BELIEFS = 100, 1500
_TITLE = "training"
JUDGED, BELIEFS = "part", "-beliefs"
"""The name of the training that is judged, and what stands behind it where that goes on with beliefs."""
_ASKED = "asked.npy"


@dataclass(frozen=True)
class Training:
    """What all trainings of one command have in common.

    Attributes:
        data: what was labelled.
        model: name on the Hugging Face hub, a local folder, or `WORD_COUNTS`.
        checkpoints: the folder of what `resume` goes on from.
        console: gets a line per epoch.
        wishes: hyperparameters that are given.
        seed: decides everything that is drawn.
        resume: go on where the same command was ended.
        source: where a teacher's vectors come from; None to learn from labels alone.
    """

    data: LabelledData
    model: str
    checkpoints: Path
    console: Console
    wishes: Wishes
    seed: int
    resume: bool
    source: Source | None = None

    def run(
        self,
        places: NDArray[np.int64],
        name: str,
        method: Method | None = None,
        validation: NDArray[np.int64] | None = None,
        beliefs: Beliefs | None = None,
        asked: Sequence[Text] = (),
        title: str = _TITLE,
        start: Path | None = None,
        last: Path | None = None,
    ) -> Trained:
        """Train on the texts at some places, and on beliefs of others; `asked` are texts to ask the model at last.

        `name` is that of the folder of checkpoints; of few labels none are kept, because writing them would take longer
        than training once more. `title` is the progress bar's. `start` is a model that learnt from labels of these
        texts before, to go on from, and `last` where the model is kept that was asked.
        """
        data, wishes = self.data, self.wishes if method is None else replace(self.wishes, method=method)
        if self.counts_words:
            learnt, known = (data.texts_at(places), data.labels[places], len(data.label_names)), data.unlabelled
            return count_words(*learnt, unlabelled=known, beliefs=beliefs)
        judged_by = None if validation is None else (data.texts_at(validation), data.labels[validation])
        with Bar(self.console, title, lines=title == _TITLE) as bar:
            return train(
                self.model if start is None else str(start),
                data.texts_at(places),
                data.labels[places],
                len(data.label_names),
                seed=self.seed,
                out=self.checkpoints / name if len(data.texts) > FEW else None,
                validation=judged_by,
                unlabelled=data.unlabelled,
                seen=self._seen if start is None else None,
                label_names=data.label_names,
                beliefs=beliefs,
                asked=asked,
                last=last,
                wishes=wishes,
                resume=self.resume,
                watch=bar,
            )

    def judged_run(
        self, places: NDArray[np.int64], name: str, validation: NDArray[np.int64], beliefs: Beliefs | None = None
    ) -> Trained:
        """Train, judged by the texts of the validation; what has come to its end before is not trained again.

        A model of labels alone is that of its best epoch, and that of its last one is asked for what a teacher has to
        know of it. A model of beliefs, too, goes on from the last one, and is that of its own last epoch: it owes
        nothing to the validation.
        """
        done, kept = self.checkpoints / f"{name}.json", self.checkpoints / f"{name}-judged"
        if self.resume and (said := read_said(done, validation)):
            epochs = [Epoch(**epoch) for epoch in said["epochs"]]
            logits = {int(number): np.array(of, np.float32) for number, of in said["logits"].items()}
            asked = np.load(kept / _ASKED) if (kept / _ASKED).exists() else None
            recipe = Recipe(**said["recipe"])
            return Trained(SequenceModel(str(kept)), recipe, said["best_epoch"], epochs, False, logits, asked)
        # What knows words alone, of few labels, would only make the teacher worse.
        believes = self.teacher is not None and beliefs is None and not self.counts_words
        asks = self.data.unlabelled if believes else ()
        judging = validation if beliefs is None else None
        start = None if beliefs is None else self._before(name)
        last = self._last(name) if asks else None
        trained = self.run(places, name, validation=judging, beliefs=beliefs, asked=asks, start=start, last=last)
        trained.logits = trained.logits or {trained.best_epoch: trained.model.logits(self.data.texts_at(validation))}
        # Words are counted again in less time than it takes to read what came of it.
        if not trained.interrupted and not self.counts_words:
            trained.model.save(kept, self.data.label_names)
            if trained.asked is not None:
                np.save(kept / _ASKED, trained.asked)
            told = {
                "epochs": [asdict(epoch) for epoch in trained.epochs],
                "recipe": asdict(trained.recipe),
                "best_epoch": trained.best_epoch,
                "logits": {number: of.tolist() for number, of in trained.logits.items()},
            }
            write_said(done, validation, told)
        return trained

    def go_on(self, trained: Trained, places: NDArray[np.int64], name: str, beliefs: Beliefs) -> Trained:
        """Train on from a model that learnt from the labels at some places, with beliefs, too."""
        trained.model.save(self._last(name), self.data.label_names)
        return self.run(places, name + BELIEFS, "fine-tune", beliefs=beliefs, start=self._last(name))

    @property
    def goes_on(self) -> bool:
        """Whether what learnt from beliefs went on from a model of labels alone."""
        return self._last(JUDGED).exists()

    def _before(self, name: str) -> Path | None:
        """The model of labels alone that a training with beliefs goes on from; None to begin anew."""
        last = self._last(name.removesuffix(BELIEFS))
        return last if last.exists() else None

    def _last(self, name: str) -> Path:
        return self.checkpoints / f"{name}-last"

    @property
    def counts_words(self) -> bool:
        """Whether the model is one of word counts, which is fitted and not trained."""
        return self.model == WORD_COUNTS

    @property
    def method_of_beliefs(self) -> Method:
        """By which method beliefs are learnt from."""
        return "logistic" if self.counts_words else "fine-tune"

    @cached_property
    def _seen(self) -> NDArray[np.float32] | None:
        """What all trainings start with; seen once, as each starts with the same model."""
        if not self.data.unlabelled:
            return None
        reader = SequenceModel(self.model, len(self.data.label_names))
        with Bar(self.console) as bar:
            reader.on_read = bar.read
            return reader.see_some(self.data.unlabelled)

    @cached_property
    def teacher(self) -> Teacher | None:
        """Who believes something of the texts without a label; None where that cannot be learnt from."""
        data, wishes = self.data, self.wishes
        if self.source is None or len(data.unlabelled) < _LEAST_BELIEFS or len(data.texts) > LEARN_FROM_ALL:
            return None
        if wishes.method not in (None, "fine-tune") or wishes.epochs == 0:
            return None
        with Bar(self.console) as bar:
            seen = see(data.texts, data.unlabelled, data.label_names, self.source, bar.read)
        self.console.print(
            f"{len(data.unlabelled)} texts without a label: a teacher, who sees them as {seen.encoder} does, says what "
            "they may be.",
            markup=False,
        )
        return Teacher(seen, data.labels, data.groups, data.is_audit, len(data.label_names), self.seed)

    @property
    def most_beliefs(self) -> int:
        """Beliefs of how many texts are learnt from."""
        texts = len(self.data.unlabelled)
        return texts if self.counts_words or torch.cuda.is_available() else min(texts, _MOST_BELIEFS)

    def beliefs(self, places: NDArray[np.int64], student: NDArray[np.float32] | None = None) -> Beliefs | None:
        """What the teacher believes by the labels at some places alone; None if there is nothing to learn from that.

        A `student` is what a model says of all texts without a label that learnt from some of these: it believes, too.
        """
        teacher, texts = self.teacher, self.data.unlabelled
        if teacher is None:
            return None
        try:
            logits = teacher.logits(places, teacher.seen.others, student)
        except NothingToLearn:
            return None
        return draw(logits, texts, self.most_beliefs, several=self.data.multilabel, seed=self.seed)


def write_said(path: Path, asked: NDArray[np.int64], said: dict[str, Any]) -> None:
    """Keep what a model said of the texts asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json_bytes({"asked": asked.tolist(), **said}))


def read_said(path: Path, asked: NDArray[np.int64]) -> dict[str, Any] | None:
    """What `write_said` left; None if it is of other texts, as after another release, or there is nothing."""
    said = json.loads(path.read_text()) if path.exists() else {}
    return said if isinstance(said, dict) and said.get("asked") == asked.tolist() else None
