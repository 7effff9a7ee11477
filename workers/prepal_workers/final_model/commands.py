"""`prepal finetune` and `prepal predict`: what they read, and what they tell."""

import contextlib
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from prepal.decoding import decoded
from prepal.errors import PrepalError
from prepal.files import Row, check_depth, parse_rows, read_file
from prepal.labels import label_config
from prepal.settings import Settings
from prepal_workers.final_model import finetune as finetuning
from prepal_workers.final_model.predict import Predictor, predict_file, predict_project
from prepal_workers.labelled.exports import config_of
from prepal_workers.labelled.raw_texts import read_texts
from prepal_workers.labelled.read import read_labelled
from prepal_workers.training.bar import Bar
from prepal_workers.training.recipe import Wishes

if TYPE_CHECKING:
    from prepal.label_studio.client import LabelStudio

_STANDARD_INPUT = "-"


def finetune(
    export: str | None,
    project: int | None,
    model: str,
    out: Path,
    settings: Settings,
    console: Console,
    *,
    audits: Collection[int] = (),
    choice: str | None = None,
    fields: Sequence[str] = (),
    pair: bool | None = None,
    seed: int = 0,
    resume: bool = False,
    onnx: bool = False,
    unlabelled: str | None = None,
    config: Path | None = None,
    **wishes: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """Train on an export, or straight on a project; returns what `metrics.json` has; `wishes` are fields of `Wishes`.

    More texts without a label may be in the file `unlabelled`, and the label config of an export in the file `config`.

    Raises:
        PrepalError: nothing can be learnt from it, or the model or the folder cannot be used.
    """
    read = partial(read_labelled, choice=choice, fields=fields, pair=pair)
    if project is None:
        assert export is not None
        given = None if config is None else config_of(decoded(read_file(config), str(config)), choice)
        data = read(_rows_of(export), _name(export), config=given)
    else:
        with _label_studio(settings) as label_studio:
            own = config_of(label_studio.project(project)["label_config"], choice)
            tasks = label_studio.export(project)
            annotated = {task["id"] for task in tasks}
            others = (task for page in label_studio.tasks(project) for task in page if task["id"] not in annotated)
            tasks = [*tasks, *({**task, "annotations": []} for task in others)]
        name = f"project {project}"
        check_depth(tasks, name)
        data = read(tasks, name, config=own, audits=audits)
    if unlabelled is not None:
        more = read_texts(_read(unlabelled), _name(unlabelled), data, fields=fields)
        data = replace(data, unlabelled=[*data.unlabelled, *more])
    for line in data.summary():
        console.print(line, markup=False)
    metrics = finetuning.finetune(
        *(data, model, out, console),
        wishes=Wishes(**wishes),
        encoder=settings.prepal_encoder,
        seed=seed,
        resume=resume,
        onnx=onnx,
    )
    accuracy = metrics.accuracy
    console.print(
        f"Accuracy {accuracy.estimate:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f}), macro-F1 "
        f"{metrics.macro_f1:.3f}; always the most frequent answer: {metrics.majority_accuracy:.3f}."
    )
    console.print(f"The model is in {out}; {out / 'README.md'} tells about it.", markup=False)
    return metrics.to_json()


def predict(
    model: Path,
    source: str | None,
    out: Path | None,
    project: int | None,
    threshold: float | None,
    settings: Settings,
    console: Console,
) -> dict[str, Any]:
    """Label a file's texts or a project's unlabelled tasks; returns how many, and how many are sure.

    Raises:
        PrepalError: the model, the file or the project cannot be used.
    """
    predictor = Predictor(model)
    with Bar(console) as bar:
        predictor.model.on_read = bar.read
        if source is not None and out is not None:
            predictions, without = predict_file(predictor, _read(source), _name(source), out, threshold), 0
            where = str(out)
        else:
            assert project is not None
            with _label_studio(settings) as label_studio:
                xml = label_studio.project(project)["label_config"]
                config = config_of(xml, predictor.choice) or label_config.parse(xml)
                predictions, without = predict_project(predictor, label_studio, project, config, threshold)
            where = f"Label Studio as predictions of version {predictor.version!r}"
    safe = predictions.threshold
    if safe:
        console.print(str(safe), markup=False)
    sure = None if predictions.sure is None else int(predictions.sure.sum())
    marked = "" if sure is None else f", {sure} of them sure"
    left_out = f"; {without} tasks without a text are left out" if without else ""
    console.print(f"{len(predictions.labels)} texts labelled{marked}, in {where}{left_out}.", markup=False)
    return {
        "labelled": len(predictions.labels),
        "sure": sure,
        "without_text": without,
        "threshold": safe and {"accuracy": safe.accuracy, "confidence": safe.confidence},
    }


def _label_studio(settings: Settings) -> "contextlib.closing[LabelStudio]":
    # Its client takes seconds to import, and a file does without.
    from prepal.label_studio.client import LabelStudio

    return contextlib.closing(LabelStudio(settings.label_studio_url, settings.label_studio_api_key))


def _rows_of(path: str) -> bytes | list[Row]:
    """What is in a file; of a folder, as target storage is one, the rows of all its files."""
    if path == _STANDARD_INPUT or not Path(path).is_dir():
        return _read(path)
    files = sorted(file for file in Path(path).iterdir() if file.is_file() and not file.name.startswith("."))
    rows = [row for file in files for row in parse_rows(read_file(file), str(file))[1]]
    if not rows:
        raise PrepalError(f"{path} has no files: give an export, or the folder of a target storage.")
    return rows


def _read(path: str) -> bytes:
    return sys.stdin.buffer.read() if path == _STANDARD_INPUT else read_file(Path(path))


def _name(path: str) -> str:
    return "standard input" if path == _STANDARD_INPUT else path
