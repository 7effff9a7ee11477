"""What all trainings of one command have in common: what they learn from, and what they leave to go on from."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from prepal.errors import PrepalError
from prepal.files import json_bytes, write_whole
from prepal.learning.classifiers.labels import NothingToLearn
from prepal.vectors import encoders
from prepal_workers.labelled.data import LabelledData
from prepal_workers.labelled.fields import Text
from prepal_workers.model.sequence_model import Answers, SequenceModel
from prepal_workers.model.word_counts import WORD_COUNTS
from prepal_workers.training.bar import Bar
from prepal_workers.training.beliefs import Beliefs
from prepal_workers.training.counting import count_words
from prepal_workers.training.epochs import Epoch
from prepal_workers.training.recipe import Method, Recipe, Wishes
from prepal_workers.training.teacher import believe, draw, lexical_of
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
_ASKED = "asked.npz"


class Believing(NamedTuple):
    """What came of a training with beliefs: the model, and what its teacher said `(n + m, k)`; None without one."""

    trained: Trained
    said: NDArray[np.float32] | None


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
        encoder: the project's, which teaches what texts without a label may be once it learnt from the labels; None to
            learn from labels alone.
    """

    data: LabelledData
    model: str
    checkpoints: Path
    console: Console
    wishes: Wishes
    seed: int
    resume: bool
    encoder: str | None = None

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
                # What learnt from the labels has learnt what their names say.
                label_names=data.label_names if start is None else (),
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
        # What knows words alone, of few labels, would only make the teacher worse.
        asks = self._every if self.teaches and beliefs is None and not self.counts_words else ()
        asked = _read_answers(kept / _ASKED)
        # An earlier release did not keep what a teacher has to know.
        if self.resume and (said := read_said(done, validation)) and (asked is not None or not asks):
            epochs = [Epoch(**epoch) for epoch in said["epochs"]]
            logits = {int(number): np.array(of, np.float32) for number, of in said["logits"].items()}
            recipe = Recipe(**said["recipe"])
            return Trained(SequenceModel(str(kept)), recipe, said["best_epoch"], epochs, False, logits, asked)
        judging = validation if beliefs is None else None
        start = None if beliefs is None else self._before(name)
        last = self._last(name) if asks else None
        trained = self.run(places, name, validation=judging, beliefs=beliefs, asked=asks, start=start, last=last)
        trained.logits = trained.logits or {trained.best_epoch: trained.model.logits(self.data.texts_at(validation))}
        # Words are counted again in less time than it takes to read what came of it.
        if not trained.interrupted and not self.counts_words:
            trained.model.save(kept, self.data.label_names)
            if trained.asked is not None:
                _write_answers(kept / _ASKED, trained.asked)
            told = {
                "epochs": [asdict(epoch) for epoch in trained.epochs],
                "recipe": asdict(trained.recipe),
                "best_epoch": trained.best_epoch,
                "logits": {number: of.tolist() for number, of in trained.logits.items()},
            }
            write_said(done, validation, told)
        return trained

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

    @property
    def teaches(self) -> bool:
        """Whether there are texts without a label that are worth a teacher, who says what they may be."""
        data, wishes = self.data, self.wishes
        trains = wishes.method in (None, "fine-tune") and wishes.epochs != 0
        few = len(data.texts) <= LEARN_FROM_ALL
        return self.encoder is not None and trains and few and len(data.unlabelled) >= _LEAST_BELIEFS

    @cached_property
    def teacher(self) -> str:
        """The model that learns from the same labels to teach: the encoder, or without that the model itself."""
        assert self.encoder is not None
        name = encoders.weights(self.encoder)
        try:
            SequenceModel(name, len(self.data.label_names))
        except PrepalError:
            return self.model
        return name

    @property
    def most_beliefs(self) -> int:
        """Beliefs of how many texts are learnt from."""
        texts = len(self.data.unlabelled)
        return texts if self.counts_words or torch.cuda.is_available() else min(texts, _MOST_BELIEFS)

    def said(self, places: NDArray[np.int64], name: str, student: Answers | None) -> NDArray[np.float32] | None:
        """Logits `(n + m, k)` of texts with a label and of those without, by a teacher of the labels at some places.

        Args:
            places: of the labels that may be learnt from.
            name: of the training whose teacher it is.
            student: what the model makes of all these texts that learnt from these labels, if it is a network.

        Returns:
            None if the labels do not tell any two texts apart.

        Raises:
            KeyboardInterrupt: it came while the encoder learnt.
        """
        data = self.data
        sees = student if self.teacher == self.model else self._answers_of_encoder(places, name)
        models = [one for one in (sees, None if sees is student else student) if one is not None]
        try:
            return believe(models, self._words, data.labels, places, len(data.label_names))
        except NothingToLearn:
            return None

    def beliefs(self, said: NDArray[np.float32]) -> Beliefs:
        """What is learnt from, of what a teacher said."""
        data = self.data
        others = said[len(data.texts) :]
        return draw(others, data.unlabelled, self.most_beliefs, several=data.multilabel, seed=self.seed)

    def believing(self, places: NDArray[np.int64], name: str, title: str = _TITLE) -> Believing:
        """Train on the labels at some places, and then on with what a teacher of these says."""
        plain = None
        if not self.counts_words:
            plain = self.run(places, name, "fine-tune", asked=self._every, title=title, last=self._last(name))
            if plain.interrupted:
                return Believing(plain, None)
        try:
            said = self.said(places, name, None if plain is None else plain.asked)
        except KeyboardInterrupt:
            return Believing(replace(plain or self.run(places, name, title=title), interrupted=True), None)
        if said is None:
            return Believing(plain or self.run(places, name, title=title), None)
        method, beliefs, start = self.method_of_beliefs, self.beliefs(said), self._before(name)
        return Believing(self.run(places, name + BELIEFS, method, beliefs=beliefs, title=title, start=start), said)

    @property
    def _every(self) -> list[Text]:
        """The texts with a label, and those without."""
        return [*self.data.texts, *self.data.unlabelled]

    @cached_property
    def _words(self) -> NDArray[np.float32]:
        return lexical_of(self._every)

    def _answers_of_encoder(self, places: NDArray[np.int64], name: str) -> Answers:
        """What the project's encoder makes of all texts once it learnt from the labels at some places."""
        data, kept = self.data, self.checkpoints / f"{name}-{_ASKED}"
        if self.resume and (before := _read_answers(kept)):
            return before
        with Bar(self.console, "teacher", lines=False) as bar:
            trained = train(
                self.teacher,
                data.texts_at(places),
                data.labels[places],
                len(data.label_names),
                seed=self.seed,
                unlabelled=data.unlabelled,
                label_names=data.label_names,
                watch=bar,
            )
            if trained.interrupted:
                raise KeyboardInterrupt
            assert isinstance(trained.model, SequenceModel)
            answers = trained.model.answers(self._every)
        _write_answers(kept, answers)
        return answers


def write_said(path: Path, asked: NDArray[np.int64], said: dict[str, Any]) -> None:
    """Keep what a model said of the texts asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json_bytes({"asked": asked.tolist(), **said}))


def read_said(path: Path, asked: NDArray[np.int64]) -> dict[str, Any] | None:
    """What `write_said` left; None if it is of other texts, as after another release, or there is nothing."""
    said = json.loads(path.read_text()) if path.exists() else {}
    return said if isinstance(said, dict) and said.get("asked") == asked.tolist() else None


def _write_answers(path: Path, answers: Answers) -> None:
    written = io.BytesIO()
    np.savez(written, **vars(answers))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, written.getvalue())


def _read_answers(path: Path) -> Answers | None:
    if not path.exists():
        return None
    with np.load(path) as arrays:
        return Answers.of(arrays)
