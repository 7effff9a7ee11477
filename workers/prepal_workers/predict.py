"""A fine-tuned model → labels for texts that have none."""

import csv
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.label_config import LabelConfig, UnembeddableError
from prepal_workers import measures
from prepal_workers.exports import Row, parse_rows
from prepal_workers.finetune import METRICS
from prepal_workers.sequence_model import SequenceModel
from prepal_workers.text_fields import Text, text_of

if TYPE_CHECKING:
    # Its client takes seconds to import, and most predictions do without.
    from prepal.label_studio import LabelStudio

log = logging.getLogger(__name__)

_WRITERS = (".jsonl", ".csv")


@dataclass(frozen=True)
class Threshold:
    """From which confidence on predictions are sure.

    Attributes:
        accuracy: the one that is wanted.
        confidence: the least that is sure; None where none is.
        judged: by how many texts the model was judged.
    """

    accuracy: float
    confidence: float | None
    judged: int

    def __str__(self) -> str:
        wanted = f"{self.accuracy:.1%}".replace("%", " %").replace(".0 ", " ")
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
        labels: of each text, most likely first.
        confidences: `(n,)` float64, how likely each prediction is right.
        sure: `(n,)` bool; None where no accuracy was asked for.
        threshold: from where on they are sure; None likewise.
    """

    labels: list[list[str]]
    confidences: NDArray[np.float64]
    sure: NDArray[np.bool_] | None = None
    threshold: Threshold | None = None


def find_threshold(confidences: NDArray[np.float64], careful: NDArray[np.float64], accuracy: float) -> float | None:
    """The least confidence from which on predictions are right as often as wanted; None where none is.

    What is expected right among the surest texts is the mean of their confidences. So it is known of the very texts
    that are predicted, also where those that the model was judged by are harder, because they were chosen to teach.

    Args:
        confidences: `(n,)`, of the texts that are predicted.
        careful: `(n,)`, the same by the highest temperature that the judged texts leave possible.
        accuracy: the one that is wanted.
    """
    order = np.argsort(-confidences, kind="stable")
    ranked = confidences[order]
    expected = np.cumsum(careful[order]) / np.arange(1, len(order) + 1)
    # Texts that are equally sure are sure together.
    ends = np.flatnonzero(np.append(ranked[:-1] > ranked[1:], True)) if len(ranked) else np.empty(0, np.int64)
    enough = ends[expected[ends] >= accuracy]
    return float(ranked[enough[-1]]) if len(enough) else None


class Predictor:
    """A model that `prepal finetune` wrote.

    Args:
        folder: where it lies.

    Raises:
        PrepalError: there is none.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.metrics: dict[str, Any] = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise PrepalError(
                f"{folder} has no {METRICS} that can be read ({error}): give a folder that `prepal finetune` wrote."
            ) from error
        self._model = SequenceModel.load(folder)
        self.label_names = self._model.label_names
        self.how_many: measures.HowMany = self.metrics["data"]["how_many"]
        self.on_read: Callable[[int, int], None] | None = None
        self.version = f"PRepAL fine-tuned {self.metrics['fingerprint'][:8]}"

    def predict(self, texts: Sequence[Text], accuracy: float | None = None) -> Predictions:
        """Labels of texts, and which of them are sure enough for an accuracy; `on_read` is told how far it is."""
        if self.on_read:
            self._model.on_read = self.on_read
        logits = self._model.logits(texts)
        given = measures.decide(logits, self.how_many)
        likeliest = np.argsort(-logits, axis=1, kind="stable")
        labels = [[self.label_names[c] for c in order if row[c]] for row, order in zip(given, likeliest, strict=True)]
        confidences = measures.confidences(logits, self.how_many)
        if accuracy is None:
            return Predictions(labels, confidences)
        said = self.metrics["calibration"]
        # The fitted temperature is in the weights already.
        more = np.float32(said["highest_temperature"] / said["temperature"])
        least = find_threshold(confidences, measures.confidences(logits / more, self.how_many), accuracy)
        sure = confidences >= (np.inf if least is None else least)
        return Predictions(
            labels, confidences, sure, Threshold(accuracy, least, int(self.metrics["judged_by"]["texts"]))
        )

    def texts(self, rows: Iterable[Row], name: str) -> list[Text]:
        """The texts of a file's rows, from the fields that the model learnt from.

        Raises:
            PrepalError: a row has none of them.
        """
        said = self.metrics["data"]
        fields, pairs = [field.removeprefix("$") for field in said["fields"]], said["pairs"]
        texts: list[Text] = []
        for place, row in enumerate(rows, start=1):
            data = row.get("data")
            text = text_of(data if isinstance(data, dict) else row, fields, pairs)
            if text is None:
                raise PrepalError(
                    f"{name} row {place} has no text in {' + '.join(fields)}, which the model learnt from: name its "
                    "fields so."
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
    try:
        _, rows = parse_rows(content.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        raise PrepalError(f"{name} is not UTF-8 (byte {error.start}): save it as UTF-8.") from error
    found = predictor.predict(predictor.texts(rows, name), accuracy)
    several = predictor.how_many != "one"
    told = []
    for place, row in enumerate(rows):
        labels = found.labels[place]
        said: Row = {
            **row,
            "predicted": labels if several else labels[0],
            "confidence": round(float(found.confidences[place]), 4),
        }
        told.append(said if found.sure is None else {**said, "sure": bool(found.sure[place])})
    partial = out.with_name(out.name + ".partial")
    try:
        partial.write_text(_csv(told) if out.suffix.lower() == ".csv" else _jsonl(told), encoding="utf-8")
        partial.replace(out)
    except OSError as error:
        raise PrepalError(f"{out} cannot be written ({error.strerror}): choose another --out.") from error
    return found


def predict_project(
    predictor: Predictor, label_studio: "LabelStudio", project: int, config: LabelConfig, accuracy: float | None
) -> tuple[Predictions, int]:
    """Label a project's unlabelled tasks, as predictions in Label Studio with their confidence. Safe to repeat.

    Returns:
        What was predicted, and how many tasks were left out because they have no text.

    Raises:
        PrepalError: the project has other labels than the model.
    """
    strangers = set(predictor.label_names) - set(config.choices)
    if strangers:
        raise PrepalError(
            f"Project {project} has no choice {sorted(strangers)[0]!r}, which the model gives: use a model that was "
            "trained on its labels."
        )
    done = {annotation.task for annotation in label_studio.annotations(project).values() if not annotation.skipped}
    if label_studio.has_predictions(project, predictor.version):
        done |= {
            p["task"] for p in label_studio.predictions(project=project) if p["model_version"] == predictor.version
        }
    tasks = [t for page in label_studio.tasks(project) for t in page if int(t["id"]) not in done]
    known, texts, without = [], [], 0
    pairs = predictor.metrics["data"]["pairs"]
    fields = [field.removeprefix("$") for field in predictor.metrics["data"]["fields"]]
    for task in tasks:
        try:
            text = text_of(task["data"], fields, pairs) if pairs else config.text(task["data"])
        except UnembeddableError:
            text = None
        if text is None:
            without += 1
        else:
            known.append(int(task["id"]))
            texts.append(text)
    found = predictor.predict(texts, accuracy)
    index = {choice: place for place, choice in enumerate(config.choices)}
    predictions = [
        {
            "task": task,
            "result": config.result([index[label] for label in found.labels[place]], float(found.confidences[place])),
            "score": round(float(found.confidences[place]), 4),
            "model_version": predictor.version,
        }
        for place, task in enumerate(known)
    ]
    if predictions:
        label_studio.create_predictions(project, predictions)
    log.info("project %d: %d predictions of version %s", project, len(predictions), predictor.version)
    return found, without


def _jsonl(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _csv(rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    written = StringIO(newline="")
    writer = csv.DictWriter(written, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {c: json.dumps(v, ensure_ascii=False) if isinstance(v, list | dict) else v for c, v in row.items()}
        )
    return written.getvalue()
