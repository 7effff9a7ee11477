"""Fine-tunes a pretrained model on labelled texts."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DataCollatorWithPadding, EarlyStoppingCallback, PrinterCallback

from prepal.errors import PrepalError
from prepal.learning.classifiers.decisions import HowMany, how_many
from prepal.learning.classifiers.labels import Labels
from prepal_workers.labelled.fields import Text
from prepal_workers.model.head import last_layer
from prepal_workers.model.loading import quiet
from prepal_workers.model.sequence_model import Answers, SequenceModel
from prepal_workers.model.word_counts import WordCounts
from prepal_workers.training.beliefs import Beliefs
from prepal_workers.training.epochs import Epoch, Progress, Watch, last_complete
from prepal_workers.training.recipe import Recipe, Wishes, choose_recipe
from prepal_workers.training.trainer import InOrder, PairLoss, Row, arguments_of, learnt_rows, log_loss, rows_of

_Labelled = tuple[Sequence[Text], Labels]


@dataclass
class Trained:
    """A trained model.

    Attributes:
        model: the best that there was.
        recipe: how it was trained.
        best_epoch: the epoch that it is of; 0 for the logistic regression that training started from.
        epochs: what each gave.
        interrupted: whether Ctrl-C ended it.
        logits: `(v, k)` float32 of the texts to judge by: at the start, which is 0, and after each epoch; none without.
        asked: what the model of the last epoch makes of the a texts that were asked.
    """

    model: SequenceModel | WordCounts
    recipe: Recipe
    best_epoch: int
    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False
    logits: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    asked: Answers | None = None

    def predict_proba(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """Probabilities `(n, k)` float32; rows sum to 1 unless several classes may be right."""
        return self.model.predict_proba(texts)


def train(
    model: str,
    texts: Sequence[Text],
    labels: Labels,
    n_classes: int,
    *,
    seed: int = 0,
    out: Path | None = None,
    validation: _Labelled | None = None,
    unlabelled: Sequence[Text] = (),
    seen: NDArray[np.float32] | None = None,
    label_names: Sequence[str] = (),
    beliefs: Beliefs | None = None,
    asked: Sequence[Text] = (),
    last: Path | None = None,
    wishes: Wishes | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> Trained:
    """Fine-tune a model. It starts as the logistic regression on its own vectors, so it can only become better.

    Args:
        model: name on the Hugging Face hub, or a local folder.
        texts: n texts, or pairs of texts.
        labels: `(n,)` int64, or `(n, k)` bool where a text may have several classes.
        n_classes: k.
        seed: decides everything that is drawn.
        out: keeps what `resume` goes on from; nothing is kept when None.
        validation: texts and labels to judge by: training stops when it no longer becomes better for them, and the best
            epoch is taken. Without them all epochs are run and the last one is taken.
        unlabelled: texts without a label, in any order, which make the logistic regression better.
        seen: what `see_some` of the model gives of these before any training, if that is known.
        label_names: the k classes' names, if they say something.
        beliefs: what else is learnt from, unless the method is another than fine-tuning.
        asked: other texts, which the model of the last epoch is asked. All epochs are run then, so that what it says
            of them owes nothing to the validation.
        last: where that model is kept; nowhere if it is trained by LoRA.
        wishes: hyperparameters that are given; the others are chosen.
        resume: go on where a training with the same arguments was ended.
        watch: told of progress.

    Raises:
        PrepalError: the model cannot be loaded, or its numbers overflow.
    """
    began = SequenceModel(model, n_classes, multilabel=labels.ndim == 2, seed=seed)
    if watch:
        began.on_read = watch.read
    recipe = choose_recipe(len(texts), began.parameters, wishes or Wishes(), believed=beliefs is not None)
    began.start_head(texts, labels, began.see_some(unlabelled) if seen is None else seen, label_names)
    trained = Trained(began, recipe, best_epoch=0)
    if recipe.method == "logistic":
        return trained
    judged_by = validation if recipe.method == "fine-tune" else None
    with tempfile.TemporaryDirectory(prefix="prepal-") as temporary, quiet("transformers"):
        folder = out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        learnt = rows_of(began, texts, labels)
        if recipe.method == "fine-tune":
            learnt = learnt_rows(began, texts, labels, beliefs, recipe.repeats)
        keep = None if last is None or recipe.lora else partial(began.save, last, label_names)
        ask = partial(_ask, began, asked, keep) if asked else None
        kept = {"keeps": out is not None, "resume": resume}
        _learn(trained, began, learnt, judged_by, folder, seed, each=how_many(labels), ask=ask, watch=watch, **kept)
    if recipe.method == "contrast":
        began.start_head(texts, labels, began.see_some(unlabelled), label_names)
    if not all(torch.isfinite(p).all() for p in began.model.parameters()):
        raise PrepalError(
            f"The numbers of {model} overflowed at the learning rate {recipe.learning_rate:.1e}: choose a smaller one."
        )
    return trained


def _ask(model: SequenceModel, asked: Sequence[Text], keep: Callable[[], None] | None) -> Answers:
    if keep:
        keep()
    return model.answers(asked)


def _learn(
    trained: Trained,
    model: SequenceModel,
    rows: list[Row],
    judged_by: _Labelled | None,
    folder: Path,
    seed: int,
    *,
    each: HowMany,
    ask: Callable[[], Answers] | None,
    keeps: bool,
    resume: bool,
    watch: Watch | None,
) -> None:
    """Run the epochs, leave the model of the best one, and note what they gave."""
    recipe = trained.recipe
    start = {name: tensor.clone() for name, tensor in model.model.state_dict().items()} if judged_by else {}
    if recipe.lora:
        model.add_lora()
    contrast = PairLoss(last_layer(model.model)) if recipe.method == "contrast" else None
    judged = learnt_rows(model, *judged_by) if judged_by else None
    arguments = arguments_of(model, recipe, rows, folder, seed, judges=judged is not None, keeps=keeps)
    checkpoint = last_complete(folder) if resume else None
    progress = Progress(watch, sum(len(row["input_ids"]) for row in rows), checkpoint, each, ask)
    trainer = InOrder(
        model=model.model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=judged,
        data_collator=DataCollatorWithPadding(model.tokenizer),
        compute_loss_func=contrast or log_loss,
        compute_metrics=progress.measure,
        callbacks=[*([EarlyStoppingCallback(recipe.patience)] if judged and not ask else []), progress],
    )
    trainer.loss_is_scaled_for_ga = False
    trainer.remove_callback(PrinterCallback)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except KeyboardInterrupt:
        trained.interrupted = True
        if trainer.state.best_model_checkpoint:
            trainer._load_best_model()
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    history = trainer.state.log_history
    trained.epochs, trained.logits, trained.asked = progress.epochs(history), progress.logits, progress.asked
    trained.best_epoch = len(trained.epochs)
    if judged_by:
        at_start = (said["eval_score"] for said in history if "eval_score" in said and not said.get("epoch"))
        trained.best_epoch = int(np.argmax([next(at_start, -1.0), *(epoch.score or 0.0 for epoch in trained.epochs)]))
    if recipe.lora:
        model.merge_lora(keep=bool(trained.best_epoch))
    if judged_by and not trained.best_epoch:
        model.model.load_state_dict(start)
    if contrast:
        contrast.close()
