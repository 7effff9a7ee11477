"""Runs many experiments side by side; results are rows of a file, and what is there already is not run again."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from threading import Event, Thread

from joblib import Parallel, delayed

from prepal.errors import PrepalError
from prepal.files import json_lines, write_whole
from prepal_workers.simulate.dataset import Dataset
from prepal_workers.simulate.experiment import Row, Setting, Vectors, models_of, run

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
) -> list[Row]:
    """Run what `results` does not have yet, appending its rows while it runs; returns the rows of all settings.

    Only rows of the very same texts, labels and models, and of this release, are taken for results; see `set_apart`.

    Args:
        settings: what is to be tried.
        dataset: the texts that it is tried on.
        vectors: the texts' vectors, by encoder.
        results: file of JSON lines.
        jobs: how many experiments run at the same time.
        advance: told, now and then, how many rows of `settings` there are.

    Raises:
        PrepalError: the file has results of a dataset with another name.
    """
    set_apart(results, dataset)
    kept = read(results)
    texts = len(dataset.train.texts)
    last = (row for row in kept if row["labels"] >= min(int(row["budget"]), texts))
    complete = {_key(row) for row in last if not row["final_model"] or row["phase"] == "final"}
    _write(results, [row for row in kept if _key(row) in complete])
    wanted = {_key(asdict(setting)): setting for setting in settings}
    missing = [setting for key, setting in wanted.items() if key not in complete]
    with _watching(results, set(wanted), advance):
        # Every experiment has one core: several side by side are faster than one on several.
        parallel = Parallel(n_jobs=min(jobs, max(len(missing), 1)), return_as="generator_unordered", max_nbytes="1M")
        for _ in parallel(delayed(_append_all)(setting, dataset, vectors, results) for setting in missing):
            pass
    return [row for row in read(results) if _key(row) in wanted]


def rows_of(setting: Setting, dataset: Dataset) -> int:
    """Return how many rows an experiment has."""
    budget = min(setting.budget, len(dataset.train.texts))
    return 1 + -(-budget // setting.batch_size) + bool(setting.final_model)


def _append_all(setting: Setting, dataset: Dataset, vectors: Mapping[str, Vectors], results: Path) -> None:
    for row in run(setting, dataset, vectors):
        # One write at the end of the file: rows of experiments side by side do not mix.
        with results.open("ab", buffering=0) as file:
            file.write(_line(row))


def _key(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row[field.name] for field in fields(Setting))


def _line(row: Row) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _write(results: Path, rows: Sequence[Row]) -> None:
    write_whole(results, b"".join(map(_line, rows)))


@contextlib.contextmanager
def _watching(results: Path, wanted: set[tuple[object, ...]], advance: Callable[[int], None]) -> Iterator[None]:
    """Tell how many rows there are while others write them."""
    done = Event()

    def count() -> None:
        with contextlib.suppress(PrepalError):
            advance(sum(_key(row) in wanted for row in read(results)))

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
