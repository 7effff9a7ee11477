"""Runs many experiments side by side; results are rows of a file, and what is there already is not run again."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from threading import Event, Thread
from types import MappingProxyType

from joblib import Parallel, delayed

from prepal.errors import PrepalError
from prepal.files import json_lines, write_whole
from prepal_workers.simulate.dataset import Dataset
from prepal_workers.simulate.experiment import Row, Setting, models_of, run
from prepal_workers.simulate.successors import Features, counts, teach
from prepal_workers.simulate.vectors import Vectors

_Key = tuple[object, ...]
# The progress bar looks so often at how many rows there are.
_LOOK_EVERY_S = 0.5


def set_apart(results: Path, dataset: Dataset) -> Path | None:
    """Move rows of other texts, labels, models or another release to a file beside `results`.

    Returns:
        That file; None if there were no such rows.

    Raises:
        PrepalError: the rows are of a dataset with another name, so that the folder is probably another one's.
    """
    rows = read(results)
    if other := {row["dataset"] for row in rows} - {dataset.name}:
        raise PrepalError(f"{results} has results of {min(other)}, not of {dataset.name}: choose another --out.")
    now = {"version": version("prepal-label-studio"), "data": dataset.fingerprint}
    is_old = [
        any(row.get(name) != value for name, value in now.items()) or row.get("models") != models_of(row)
        for row in rows
    ]
    if not any(is_old):
        return None
    earlier = results.with_stem(f"{results.stem}-earlier")
    _write(earlier, [*read(earlier), *(row for row, old in zip(rows, is_old, strict=True) if old)])
    _write(results, [row for row, old in zip(rows, is_old, strict=True) if not old])
    return earlier


def read(results: Path) -> list[Row]:
    """Return the rows of a results file; a last one that was cut off is left out."""
    if not results.exists():
        return []
    written = results.read_text(encoding="utf-8", errors="replace").rstrip("\n")
    last = written[written.rfind("\n") + 1 :]
    try:
        json.loads(last)
    except ValueError:
        written = written.removesuffix(last)
    rows = json_lines(written, str(results), "choose another --out")
    for number, row in rows:
        if "dataset" not in row:
            raise PrepalError(f"{results} line {number} is not a result: choose another --out.")
    return [row for _, row in rows]


def run_all(
    settings: Sequence[Setting],
    dataset: Dataset,
    vectors: Mapping[str, Vectors],
    results: Path,
    jobs: int,
    advance: Callable[[int], None],
    successors: Mapping[str, Features | None] = MappingProxyType({}),
) -> list[Row]:
    """Run what `results` does not have yet, appending its rows while it runs; returns the rows of all settings.

    Only rows of the very same texts, labels and models, and of this release, are taken for results; see `set_apart`.
    Successors are taught what earlier runs asked for, too.

    Args:
        settings: what is to be tried.
        dataset: the texts that it is tried on.
        vectors: the texts' vectors, by encoder.
        results: file of JSON lines.
        jobs: how many experiments run at the same time.
        advance: told, now and then, how many rows of `settings` there are.
        successors: what each sees; None: the encoder's vectors of whoever is measured.

    Raises:
        PrepalError: the file has results of a dataset with another name.
    """
    set_apart(results, dataset)
    there = _Complete(read(results), dataset)
    _write(results, there.rows)
    wanted = {_key(asdict(setting)): setting for setting in settings}

    def is_wanted(row: Row) -> bool:
        return _key(row) in wanted and row.get("successor", "") in ("", *successors)

    missing = [
        (setting, there.picked.get(key), lacking)
        for key, setting in wanted.items()
        if (lacking := {name: sees for name, sees in successors.items() if (key, name) not in there.taught})
        or key not in there.picked
    ]
    with _watching(results, is_wanted, advance):
        # Every experiment has one core: several side by side are faster than one on several.
        parallel = Parallel(n_jobs=min(jobs, max(len(missing), 1)), return_as="generator_unordered", max_nbytes="1M")
        for _ in parallel(delayed(_append_all)(*one, dataset, vectors, results) for one in missing):
            pass
    return [row for row in read(results) if is_wanted(row)]


def rows_of(setting: Setting, dataset: Dataset, successors: int = 0) -> int:
    """Return how many rows an experiment has, and so many successors that learn from its labels."""
    texts = len(dataset.train.texts)
    rounds = 1 + -(-min(setting.budget, texts) // setting.batch_size) + bool(setting.final_model)
    return rounds + successors * len(counts(setting.budget, setting.batch_size, texts))


class _Complete:
    """What earlier runs have done to the end.

    Attributes:
        picked: places of texts in the order in which they were labelled, by experiment.
        taught: experiments with the successors that were taught their labels.
        rows: of those alone.
    """

    def __init__(self, rows: Sequence[Row], dataset: Dataset) -> None:
        texts = len(dataset.train.texts)
        own, taught = ([row for row in rows if ("successor" in row) == is_taught] for is_taught in (False, True))
        last = [row for row in own if row["labels"] >= min(int(row["budget"]), texts)]
        done = {_key(row) for row in last if not row["final_model"] or row["phase"] == "final"}
        own = [row for row in own if _key(row) in done]
        self.picked: dict[_Key, list[int]] = {key: [] for key in done}
        for row in sorted(own, key=lambda row: int(row["round"])):
            self.picked[_key(row)] += row["picked"]
        lacking: dict[tuple[_Key, str], set[int]] = {}
        for row in taught:
            at = lacking.setdefault(_taught(row), set(counts(row["budget"], row["batch_size"], texts)))
            at.discard(row["labels"])
        self.taught = {pair for pair, left in lacking.items() if not left and pair[0] in done}
        self.rows = [row for row in rows if (_taught(row) in self.taught if "successor" in row else _key(row) in done)]


def _append_all(
    setting: Setting,
    picked: Sequence[int] | None,
    successors: Mapping[str, Features | None],
    dataset: Dataset,
    vectors: Mapping[str, Vectors],
    results: Path,
) -> None:
    """Run an experiment, if it is not known yet what is labelled in it, and then teach successors."""

    def append(rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            # One write at the end of the file: rows of experiments side by side do not mix.
            with results.open("ab", buffering=0) as file:
                file.write(_line(row))
            yield row

    if picked is None:
        picked = [place for row in append(run(setting, dataset, vectors)) for place in row["picked"]]
    for name, sees in successors.items():
        judging = vectors[setting.judge or setting.encoder]
        features = sees or Features(judging.train, judging.test)
        list(append(teach(name, features, setting, dataset, picked)))


def _key(row: Mapping[str, object]) -> _Key:
    return tuple(row[field.name] for field in fields(Setting))


def _taught(row: Row) -> tuple[_Key, str]:
    return _key(row), row["successor"]


def _line(row: Row) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _write(results: Path, rows: Sequence[Row]) -> None:
    write_whole(results, b"".join(map(_line, rows)))


@contextlib.contextmanager
def _watching(results: Path, is_wanted: Callable[[Row], bool], advance: Callable[[int], None]) -> Iterator[None]:
    """Tell how many rows there are while others write them."""
    done = Event()

    def count() -> None:
        with contextlib.suppress(PrepalError):
            advance(sum(map(is_wanted, read(results))))

    def watch() -> None:
        while not done.wait(_LOOK_EVERY_S):
            count()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        count()
