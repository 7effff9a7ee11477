"""`prepal simulate`: from two files to results, a report, and a table on the screen."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prepal.errors import PrepalError, cause
from prepal.learner.memory.words import lexical_vectors
from prepal.learning import strategies
from prepal.learning.classifiers.label_names import name_text
from prepal_workers.encoder.cached import embed
from prepal_workers.model.word_counts import WORD_COUNTS
from prepal_workers.simulate import report
from prepal_workers.simulate.dataset import Dataset, load
from prepal_workers.simulate.experiment import WORDS, Setting
from prepal_workers.simulate.grid import rows_of, run_all, set_apart
from prepal_workers.simulate.presets import PRESETS
from prepal_workers.simulate.successors import LOGISTIC, OWN_NAMES, Features, words
from prepal_workers.simulate.vectors import Vectors
from prepal_workers.simulate.word_counts import word_counts
from prepal_workers.training.bar import Bar

_CLASSIFIERS = ("logistic", "network", "finetune")
_POSSIBLE_SUCCESSORS = f"{', '.join(OWN_NAMES)}, the folder of an encoder, or its name on the hub"
# What the options are where neither the command line nor a preset says.
_DEFAULTS = {"pool": None, "budget": 300, "batch_size": [10], "seeds": 5}


def simulate(
    train: Path,
    test: Path,
    out: Path,
    console: Console,
    *,
    cache: str,
    encoder: str,
    jobs: int,
    preset: str | None,
    given: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Run experiments; returns the table of labels needed.

    Args:
        train: labelled texts of the pool.
        test: labelled texts to measure on.
        out: folder for `results.jsonl`, `report.html` and `curves.png`.
        console: shows progress and the table.
        cache: the vector cache.
        encoder: the encoder of the settings.
        jobs: how many experiments run at the same time.
        preset: name of one of the paper's experiments.
        given: options of the command line; those that were not given are absent.

    Raises:
        PrepalError: a file or an option cannot be used.
    """
    options = {**_DEFAULTS, **(PRESETS[preset].options if preset else {}), **given}
    dataset = load(train, test, options["pool"])
    settings = _settings(options, preset, encoder)
    _check(settings, dataset)
    successors = list(dict.fromkeys(options.get("successor", ())))
    _check_successors(successors)
    for note in dataset.notes:
        console.print(note, markup=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PrepalError(f"{out} cannot be written ({error.strerror}): choose another --out.") from error
    results = out / "results.jsonl"
    if earlier := set_apart(results, dataset):
        console.print(
            f"{results} had results of other texts, labels, models or another release: they are in {earlier} now.",
            markup=False,
        )
    needed = {s.encoder for s in settings} | {s.judge for s in settings if s.judge}
    title = f"{len(settings)} runs"
    with Bar(console) as bar:
        vectors = {name: _vectors(dataset, name, cache, bar) for name in sorted(needed)}
        bar.show("Parts of words", 0, 1)
        names = [name_text(choice) for choice in dataset.choices]
        vectors[WORDS] = Vectors(*lexical_vectors(dataset.train.texts, dataset.test.texts, names))
        sees = {name: _features(dataset, name, cache, bar) for name in successors}
        total = sum(rows_of(setting, dataset, len(sees)) for setting in settings)
        rows = run_all(settings, dataset, vectors, results, jobs, lambda done: bar.show(title, done, total), sees)
    title = f"{dataset.name}: {len(dataset.train.texts)} texts, {len(dataset.choices)} choices"
    table = report.write(rows, title, shlex.join(["prepal", *sys.argv[1:]]), out, dataset.notes)
    console.print(_table(title, table))
    if names := report.successor_names(table):
        console.print(_successor_table(names, table))
    console.print(f"{out / 'report.html'}, {out / 'curves.png'}, {results}", markup=False)
    return table


def _settings(options: Mapping[str, Any], preset: str | None, encoder: str) -> list[Setting]:
    lists = {
        "strategy": options.get("strategy", ["auto", "random"]),
        "encoder": options.get("encoder", [encoder]),
        "classifier": options.get("classifier", ["logistic"]),
        "batch_size": options["batch_size"],
    }
    grid = [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]
    common = {
        "label_names": options.get("label_names", True),
        "budget": options["budget"],
        "final_model": options.get("final_model", ""),
        "adapt": options.get("adapt", False),
    }
    if preset:
        # What a preset compares, the command line does not change.
        grid = [{**cell, **arm} for cell in grid[:1] for arm in PRESETS[preset].arms_for(lists["encoder"][0])]
    arms = [{**common, **cell} for cell in grid]
    # Random labels are what all else is held against, and whoever labels at random makes nothing of names.
    arms = [
        {**arm, "label_names": arm["label_names"] and common["label_names"] and arm["strategy"] != "random"}
        for arm in arms
    ]
    return [Setting(**{**arm, "seed": seed}) for arm in arms for seed in range(options["seeds"])]


def _check(settings: Sequence[Setting], dataset: Dataset) -> None:
    for setting in settings:
        try:
            strategy = strategies.get(setting.strategy)
        except ValueError as error:
            raise PrepalError(f"--strategy cannot be used: {error}") from error
        if dataset.multilabel and not strategy.multilabel:
            possible = ", ".join(name for name in strategies.names() if strategies.get(name).multilabel)
            raise PrepalError(
                f"The strategy {setting.strategy!r} needs a single label per text, and {dataset.name} has lists: "
                f"choose from {possible}."
            )
        if setting.classifier not in _CLASSIFIERS:
            raise PrepalError(f"There is no classifier {setting.classifier!r}: choose from {', '.join(_CLASSIFIERS)}.")
        if setting.adapt and (setting.classifier == "finetune" or setting.judge or setting.encoder == WORD_COUNTS):
            raise PrepalError(
                "--adapt trains the encoder whose vectors a quick classifier sees: leave out --classifier finetune and "
                f"--encoder {WORD_COUNTS}, or leave out --adapt."
            )


def _check_successors(successors: Sequence[str]) -> None:
    for name in successors:
        close = get_close_matches(name, OWN_NAMES, n=1)
        if name not in OWN_NAMES and close and not Path(name).is_dir():
            raise PrepalError(f"There is no successor {name!r}, did you mean {close[0]}? It is {_POSSIBLE_SUCCESSORS}.")


def _features(dataset: Dataset, successor: str, cache: str, bar: Bar) -> Features | None:
    """What a successor sees; None: the vectors, without words, of the encoder that the experiment is measured on."""
    if successor == LOGISTIC:
        return None
    parts = (dataset.train.texts, dataset.test.texts)
    if successor == WORD_COUNTS:
        return words(*parts)
    try:
        return Features(*_embedded(parts, successor, cache, bar))
    except PrepalError as error:
        why = cause(error.__cause__ or error)
        raise PrepalError(f"The successor {successor} cannot be used ({why}): it is {_POSSIBLE_SUCCESSORS}.") from error


def _vectors(dataset: Dataset, encoder: str, cache: str, bar: Bar) -> Vectors:
    names = [name_text(choice) for choice in dataset.choices]
    parts = (dataset.train.texts, dataset.test.texts, names)
    if encoder == WORD_COUNTS:
        return Vectors(*word_counts(*parts))
    return Vectors(*_embedded(parts, encoder, cache, bar))


def _embedded(parts: Sequence[Sequence[str]], encoder: str, cache: str, bar: Bar) -> list[NDArray[np.float32]]:
    title, done = f"Embedding with {report.short(encoder)}", 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        bar.show(title, done, sum(map(len, parts)))

    return [embed(part, encoder, cache, advance) for part in parts]


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "mean accuracy": lambda row: _shown(row["area"]),
        "at the end": lambda row: _shown(row["accuracy"]),
        "fine-tuned": lambda row: _shown(row["final"]),
        "labels needed": lambda row: _shown(row["needed"], 0),
        "times fewer": lambda row: _shown(row["times_fewer"], 2),
        "seconds": lambda row: f"{row['fit_s'] + row['rank_s']:.2f}",
    }
    if all(row["final"] is None for row in rows):
        del columns["fine-tuned"]
    found = Table(title=Text(title), title_justify="left")
    found.add_column("")
    for heading in columns:
        found.add_column(heading, justify="right")
    for row in rows:
        found.add_row(Text(row["arm"]), *(cell(row) for cell in columns.values()))
    return found


def _successor_table(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    has_final = any(row["final"] is not None for row in rows)
    found = Table(title="What learns from these labels alone", title_justify="left")
    found.add_column("")
    for heading in ("labels", "own classifier", *map(report.short, names), *(["fine-tuned"] if has_final else [])):
        found.add_column(Text(heading), justify="right")
    for row in rows:
        for taught in row["successors"]:
            figures = [taught["own"], *map(taught["accuracy"].get, names), *([taught["final"]] if has_final else [])]
            found.add_row(Text(row["arm"]), str(taught["labels"]), *map(_shown, figures))
    return found


def _shown(figure: float | None, digits: int = 4) -> str:
    return "" if figure is None else f"{figure:.{digits}f}"
