"""What is known of a training's epochs: told while it runs, and read from the trainer's log."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from transformers import EvalPrediction, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from prepal.files import json_bytes, write_whole
from prepal.learning.classifiers.decisions import HowMany
from prepal_workers.model.sequence_model import Answers
from prepal_workers.training.measures import macro_f1, right, score

COMPLETE = "complete.json"
_LOGITS = "logits.npz"


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave; the measures are None where there are no texts to judge by.

    `seconds` has the judging in it; `tokens_per_second` is of learning alone, and padding does not count.
    """

    number: int
    loss: float
    seconds: float
    tokens_per_second: float
    accuracy: float | None = None
    macro_f1: float | None = None
    score: float | None = None


class Watch(Protocol):
    """Is told of what happens."""

    def read(self, done: int, total: int) -> None:
        """While texts are read without learning: how many of how many are."""

    def step(self, done: int, total: int) -> None:
        """After each step: how many of how many are done."""

    def epoch(self, epoch: Epoch) -> None:
        """After each epoch: what it gave."""


class Progress(TrainerCallback):
    """Measures, and tells the watch; marks checkpoints that are whole; remembers what was said of the judged texts.

    Args:
        watch: told what happens.
        tokens: how many the texts that are learnt from have together.
        checkpoint: the folder that training goes on from, if it does.
        each: how many labels a text has.
        ask: gives what the model makes of other texts; it is asked once, at the end of the last epoch.
    """

    def __init__(
        self,
        watch: Watch | None,
        tokens: int,
        checkpoint: Path | None,
        each: HowMany,
        ask: Callable[[], Answers] | None = None,
    ) -> None:
        before = json.loads((checkpoint / COMPLETE).read_text()) if checkpoint else {"seconds": {}, "learning": {}}
        self._seconds, self._learning = ({int(n): s for n, s in before[of].items()} for of in ("seconds", "learning"))
        self._watch = watch
        self._tokens = tokens
        self._each = each
        self._last_logits: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self.logits: dict[int, NDArray[np.float32]] = {}
        """`(v, k)`, of the texts to judge by: at the start, which is 0, and after each epoch."""
        self._ask = ask
        self.asked: Answers | None = None
        """What the model made of the other texts, at the end."""
        if checkpoint and (checkpoint / _LOGITS).exists():
            with np.load(checkpoint / _LOGITS) as before_it:
                self.logits = {int(number): before_it[number] for number in before_it.files if number.isdigit()}
                self.asked = Answers.of(before_it)
        self._began = time.monotonic()

    def measure(self, prediction: EvalPrediction) -> dict[str, float]:
        """The measures, by name: transformers' `compute_metrics`."""
        logits, masses = np.asarray(prediction.predictions, np.float32), np.asarray(prediction.label_ids)
        self._last_logits = logits
        labels = masses.argmax(axis=1) if masses.ndim == 2 else masses[:, 0] > 0
        accuracy, f1 = float(right(logits, labels, self._each).mean()), macro_f1(logits, labels, self._each)
        return {"accuracy": accuracy, "macro_f1": f1, "score": score(logits, labels, self._each)}

    def epochs(self, history: Sequence[dict[str, Any]]) -> list[Epoch]:
        """What a trainer's log says of each epoch."""
        found: dict[int, dict[str, Any]] = {}
        for entry in history:
            found.setdefault(round(entry.get("epoch") or 0), {}).update(entry)
        return [
            Epoch(
                number=number,
                loss=entry["loss"],
                seconds=self._seconds[number],
                tokens_per_second=self._tokens / self._learning[number],
                accuracy=entry.get("eval_accuracy"),
                macro_f1=entry.get("eval_macro_f1"),
                score=entry.get("eval_score"),
            )
            for number, entry in sorted(found.items())
            if number in self._seconds
        ]

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:  # noqa: ANN401, D102
        self._began = time.monotonic()

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ANN401, ARG002, D102
        if self._ask and state.global_step >= state.max_steps:
            self.asked = self._ask()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ANN401, ARG002, D102
        if self._watch:
            self._watch.step(state.global_step, state.max_steps)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ANN401, ARG002, D102
        number, said = round(state.epoch or 0), state.log_history[-1]
        seconds = time.monotonic() - self._began
        if "loss" in said:
            self._learning[number] = seconds
        if number and ("loss" if args.eval_strategy == "no" else "eval_loss") in said:
            self._seconds[number] = seconds
            if self._watch:
                self._watch.epoch(self.epochs(state.log_history)[-1])

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ANN401, ARG002, D102
        self.logits[round(state.epoch or 0)] = self._last_logits

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ANN401, ARG002, D102
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        said = {str(number): logits for number, logits in self.logits.items()}
        np.savez(folder / _LOGITS, **said, **({} if self.asked is None else vars(self.asked)))  # type: ignore[arg-type]
        write_whole(folder / COMPLETE, json_bytes({"seconds": self._seconds, "learning": self._learning}))


def last_complete(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(whole, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)
