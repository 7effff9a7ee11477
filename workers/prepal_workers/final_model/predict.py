"""A fine-tuned model → labels for texts that have none."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.files import Row, parse_rows, write_rows
from prepal.labels.label_config import LabelConfig
from prepal.learning.classifiers.decisions import HowMany
from prepal_workers.final_model.metrics import FILE
from prepal_workers.final_model.trust import Trust
from prepal_workers.labelled.fields import Text, TextFields, data_of
from prepal_workers.labelled.guessing import leaves
from prepal_workers.labelled.wording import named
from prepal_workers.model import word_counts
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.model.word_counts import WordCounts
from prepal_workers.training import measures

if TYPE_CHECKING:
    # Its client takes seconds to import, and most predictions do without.
    from prepal.label_studio.client import LabelStudio

log = logging.getLogger(__name__)

_WRITERS = (".jsonl", ".csv")


@dataclass(frozen=True)
class Threshold:
    """From which confidence on predictions are sure.

    Attributes:
        accuracy: the share of them that is wanted to be right.
        confidence: the least that is sure; None where none is.
        judged: by how many texts the model was judged; None if an older release did not keep what they say.
    """

    accuracy: float
    confidence: float | None
    judged: int | None

    def __str__(self) -> str:
        wanted = f"{self.accuracy:.1%}".replace("%", " %").replace(".0 ", " ")
        if self.judged is None:
            return (
                f"The model is of an older release, which did not keep how right it was where it was sure, so {wanted} "
                "is safe for none: fine-tune it again."
            )
        if self.confidence is None:
            return f"By the {self.judged} texts that the model was judged by, {wanted} is safe for none: label more."
        return (
            f"Sure from a confidence of {self.confidence:.3f} on: by the {self.judged} texts that the model was judged "
            f"by, {wanted} of these or more are right."
        )


@dataclass(frozen=True)
class Predictions:
    """What a model says of n texts.

    Attributes:
        labels: each text's labels, most likely first.
        confidences: `(n,)` float64, how likely each prediction is right.
        sure: `(n,)` bool; None where no accuracy was asked for.
        threshold: from where on they are sure; None likewise.
    """

    labels: list[list[str]]
    confidences: NDArray[np.float64]
    sure: NDArray[np.bool_] | None = None
    threshold: Threshold | None = None


def find_threshold(trust: Trust, logits: NDArray[np.float32], each: HowMany, accuracy: float) -> float | None:
    """The least confidence from which on predictions are right as often as wanted; None where none is.

    What is expected right among the surest texts is the mean of their confidences, as far as the judged texts let one
    trust these. So it is known of the very texts that are predicted, also where those that the model was judged by are
    harder, because they were chosen to teach.

    Args:
        trust: what the judged texts say of confidences.
        logits: `(n, k)` float32 of the texts that are predicted.
        each: how many labels a text has.
        accuracy: the share of sure predictions that is wanted to be right.
    """
    confidences = measures.confidences(logits, each)
    order = np.argsort(-confidences, kind="stable")
    ranked = confidences[order]
    # Texts that are equally sure are sure together.
    ends = np.flatnonzero(np.append(ranked[:-1] > ranked[1:], True)) if len(ranked) else np.empty(0, np.int64)
    enough = ends[trust.enough(logits, each, order, accuracy)[ends]]
    return float(ranked[enough[-1]]) if len(enough) else None


class Predictor:
    """A model that `prepal finetune` wrote to a folder.

    Raises:
        PrepalError: there is none that can be read.
    """

    def __init__(self, folder: Path) -> None:
        try:
            said: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
            data = said["data"]
            self.fields = TextFields.remembered(data)
            self.choice: str | None = str(data.get("choice") or "") or None
            self.version = f"PRepAL fine-tuned {str(said['fingerprint'])[:8]}"
            # An older release kept neither this nor `how_many`.
            self._trust = Trust.from_json(said["trust"]) if "trust" in said else None
            self._judged = int(said["judged_by"]["texts"])
            how_many: HowMany | None = data.get("how_many")
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise PrepalError(
                f"{folder} has no {FILE} that can be read ({error}): give a folder that `prepal finetune` wrote."
            ) from error
        counts_words = (folder / word_counts.FILE).exists()
        self.model = WordCounts.load(folder) if counts_words else SequenceModel(str(folder))
        self.label_names = self.model.label_names
        self.how_many: HowMany = how_many or ("any" if self.model.multilabel else "one")

    def predict(self, texts: Sequence[Text], accuracy: float | None = None) -> Predictions:
        """Labels of texts, and which of them are sure enough for an accuracy."""
        logits = self.model.logits(texts)
        given = measures.given(logits, self.how_many)
        likeliest = np.argsort(-logits, axis=1, kind="stable")
        labels = [[self.label_names[c] for c in order if row[c]] for row, order in zip(given, likeliest, strict=True)]
        confidences = measures.confidences(logits, self.how_many)
        if accuracy is None:
            return Predictions(labels, confidences)
        least = None if self._trust is None else find_threshold(self._trust, logits, self.how_many, accuracy)
        sure = confidences >= (np.inf if least is None else least)
        return Predictions(
            labels, confidences, sure, Threshold(accuracy, least, None if self._trust is None else self._judged)
        )

    def texts(self, rows: Iterable[Row], name: str) -> list[Text]:
        """The texts of a file's rows, from the fields that the model learnt from.

        Raises:
            PrepalError: a row has none of them.
        """
        texts: list[Text] = []
        for place, row in enumerate(rows, start=1):
            data = data_of(row)
            text = self.fields.text(data)
            if text is None:
                raise PrepalError(
                    f"{name} row {place} has no text in {named(self.fields.names)}, which the model learnt from: name "
                    f"its fields so (found: {named(sorted(leaves(data))) or 'none'})."
                )
            texts.append(text)
        return texts


def predict_file(predictor: Predictor, content: bytes, name: str, out: Path, accuracy: float | None) -> Predictions:
    """Label the texts of a file; writes its rows with `predicted`, `confidence` and, with an accuracy, `sure`.

    Raises:
        PrepalError: the file cannot be read, or `out` not be written.
    """
    if out.suffix.lower() not in _WRITERS:
        raise PrepalError(f"{out} is of a kind that cannot be written: give a name ending in .jsonl or .csv.")
    _, rows = parse_rows(content, name)
    predictions = predictor.predict(predictor.texts(rows, name), accuracy)
    several = predictor.how_many != "one"
    told = []
    for place, row in enumerate(rows):
        labels = predictions.labels[place]
        said: Row = {
            **row,
            "predicted": labels if several else labels[0],
            "confidence": round(float(predictions.confidences[place]), 4),
        }
        told.append(said if predictions.sure is None else {**said, "sure": bool(predictions.sure[place])})
    write_rows(told, out)
    return predictions


def predict_project(
    predictor: Predictor, label_studio: "LabelStudio", project: int, config: LabelConfig, accuracy: float | None
) -> tuple[Predictions, int]:
    """Label a project's unlabelled tasks, as predictions in Label Studio with their confidence. Safe to repeat.

    Returns:
        What was predicted, and how many tasks were left out because they have no text.

    Raises:
        PrepalError: the project has other labels than the model.
    """
    place = {label: config.place(label) for label in predictor.label_names}
    strangers = sorted(label for label in place if place[label] is None)
    if strangers:
        raise PrepalError(
            f"Project {project} has no choice {strangers[0]!r}, which the model gives: use a model that was "
            "trained on its labels."
        )
    done = {annotation.task for annotation in label_studio.annotations(project).values() if not annotation.skipped}
    if label_studio.has_predictions(project, predictor.version):
        done |= {
            p["task"] for p in label_studio.predictions(project=project) if p["model_version"] == predictor.version
        }
    tasks = [t for page in label_studio.tasks(project) for t in page if int(t["id"]) not in done]
    # A text is what the project's config shows; it does not say which two fields are a pair.
    fields = predictor.fields if predictor.fields.pair else TextFields.of(config)
    texts = {int(task["id"]): text for task in tasks if (text := fields.text(task["data"]))}
    predictions = predictor.predict(list(texts.values()), accuracy)
    told = [
        {
            "task": task,
            "result": config.result([p for label in labels if (p := place[label]) is not None], confidence),
            "score": round(confidence, 4),
            "model_version": predictor.version,
        }
        for task, labels, confidence in zip(texts, predictions.labels, predictions.confidences.tolist(), strict=True)
    ]
    if told:
        label_studio.create_predictions(project, told)
    log.info("project %d: %d predictions of version %s", project, len(told), predictor.version)
    return predictions, len(tasks) - len(texts)
