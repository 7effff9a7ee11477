"""How long the whole round of a project takes, part by part, beside its refit and ranking alone.

Redis, the project and the round are the live loop's own; vectors are made up and read from no cache, and Label Studio
takes no time. Refit and ranking are timed in the same process, in turns with the rounds.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import redis
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from benchmarks import own_redis, storage
from benchmarks.sections import GOAL_HEADER, Goal, end, table, told, write_section
from benchmarks.storage import Record
from benchmarks.texts import make_up
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.order import tail_is_due
from prepal.label_studio.publish import TAIL_LOW
from prepal.labels.events import Annotation
from prepal.learner import round as rounds
from prepal.learner.fitting import Choosing
from prepal.learner.memory.memory import Memory
from prepal.learning.active_learner import ActiveLearner
from prepal.learning.numerics.threads import one_blas_thread
from prepal.project import Info, Project
from prepal.vectors import VectorTable

FIRST, LAST = 100, 130
"""Labels in the first round, which is a warm-up, and in the last one."""
CHOICES = "ABCD"
TIMES_ALONE = 1.3
_CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="topic" toName="text">'
    + "".join(f'<Choice value="{choice}"/>' for choice in CHOICES)
    + "</Choices></View>"
)
_LEXICAL_LENGTH = 0.8
_AT_ONCE = 50_000
_FILE = "round.json"
# Beside the round's own parts.
_AFTER, _WHOLE, _ALONE = "after", "whole", "alone"
_PARTS = {
    "load": "load: what is new of tasks and vectors",
    "fit": "fit: labels, and the classifier",
    "rank": "rank: scores of the pool, and its order",
    "publish": "publish: the ranking to Redis, the head to Label Studio",
    "note": "note: how much has changed, and the record",
    _AFTER: "after it: whether tasks lack a prediction",
    _WHOLE: "the whole round",
    _ALONE: "refit and ranking alone",
}
_PACKAGES = ("prepal-label-studio", "numpy", "redis")


class NoTable:
    """Stands for the vector cache: has one vector for each text, in the order in which they were embedded.

    Args:
        vectors: `(n, d)` float16.
        ids: `(n,)`, the text of each as a number.
        uri: a folder, where the terms of texts would be.
    """

    name = encoder = "made up"

    def __init__(self, vectors: NDArray[np.float16], ids: NDArray[np.int64], uri: str) -> None:
        self.uri = uri
        self._vectors = vectors
        self._rows = np.argsort(ids)

    def load(self, ids: NDArray[np.bytes_]) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """See `VectorTable`."""
        return self._rows, self._vectors[: len(ids)]

    def find(self, ids: list[str]) -> tuple[NDArray[np.bool_], NDArray[np.float16]]:
        """Choices have no names here."""
        return np.zeros(len(ids), bool), np.zeros((len(ids), self._vectors.shape[1]), np.float16)


class NoLabelStudio:
    """Takes every prediction, at once."""

    def update_prediction(self, prediction: int, body: dict[str, Any]) -> None:
        """See `LabelStudio`."""


@click.command()
@click.option("--texts", default=1_000_000, show_default=True, help="tasks of the project, each with a text of its own")
def main(texts: int) -> None:
    """Time whole rounds; writes results/round.json and RESULTS.md."""
    console = Console(stderr=True)
    environment = storage.environment(_PACKAGES)
    with tempfile.TemporaryDirectory() as folder, own_redis.running() as url, one_blas_thread():
        console.print(f"making up {texts:,} texts")
        make_up(Path(folder), texts, len(CHOICES))
        measured = _measure(
            redis.Redis.from_url(url),
            np.load(Path(folder) / "float16.npy"),
            np.load(Path(folder) / "labels.npy"),
            folder,
        )
    stored = {"environment": environment, "texts": texts, "rounds": len(measured), **_summary(measured)}
    storage.write_json(_FILE, stored)
    end(write(stored), console)


def _measure(
    connection: redis.Redis, vectors: NDArray[np.float16], labels: NDArray[np.int64], folder: str
) -> list[Record]:
    """What each round took, in seconds: by part, as a whole, and refit and ranking alone.

    Args:
        connection: to an empty Redis.
        vectors: `(n, d)` of the texts.
        labels: `(n,)`.
        folder: without a table of terms.
    """
    ids = np.random.default_rng(0).permutation(len(vectors))
    project = _project(connection, ids)
    memory, table, choosing = Memory(), cast(VectorTable, NoTable(vectors, ids, folder)), Choosing("auto", 0.1)
    memory.refresh(project, table)
    _make_up_words(memory)
    label_studio = cast(LabelStudio, NoLabelStudio())
    labelled = np.random.default_rng(1).permutation(len(vectors))[:FIRST].tolist()
    _label(project, [task + 1 for task in labelled], labels[labelled])
    alone = ActiveLearner(len(CHOICES), choosing.strategy)
    found: list[Record] = []
    for count in track(range(FIRST, LAST + 1), console=Console(stderr=True)):
        began = time.perf_counter()
        record = rounds.run(project, memory, table, label_studio, choosing)
        whole_s = time.perf_counter() - began
        assert record is not None
        assert (record.labels, record.ranked) == (count, len(vectors) - count)
        began = time.perf_counter()
        assert not tail_is_due(project, record.ranked, more_come=False)
        after_s = time.perf_counter() - began
        alone_s = _alone(alone, vectors, labelled, labels, len(record.head))
        if count > FIRST:
            found.append({**record.seconds, _AFTER: after_s, _WHOLE: whole_s + after_s, _ALONE: alone_s})
        labelled.append(record.head[0] - 1)
        _label(project, record.head[:1], labels[labelled[-1:]], first=len(labelled))
    return found


def _make_up_words(memory: Memory) -> None:
    """Fill in lexical vectors as short as those of short texts are, as if the terms of all texts had been there."""
    memory.words.lacks = False
    rng, beside = np.random.default_rng(2), memory.matrix.beside
    for start in range(0, len(beside), _AT_ONCE):
        part = beside[start : start + _AT_ONCE]
        part[:] = rng.standard_normal(part.shape, np.float32) * (_LEXICAL_LENGTH / np.sqrt(part.shape[1]))


def _alone(
    learner: ActiveLearner,
    vectors: NDArray[np.float16],
    labelled: list[int],
    labels: NDArray[np.int64],
    head: int,
) -> float:
    """Seconds of refit, scores of the whole pool and a head, of a pool that lies in memory as one piece."""
    mask = np.ones(len(vectors), bool)
    mask[labelled] = False
    pool = vectors[mask]
    learnt = vectors[labelled].astype(np.float32)
    began = time.perf_counter()
    learner.fit(learnt, labels[labelled], pool)
    learner.select(pool, head, np.random.default_rng(1), learner.predict_proba(pool))
    return time.perf_counter() - began


def _project(connection: redis.Redis, ids: NDArray[np.int64]) -> Project:
    """A project of tasks from 1 on that are all embedded, and have a prediction each.

    Args:
        connection: to Redis.
        ids: `(n,)`, the text of each task as a number.
    """
    project = Project(connection, 1)
    project.register()
    project.set_info(Info(label_config=_CONFIG, connected=True))
    project.score_floor = TAIL_LOW
    for start in track(range(0, len(ids), _AT_ONCE), "filling Redis", console=Console(stderr=True)):
        tasks = range(start + 1, min(start + _AT_ONCE, len(ids)) + 1)
        texts = [f"{number:032x}" for number in ids[start : start + _AT_ONCE].tolist()]
        project.put_tasks(dict(zip(tasks, texts, strict=True)), {})
        project.add_vectors(texts)
        project.predictions.put(dict(zip(tasks, tasks, strict=True)))
    return project


def _label(project: Project, tasks: list[int], labels: NDArray[np.int64], first: int = 1) -> None:
    """Annotate tasks, with annotations from a first number on."""
    moment = "2026-01-01T00:00:00+00:00"
    project.put_annotations(
        {
            number: Annotation(task, 1, moment, False, False, {"topic": [CHOICES[label]]})
            for number, (task, label) in enumerate(zip(tasks, labels.tolist(), strict=True), start=first)
        }
    )


def _summary(measured: list[Record]) -> Record:
    seconds = {part: sorted(one[part] for one in measured) for part in measured[0]}
    return {
        "times_alone": round(statistics.median(one[_WHOLE] / one[_ALONE] for one in measured), 3),
        "median_s": {part: round(statistics.median(took), 4) for part, took in seconds.items()},
        "fastest_s": {part: round(took[0], 4) for part, took in seconds.items()},
        "slowest_s": {part: round(took[-1], 4) for part, took in seconds.items()},
    }


def write(stored: Record) -> list[Goal]:
    """Write the section of RESULTS.md; returns its goals."""
    texts, fastest, slowest = stored["texts"], stored["fastest_s"], stored["slowest_s"]
    what = f"whole round at {texts:,} texts: times refit and ranking alone"
    goals = [Goal(what, stored["times_alone"], TIMES_ALONE, at_least=False)]
    rows = [
        [_PARTS[part], f"{median:.3f}", f"{fastest[part]:.3f} … {slowest[part]:.3f}"]
        for part, median in stored["median_s"].items()
    ]
    text = "\n\n".join(
        [
            "## The whole round",
            f"`python -m benchmarks.loop.whole_round --texts {texts}` · {told(stored['environment'], _PACKAGES)}",
            f"A project of {texts:,} tasks, vectors of 384 numbers, {len(CHOICES)} choices, {FIRST} labels and one "
            f"more for each of {stored['rounds']} rounds; auto, a tenth of audit tasks. Redis is real and keeps an "
            "append-only file, Label Studio takes no time, and vectors lie in memory in the order of their tasks, as "
            "when they came in it. Refit and ranking alone are what the section on speed and memory "
            "measures; here they take turns with the rounds, in the same process and on the same labels.",
            table(GOAL_HEADER, [goal.row() for goal in goals]),
            table(["part", "median, s", "from … to"], rows),
        ]
    )
    write_section(text, "benchmarks.loop.whole_round")
    return goals


if __name__ == "__main__":
    main()
