"""Labelled texts for experiments."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.files import numbered_rows, read_file
from prepal.learning.classifiers.decisions import marks
from prepal.records import readable
from prepal_workers.labelled.data_files import is_plain
from prepal_workers.labelled.fields import TextFields
from prepal_workers.labelled.read import read_labelled
from prepal_workers.labelled.wording import marked, named, same_labels, words_of

_PAIR = ("text_a", "text_b")
# Each of their rows has a line, by which it can be told.
_NUMBERED = (".csv", ".tsv", ".jsonl")
# Which texts `pool` takes depends on the texts alone, so that all seeds and arms choose from the same ones.
_POOL_SEED = 0


@dataclass(frozen=True)
class Labelled:
    """Texts with their labels.

    Attributes:
        texts: n texts; the two of a pair are joined by a line feed.
        labels: `(n,)` int64, or `(n, k)` bool if multilabel.
    """

    texts: Sequence[str]
    labels: NDArray[np.int64] | NDArray[np.bool_]

    def at(self, places: NDArray[np.int64]) -> "Labelled":
        """The texts at some places."""
        return Labelled([self.texts[place] for place in places], self.labels[places])


@dataclass(frozen=True)
class Dataset:
    """A pool whose labels are only looked at when a strategy asks for them, and texts to measure on.

    Attributes:
        name: the name of the pool's folder or file.
        choices: the k names of the labels, sorted.
        multilabel: whether a text may have several.
        train: the pool.
        test: what accuracy is measured on.
        notes: sentences on what the reader should know.
    """

    name: str
    choices: Sequence[str]
    multilabel: bool
    train: Labelled
    test: Labelled
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that another text, label or order would change."""
        said = [self.choices, *((list(part.texts), part.labels.tolist()) for part in (self.train, self.test))]
        return hashlib.blake2b(json.dumps(said).encode(), digest_size=8).hexdigest()


def load(train: Path, test: Path, pool: int | None = None) -> Dataset:
    """Read what `read` reads, for an experiment: no text of the pool is measured on, and the pool may be a part.

    Of that, only `pool` texts are taken then, drawn at random and with all of its labels.

    Raises:
        PrepalError: a file cannot be used, or has another kind of labels than the other one.
    """
    return _drawn(_apart(read(train, test), train, test), train, pool)


def read(train: Path, test: Path) -> Dataset:
    """Read the pool and what to measure on: JSONL or CSV files with `text` (or `text_a` and `text_b`) and `label`.

    In JSONL, `label` may be a list. Of other files, all that `finetune` would learn from is taken.

    Raises:
        PrepalError: a file cannot be used, or has another kind of labels than the other one.
    """
    rows, test_rows = _rows(train), _rows(test)
    if any(isinstance(label, str) for _, label in (*rows, *test_rows)):
        rows, test_rows = _single(rows), _single(test_rows)
    multilabel = isinstance(rows[0][1], list)
    for path, part in ((train, rows), (test, test_rows)):
        if any(isinstance(label, list) != multilabel for _, label in part):
            raise PrepalError(f"{path} mixes single labels and lists of labels: write one kind in both files.")
    given, tested = (
        [[str(name) for name in (label if multilabel else [label])] for _, label in part] for part in (rows, test_rows)
    )
    # Lists of one each are single labels.
    multilabel = any(len(names) != 1 for names in (*given, *tested))
    same = same_labels(name for names in given for name in names)
    choices = sorted(set(same.values()))
    if len(choices) < 2:
        raise PrepalError(f"{train} has the label {named(choices) or '(none)'} only: two are needed.")
    same_in_test = same_labels((name for names in tested for name in names), choices)
    unknown = set(same_in_test.values()) - set(choices)
    if unknown:
        raise PrepalError(f"{test} has the label {min(unknown)!r}, which {train} has not: use the same labels in both.")

    def labelled(part: Sequence[tuple[str, Any]], names: Sequence[Sequence[str]], same: Mapping[str, str]) -> Labelled:
        chosen = marked(names, same, choices)
        return Labelled([text for text, _ in part], chosen if multilabel else chosen.argmax(axis=1).astype(np.int64))

    name = readable(train.parent.name if train.stem == "train" and train.parent.name else train.stem)
    return Dataset(name, choices, multilabel, labelled(rows, given, same), labelled(test_rows, tested, same_in_test))


def _apart(dataset: Dataset, train: Path, test: Path) -> Dataset:
    """Without the texts of the pool that are measured on: a model may not know them."""
    measured = set(map(words_of, dataset.test.texts))
    kept = np.array([p for p, text in enumerate(dataset.train.texts) if words_of(text) not in measured], np.int64)
    left_out = len(dataset.train.texts) - len(kept)
    if not left_out:
        return dataset
    both = f"{left_out} of the {len(dataset.train.texts)} texts of {train} are in {test} too"
    part = dataset.train.at(kept)
    lost = ~marks(part.labels, len(dataset.choices)).any(axis=0)
    if lost.any():
        label = dataset.choices[int(lost.argmax())]
        raise PrepalError(f"{both}, and no other one has the label {label!r}: give other texts to measure on.")
    return replace(dataset, train=part, notes=(*dataset.notes, f"{both}: they are left out of the pool."))


def _drawn(dataset: Dataset, train: Path, pool: int | None) -> Dataset:
    """With a part of the pool that has about the same share of each label, and at least one text of each."""
    texts, k = len(dataset.train.texts), len(dataset.choices)
    if pool is None or pool >= texts:
        return dataset
    has = marks(dataset.train.labels, k)
    frequency = has.sum(axis=0)
    order = np.random.default_rng(_POOL_SEED).permutation(texts)
    chosen = np.zeros(texts, bool)
    for label in np.argsort(frequency, kind="stable"):
        own = order[has[order, label]]
        if not chosen[own].any():
            chosen[own[0]] = True
    more = pool - int(chosen.sum())
    if more < 0:
        raise PrepalError(f"--pool {pool} is too few for the {k} labels of {train}: take {int(chosen.sum())} or more.")
    rest = order[~chosen[order]]
    rarest = np.where(has[rest], frequency, texts + 1).argmin(axis=1)
    rest = rest[np.argsort(rarest, kind="stable")]
    chosen[rest[np.arange(more) * len(rest) // max(more, 1)]] = True
    return replace(dataset, train=dataset.train.at(np.flatnonzero(chosen)))


def _rows(path: Path) -> list[tuple[str, Any]]:
    """Texts with the name of the label, or the names."""
    numbered = numbered_rows(path) if path.suffix.lower() in _NUMBERED else []
    if not is_plain([row for _, row in numbered]) or path.suffix.lower() not in _NUMBERED:
        return _of_any_file(path)
    for line, row in numbered:
        fields = [*(_PAIR if _PAIR[0] in row else ("text",)), "label"]
        lacking = [name for name in fields if row.get(name) is None]
        if lacking:
            raise PrepalError(f"{path} line {line} has no {lacking[0]!r}: every line needs {' and '.join(fields)}.")
    if not numbered:
        raise PrepalError(f"{path} has no rows: give labelled texts.")
    rows = [row for _, row in numbered]
    pairs, texts = ([row for row in rows if (_PAIR[0] in row) is pair] for pair in (True, False))
    readers = {
        pair: TextFields.find(some, str(path), _PAIR if pair else ("text",), pair=False)
        for pair, some in ((True, pairs), (False, texts))
        if some
    }
    return [(str(readers[_PAIR[0] in row].text(row) or ""), row["label"]) for row in rows]


def _single(rows: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The same with names, where each has a list of one."""
    if not all(isinstance(label, list) and len(label) == 1 for _, label in rows):
        return rows
    return [(text, label[0]) for text, label in rows]


def _of_any_file(path: Path) -> list[tuple[str, Any]]:
    data = read_labelled(read_file(path), str(path), learnable=False)
    texts = [text if isinstance(text, str) else "\n".join(text) for text in data.texts]
    names = [[data.label_names[place] for place in np.flatnonzero(row)] for row in data.marks]
    return [(text, given if data.multilabel else given[0]) for text, given in zip(texts, names, strict=True)]
