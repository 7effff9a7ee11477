"""How often the accuracy's 95 % interval holds the truth: many projects, labelled by the live loop's own code.

Each is a project in a Redis of its own, with rounds as the learner runs them; only Label Studio is left out, because
nothing is published before there is a tail. The truth is the accuracy on texts that the project might have had as well:
those of the set's training texts that it was not given. Its test texts may be of another kind, as trec6's are.
"""

import os
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast
from xml.sax.saxutils import quoteattr

import click
import numpy as np
import redis
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn
from scipy.stats import binomtest

from benchmarks import own_redis, storage
from benchmarks.fingerprint import fingerprint
from benchmarks.labelled_sets import CACHE, TextSet, embed_sets, read_set
from benchmarks.sections import GOAL_HEADER, Goal, end, table, told, write_section
from benchmarks.storage import Lines, Record
from prepal.label_studio.client import LabelStudio
from prepal.labels.events import Annotation
from prepal.learner import judging
from prepal.learner import round as rounds
from prepal.learner.fitting import Choosing
from prepal.learner.memory.memory import Memory
from prepal.learning.classifiers.label_names import name_text
from prepal.project import Info, Project
from prepal.vectors import TermTable, VectorTable, text_id

SETS = ("ag_news", "trec6", "banking77", "sms_spam")
COUNTS = (100, 200, 300)
POOL = 2000
ROWS = Lines(storage.FOLDER / "coverage.jsonl", ("set", "names", "labels", "run"))
_LEAST, _MOST = 0.93, 0.98
_FILE = "coverage.json"
# What a project's labels and figures rest on.
_CODE = (
    "ActiveLearner",
    "auto.STRATEGY",
    "alike",
    "estimate_accuracy",
    "audit_priority",
    "by_lot",
    "interleave_audit",
)
_PACKAGES = ("prepal-label-studio", "numpy", "scikit-learn")


@click.group()
def main() -> None:
    """Measure how often the interval holds the truth, and write RESULTS.md."""


@main.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--cache", default=CACHE, show_default=True, help="the vector cache")
@click.option("--sets", default=",".join(SETS), show_default=True, help="which sets, separated by commas")
@click.option("--runs", default=100, show_default=True, help="projects of each set, with names and without")
@click.option("--jobs", default=2, show_default=True, help="projects at a time")
def run(data: Path, cache: str, sets: str, runs: int, jobs: int) -> None:
    """Label projects; what was run before by the same code is kept."""
    console = Console(stderr=True)
    storage.FOLDER.mkdir(exist_ok=True)
    code = fingerprint(_CODE)
    known = {row[:2] + row[3:] for row, record in ROWS.read().items() if record["code"] == code}
    wanted = [
        (name, names, number)
        for number in range(runs)
        for name in sets.split(",")
        for names in (True, False)
        if (name, names, number) not in known
    ]
    environment = storage.environment(_PACKAGES)
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        embed_sets(data, cache, sets.split(","), progress)
        bar = progress.add_task("projects", total=len(wanted))
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as processes:
            running = [processes.submit(label, data / name, cache, names, n, code) for name, names, n in wanted]
            for ended in as_completed(running):
                for record in ended.result():
                    ROWS.append(record)
                progress.advance(bar)
    ROWS.compact()
    storage.write_json(_FILE, {"environment": environment, "runs": runs})
    end(write(), console)


@main.command()
def report() -> None:
    """Write RESULTS.md from what was measured before."""
    end(write(), Console(stderr=True))


def label(folder: Path, cache: str, names: bool, number: int, code: str) -> list[Record]:
    """Label one project, and return what its figures say at each count of labels, and what is true."""
    texts = read_set(folder, cache)
    rng = np.random.default_rng((number, names))
    with own_redis.running() as url, tempfile.TemporaryDirectory() as vectors:
        connection = redis.Redis.from_url(url)
        places = rng.permutation(len(texts.train_labels))
        project, table, truth = _project(connection, vectors, texts, names, places[:POOL], rng)
        memory, choosing = Memory(), Choosing("auto", 0.1)
        records: list[Record] = []
        while True:
            record = rounds.run(project, memory, table, cast(LabelStudio, None), choosing)
            assert record is not None
            if record.labels in COUNTS:
                evidence = judging.evidence(project, memory, table, choosing)
                assert evidence is not None
                records.append({**_figures(evidence, memory, texts, places[POOL:]), "labels": record.labels})
                if record.labels == COUNTS[-1]:
                    break
            # As many as are served before the next round, but no count is passed over.
            room = next(count for count in COUNTS if count > record.labels) - record.labels
            project.put_annotations({task: _annotation(task, truth[task]) for task in record.head[:room]})
    return [{"set": folder.name, "names": names, "run": number, "code": code, **record} for record in records]


def _project(
    connection: redis.Redis,
    folder: str,
    texts: TextSet,
    names: bool,
    chosen: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[Project, VectorTable, dict[int, str]]:
    """A project of some of the texts, embedded; and the label of each of its tasks."""
    table = VectorTable(folder, "encoder")
    # Without names: none of the words of these choices has a vector.
    choices = [f"choice {c}" for c in range(texts.train.n_classes)]
    if names:
        assert texts.train.name_vectors is not None
        table.append([text_id(name_text(c)) for c in choices], texts.train.name_vectors.astype(np.float16))
    ids = [text_id(str(place)) for place in chosen]
    table.append(ids, texts.train.vectors[chosen])
    TermTable(folder).append({key: texts.texts[place] for key, place in zip(ids, chosen.tolist(), strict=True)})
    inner = "".join(f"<Choice value={quoteattr(choice)}/>" for choice in choices)
    xml = f'<View><Text name="t" value="$t"/><Choices name="topic" toName="t">{inner}</Choices></View>'
    project = Project(connection, 1 + int(rng.integers(2**31)))
    project.register()
    project.set_info(Info(label_config=xml))
    tasks = range(1, POOL + 1)
    project.put_tasks(dict(zip(tasks, ids, strict=True)), {})
    project.add_vectors(ids)
    return project, table, {task: choices[texts.train_labels[at]] for task, at in zip(tasks, chosen, strict=True)}


def _annotation(task: int, choice: str) -> Annotation:
    return Annotation(task, 1, "2026-01-01T00:00:00+00:00", False, False, {"topic": [choice]})


def _figures(evidence: judging.Evidence, memory: Memory, texts: TextSet, others: NDArray[np.int64]) -> Record:
    """The accuracy that the project page would tell, and the true one on the other texts."""
    assert memory.learner is not None
    figures = judging.judge(evidence)
    words = memory.words.of_texts([texts.texts[place] for place in others.tolist()])
    predicted = memory.learner.predict_proba(np.hstack([texts.train.vectors[others], words]).astype(np.float32))
    true = None if predicted is None else round(float((predicted.argmax(1) == texts.train_labels[others]).mean()), 4)
    accuracy: dict[str, Any] = {} if figures.accuracy is None else asdict(figures.accuracy)
    return {"true": true, **{name: round(accuracy[name], 4) for name in accuracy}}


def write() -> list[Goal]:
    """Write the section of RESULTS.md; returns its goals."""
    rows = [record for record in ROWS.read().values() if record["true"] is not None and "low" in record]
    stored = storage.read_json(_FILE)
    if not rows or stored is None:
        return []
    cells, goals = [], []
    for name in SETS:
        for names in (True, False):
            of = [row for row in rows if row["set"] == name and row["names"] == names]
            if not of:
                continue
            title = f"{name}, {'names' if names else 'no names'}"
            share = _covered(of)
            goals += [
                Goal(f"{title}: holds the truth", share, _LEAST, at_least=True, digits=3),
                Goal(f"{title}: holds the truth", share, _MOST, at_least=False, digits=3),
            ]
            for labels in COUNTS:
                cells.append(
                    [name, "yes" if names else "no", str(labels), *_cell([r for r in of if r["labels"] == labels])]
                )
    header = ["set", "names", "labels", "projects", "audit tasks", "true", "estimated", "holds the truth", "± 95 %"]
    text = "\n\n".join(
        [
            "## The accuracy's interval",
            f"`python -m benchmarks.loop.coverage run --data FOLDER --runs {stored['runs']}` · "
            f"{told(stored['environment'], _PACKAGES)}",
            f"Projects of {POOL:,} texts, labelled by the live loop's own rounds (auto, a tenth of audit tasks). "
            "Estimated is what the project page says of the classifier, true its accuracy on the set's other training "
            "texts; the interval is the page's 95 % interval.",
            table(GOAL_HEADER, [goal.row() for goal in goals]),
            table(header, cells, text_columns=2),
        ]
    )
    write_section(text, "benchmarks.loop.coverage")
    return goals


def _cell(rows: list[Record]) -> list[str]:
    if not rows:
        return ["0", *[""] * 5]
    holds = [row["low"] <= row["true"] <= row["high"] for row in rows]
    interval = binomtest(sum(holds), len(holds)).proportion_ci(method="wilson")
    mean = {name: float(np.mean([row[name] for row in rows])) for name in ("true", "estimate", "audit_tasks")}
    return [
        str(len(rows)),
        f"{mean['audit_tasks']:.1f}",
        f"{mean['true']:.3f}",
        f"{mean['estimate']:.3f}",
        f"{np.mean(holds):.3f}",
        f"{interval.low:.3f} … {interval.high:.3f}",
    ]


def _covered(rows: list[Record]) -> float:
    held: NDArray[np.bool_] = np.array([row["low"] <= row["true"] <= row["high"] for row in rows])
    return float(held.mean())


if __name__ == "__main__":
    main()
