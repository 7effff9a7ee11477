"""How accurate a classifier is after each batch that a strategy chose: every strategy, several sets and seeds."""

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import storage
from benchmarks.choosing.contestants import ours, peers
from benchmarks.choosing.contestants.contestant import OURS, Contestant
from benchmarks.choosing.contestants.entry import enter
from benchmarks.choosing.contestants.ours import MISLED, WITH_NAMES
from benchmarks.choosing.process import Job, measure
from benchmarks.fingerprint import fingerprint
from benchmarks.labelled_sets import TextSet, embed_sets, read_set
from benchmarks.storage import Lines, Record
from benchmarks.texts import Texts, make_up
from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.labels import NothingToLearn
from prepal.learning.numerics.float16 import Vectors
from prepal_workers.simulate import successors

BATCH, BUDGET = 10, 300
# A set of many classes, where only the default and random labels are measured, up to more labels.
MANY_CLASSES, MANY_CLASSES_BUDGET = "banking77", 1000
CURVES = Lines(storage.FOLDER / "quality.jsonl", ("set", "library", "strategy", "seed"))
TRIALS = "trials.json"

# After so many labels a successor learns from them alone.
TAUGHT = (100, 300)

# A peer's strategy takes part if it chooses a batch from so many texts within so long: its 25 experiments are an hour
# at most then.
LIMIT_S, _TRIAL_TEXTS, _TRIAL_CLASSES, _TRIAL_LABELS = 5.0, 10_000, 6, (0, 100, 110, 120)
_TRIAL_CPU_S, _TRIAL_MEMORY_MB = 60, 8000
# Two experiments at a time on two cores: more threads would only wait for each other.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

_ON_MANY_CLASSES = {Contestant(OURS, name) for name in (WITH_NAMES, MISLED, "auto", "random")}


def run(data: Path, cache: str, sets: Sequence[str], seeds: int, jobs: int, only: str, console: Console) -> None:
    """Run what is missing in results/quality.jsonl.

    Args:
        data: has a folder for each set; see `labelled_sets.read_set`.
        cache: the vector cache.
        sets: their names.
        seeds: how many experiments of each strategy on each set.
        jobs: how many experiments at a time.
        only: part of the names of the strategies to run; empty for all.
        console: for the progress bar.
    """
    storage.FOLDER.mkdir(exist_ok=True)
    with Progress(*Progress.get_default_columns()[:2], MofNCompleteColumn(), console=console) as progress:
        embed_sets(data, cache, sets, progress)
    who = [*ours.contestants(), *taking_part(console)]
    known = {key: record["code"] for key, record in CURVES.read().items()}
    # Ours first, and each side seed by seed, so that what an interrupted run has is balanced.
    wanted = [
        (name, contestant, seed)
        for seed in range(seeds)
        for contestant in who
        for name in sets
        if only.lower() in str(contestant).lower()
        and (name != MANY_CLASSES or contestant in _ON_MANY_CLASSES)
        and known.get((name, contestant.library, contestant.strategy, seed)) != _code(contestant)
    ]
    wanted.sort(key=lambda one: (one[1].library != OURS, one[0] == MANY_CLASSES, one[2]))
    environment = storage.environment()
    os.environ.update(_ONE_THREAD)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console) as progress,
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as processes,
    ):
        bar = progress.add_task("experiments", total=len(wanted))
        running = [processes.submit(experiment, data / name, cache, *rest) for name, *rest in wanted]
        try:
            for ended in as_completed(running):
                CURVES.append(ended.result())
                progress.advance(bar)
        except BaseException:
            processes.shutdown(cancel_futures=True)
            raise
    CURVES.compact()
    storage.write_json("quality.json", {"environment": environment, "seeds": seeds})


def measured_before() -> set[Contestant]:
    """Return of whom some result was measured with other code of ours than today's."""
    each = ((Contestant(one["library"], one["strategy"]), one["code"]) for one in CURVES.read().values())
    return {who for who, code in each if code != _code(who)}


def counts(name: str) -> list[int]:
    """Return after how many labels accuracy is measured on a set."""
    return list(range(BATCH, (MANY_CLASSES_BUDGET if name == MANY_CLASSES else BUDGET) + 1, BATCH))


def taking_part(console: Console) -> list[Contestant]:
    """Return the peers' strategies that run on vectors and are quick enough, trying those that were not tried yet."""
    now = storage.environment()
    versions = {library: now[library] for library in (peers.SCIKIT_ACTIVEML, peers.SMALL_TEXT)}
    stored = storage.read_json(TRIALS)
    if stored is None or stored["versions"] != versions:
        stored = {"versions": versions, "limit_s": LIMIT_S, "trials": {}}
    trials: dict[str, Record] = stored["trials"]
    untried = [peer for peer in peers.contestants() if str(peer) not in trials]
    if untried:
        with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
            make_up(Path(folder), _TRIAL_TEXTS, _TRIAL_CLASSES)
            for peer in progress.track(untried, description="trying the peers' strategies"):
                limits = {"memory_limit_mb": _TRIAL_MEMORY_MB, "cpu_limit_s": _TRIAL_CPU_S}
                counts = list(_TRIAL_LABELS)
                job = Job(peer.library, peer.strategy, folder, _TRIAL_CLASSES, BATCH, counts, **limits)
                measured = measure(job, _ONE_THREAD)
                seconds = round(float(np.median(measured.seconds)), 3) if measured.seconds else None
                trials[str(peer)] = {"seconds": seconds, "error": measured.error}
                storage.write_json(TRIALS, stored)
    return [peer for peer in peers.contestants() if _is_quick(trials[str(peer)])]


def left_out() -> dict[str, str]:
    """Return which of the peers' strategies do not take part, and why."""
    stored = storage.read_json(TRIALS)
    trials = stored["trials"] if stored else {}
    slow = {
        name: trial["error"] or f"{trial['seconds']:.1f} s for a batch"
        for name, trial in trials.items()
        if not _is_quick(trial)
    }
    return slow | peers.LEFT_OUT


def experiment(folder: Path, cache: str, contestant: Contestant, seed: int) -> Record:
    """Run one experiment on the set in a folder; returns its record.

    `plain` are the test accuracies of scikit-learn's logistic regression with C = 10 after each batch, `ours` those of
    our classifier on the same labels, with lexical vectors, and with the classes' names where the strategy has them;
    `words` those of a successor that counts words, after 100 and 300 labels. Peers see the encoder's vectors alone.
    """
    warnings.simplefilter("ignore")  # the peers' concern classes that have no label yet
    texts = _read(folder, cache)
    truth, vectors, hybrid = texts.train_labels, texts.train.vectors, texts.hybrid.vectors
    seen_by = texts.hybrid if contestant.library == OURS else texts.train
    own_copy = Texts(seen_by.vectors.copy(), seen_by.n_classes, seen_by.name_vectors)
    chooser = enter(contestant, own_copy, seed)
    # Ours learn what they are scored by anyway; a peer's choices are shown to one that does not choose.
    learner = chooser.learner if isinstance(chooser, ours.Own) else ActiveLearner(texts.train.n_classes, "random")
    labelled = np.empty(0, np.int64)
    accuracies: dict[str, list[float]] = {"ours": []} if folder.name == MANY_CLASSES else {"plain": [], "ours": []}
    words: list[float] = []
    took = 0.0
    for _ in counts(folder.name):
        began = time.perf_counter()
        chosen = chooser.choose(labelled, truth[labelled], BATCH)
        took += time.perf_counter() - began
        labelled = np.concatenate([labelled, chosen])
        if len(np.unique(labelled)) != len(labelled):
            raise ValueError(f"{contestant} chose a text twice.")
        labels = truth[labelled]
        for name, curve in accuracies.items():
            if name == "plain":
                predicted = _plain(vectors[labelled].astype(np.float32), labels, texts)
            else:
                predicted = _ours(learner, hybrid, labelled, labels, texts)
            curve.append(round(float((predicted == texts.test_labels).mean()), 4))
        if len(labelled) in TAUGHT:
            seen, k = texts.words, texts.train.n_classes
            believed = successors.predicted(seen.train[labelled], labels, seen.test, k)
            words.append(round(float((believed.argmax(axis=1) == texts.test_labels).mean()), 4))
    return {
        "set": folder.name,
        "library": contestant.library,
        "strategy": contestant.strategy,
        "seed": seed,
        "code": _code(contestant),
        "seconds": round(took / len(counts(folder.name)), 4),
        **accuracies,
        "words": words,
    }


def _plain(vectors: NDArray[np.float32], labels: NDArray[np.int64], texts: TextSet) -> NDArray[np.int64]:
    if len(np.unique(labels)) < 2:
        return np.full(len(texts.test), labels[0])
    return np.asarray(peers.logistic_regression().fit(vectors, labels).predict(texts.test), np.int64)


def _ours(
    learner: ActiveLearner, vectors: Vectors, labelled: NDArray[np.int64], labels: NDArray[np.int64], texts: TextSet
) -> NDArray[np.int64]:
    try:
        learner.fit(vectors[labelled].astype(np.float32), labels, np.delete(vectors, labelled, axis=0))
    except NothingToLearn:  # all labels are of one class
        return np.full(len(texts.test), labels[0])
    probabilities = learner.predict_proba(texts.hybrid_test)
    assert probabilities is not None
    return probabilities.argmax(axis=1)


def _is_quick(trial: Record) -> bool:
    return not trial["error"] and trial["seconds"] <= LIMIT_S


@lru_cache
def _code(contestant: Contestant) -> str:
    """What our classifier's accuracies rest on, and our strategy's choices."""
    strategy = [f"{contestant.strategy.partition(',')[0]}.STRATEGY"] if contestant.library == OURS else []
    return fingerprint(["ActiveLearner", *strategy])


_read: Callable[[Path, str], TextSet] = lru_cache(read_set)
