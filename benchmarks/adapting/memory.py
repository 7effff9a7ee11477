"""How much memory the adapt worker takes of small and of large projects."""

import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import redis

from benchmarks import own_redis
from benchmarks.adapting.live import texts_of
from benchmarks.choosing.process import memory_mb
from benchmarks.labelled_sets import ENCODER
from benchmarks.sections import table
from benchmarks.storage import Record
from prepal.label_studio.client import LabelStudio
from prepal.labels.events import Annotation
from prepal.project import Info, Project

SIZES = 10_000, 1_000_000
_LABELS, _AT_ONCE = 100, 50_000


class _Texts:
    """Stands for Label Studio: task n has the n-th text, and begins anew where there are no more."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def whole_tasks(self, _: int, tasks: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
        """See `LabelStudio`."""
        yield [{"id": task, "data": {"text": self._texts[task % len(self._texts)]}} for task in tasks]


def run(folder: Path, labels: int = _LABELS) -> list[Record]:
    """Adapt the encoder of a project of each size, each in a process of its own."""
    found = []
    for size in SIZES:
        with own_redis.running() as url, tempfile.TemporaryDirectory() as vectors:
            arguments = url, vectors, folder, size, labels
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found.append(pool.apply(_measure, arguments))
    return found


def _measure(url: str, vectors: str, folder: Path, size: int, labels: int) -> Record:
    # As `prepal worker adapt` does: loaded when something is to be trained.
    from prepal_workers.adapt.project import adapt_project

    answers = texts_of(folder, 5000)
    choices = sorted(set(answers.values()))
    texts, project = list(answers), Project(redis.Redis.from_url(url), 1)
    project.register()
    shown = "".join(f'<Choice value="{choice}"/>' for choice in choices)
    config = f'<View><Text name="text" value="$text"/><Choices name="c" toName="text">{shown}</Choices></View>'
    project.set_info(Info(label_config=config, connected=True))
    for start in range(0, size, _AT_ONCE):
        project.put_tasks({task + 1: f"{task:032x}" for task in range(start, min(start + _AT_ONCE, size))}, {})
    labelled = (np.random.default_rng(0).permutation(size)[:labels] + 1).tolist()
    moment = "2026-01-01T00:00:00+00:00"
    said = {task: [answers[texts[task % len(texts)]]] for task in labelled}
    project.put_annotations(
        {place: Annotation(task, 1, moment, False, False, {"c": said[task]}) for place, task in enumerate(labelled, 1)}
    )
    before = memory_mb("VmHWM")
    tried = adapt_project(project, cast(LabelStudio, _Texts(texts)), ENCODER, vectors)
    assert tried is not None
    peak = memory_mb("VmHWM")
    return {"texts": size, "labels": labels, "loaded_mb": before, "peak_mb": peak, "seconds": tried.seconds}


def section(stored: Sequence[Record]) -> str:
    """What was measured."""
    columns = ("texts", "loaded_mb", "peak_mb", "seconds")
    rows = [[f"{of[column]:,.0f}" for column in columns] for of in stored]
    return "\n\n".join(
        (
            "### Memory of the adapt worker",
            "`python -m benchmarks.adapting memory --data FOLDER`: resident at most, before a training, with torch, and"
            f" after it; {stored[0]['labels']} labels of trec6.",
            table(["texts of the project", "before, MB", "at most, MB", "seconds"], rows),
        )
    )
