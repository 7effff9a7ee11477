"""How often what is told of the accuracy, and of labels needed, holds: many projects, labelled by the live loop's code.

Each is a project in a Redis of its own, with rounds as the learner runs them; only Label Studio is left out, because
nothing is published before there is a tail. The truth is the accuracy on texts that the project might have had as well:
those of the set's training texts that it was not given. Its test texts may be of another kind, as trec6's are. Beside
the interval stands the one that the audit tasks have by themselves: exact, of the share of them that was right.
"""

import os
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import cast
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
from prepal.learning.quality.interval import share_interval
from prepal.project import Info, Project
from prepal.vectors import TermTable, VectorTable, text_id

SETS = ("ag_news", "trec6", "sst2_sentences", "tweeteval_emotion", "banking77", "sms_spam")
COUNTS = (100, 200, 300)
POOL, _OTHERS = 2000, 3000
ROWS = Lines(storage.FOLDER / "coverage.jsonl", ("set", "names", "labels", "run"))
_LEAST, _MOST = 0.93, 0.98
# At so many labels the interval is to have this part of the width that audit tasks have by themselves.
_NARROWER, _NARROWER_AT = 0.6, (100, 300)
# At so many labels it is foretold how many this part of the last accuracy takes; so often it is to be in the band.
_MOST_OF_IT, _FORETOLD_AT, _OFTEN = 0.95, 100, 0.8
_FILE = "coverage.json"
# What a project's labels and figures rest on.
_CODE = (
    "ActiveLearner",
    "auto.STRATEGY",
    "alike",
    "Curve",
    "estimate_accuracy",
    "looking_back",
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
        accuracies: dict[int, float] = {}
        others = _Others(texts, places[POOL:])
        while True:
            record = rounds.run(project, memory, table, cast(LabelStudio, None), choosing)
            assert record is not None
            if (true := others.accuracy(memory)) is not None:
                accuracies[record.labels] = true
            if record.labels in COUNTS:
                evidence = judging.evidence(project, memory, table, choosing)
                assert evidence is not None
                records.append({"labels": record.labels, "true": true, **_figures(evidence)})
                if record.labels == COUNTS[-1]:
                    break
            # As many as are served before the next round, but no count is passed over.
            room = next(count for count in COUNTS if count > record.labels) - record.labels
            project.put_annotations({task: _annotation(task, truth[task]) for task in record.head[:room]})
    needed = _needed(accuracies)
    return [
        {"set": folder.name, "names": names, "run": number, "code": code, "needed": needed, **record}
        for record in records
    ]


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


class _Others:
    """Texts that the project was not given, as its memory sees them."""

    def __init__(self, texts: TextSet, places: NDArray[np.int64]) -> None:
        self._texts, self._places = texts, places[:_OTHERS]
        self._seen: tuple[object, NDArray[np.float32]] = (None, texts.train.vectors[:0].astype(np.float32))

    def accuracy(self, memory: Memory) -> float | None:
        """The classifier's accuracy on them; None while it predicts nothing."""
        assert memory.learner is not None
        # The space of words is seldom another one.
        if self._seen[0] != memory.words.state:
            words = memory.words.of_texts([self._texts.texts[place] for place in self._places.tolist()])
            vectors = np.hstack([self._texts.train.vectors[self._places], words]).astype(np.float32)
            self._seen = (memory.words.state, vectors)
        predicted = memory.learner.predict_proba(self._seen[1])
        if predicted is None:
            return None
        return round(float((predicted.argmax(axis=1) == self._texts.train_labels[self._places]).mean()), 4)


def _figures(evidence: judging.Evidence) -> Record:
    """What the project page would tell of the accuracy, and how many labels most of the last one takes."""
    accuracy = judging.judge(evidence).accuracy
    if accuracy is None:
        return {}
    alone = share_interval(accuracy.audit_right * accuracy.audit_tasks, accuracy.audit_tasks)
    found = {**asdict(accuracy), "alone_low": alone[0], "alone_high": alone[1]}
    curve = judging.curve(evidence, judging.prior_before_labels(evidence))
    band = {f"needed_{name}": value for name, value in asdict(curve.until_part(_MOST_OF_IT, COUNTS[-1])).items()}
    return {name: round(value, 4) for name, value in {**found, **band}.items()}


def _needed(accuracies: dict[int, float]) -> float:
    """How many labels most of the last accuracy took, interpolated."""
    counts, reached = np.array(list(accuracies)), np.array(list(accuracies.values()))
    wanted = _MOST_OF_IT * reached[-1]
    at = int(np.flatnonzero(reached >= wanted)[0])
    return float(np.interp(wanted, reached[at - 1 : at + 1], counts[at - 1 : at + 1]) if at else counts[0])


def write() -> list[Goal]:
    """Write the section of RESULTS.md; returns its goals."""
    rows = [record for record in ROWS.read().values() if record["true"] is not None and "low" in record]
    stored = storage.read_json(_FILE)
    if not rows or stored is None:
        return []
    sets = [name for name in SETS if any(row["set"] == name for row in rows)]
    goals = [goal for of in [None, *sets] for goal in _goals(of, [r for r in rows if of in (None, r["set"])])]
    told_early = [row for row in rows if row["labels"] == _FORETOLD_AT]
    foretold = [_foretold(name, [row for row in told_early if row["set"] == name]) for name in sets]
    in_band = float(np.mean([_in_band(row) for row in told_early]))
    goals.append(Goal(f"labels needed are in the band of {_FORETOLD_AT} labels", in_band, _OFTEN, at_least=True))
    cells = []
    for name, names, labels in product(sets, (True, False), COUNTS):
        of = [row for row in rows if (row["set"], row["names"], row["labels"]) == (name, names, labels)]
        if of:
            cells.append([name, "yes" if names else "no", str(labels), *_cell(of)])
    header = ["set", "names", "labels", "projects", "audit tasks", "true", "estimated"]
    header += ["holds the truth", "± 95 %", "width", "alone: holds", "alone: width"]
    text = "\n\n".join(
        [
            "## The accuracy's interval",
            f"`python -m benchmarks.loop.coverage run --data FOLDER --runs {stored['runs']}` · "
            f"{told(stored['environment'], _PACKAGES)}",
            f"Projects of {POOL:,} texts, labelled by the live loop's own rounds (auto, a tenth of audit tasks). "
            "Estimated is what the project page says of the classifier, true its accuracy on up to "
            f"{_OTHERS:,} of the set's other training texts; the interval is the page's 95 % interval. Alone: the "
            "exact interval of the share of the audit tasks that was right, which the page told before. Narrower: the "
            "mean width, as a part of that one's.",
            table(GOAL_HEADER, [goal.row() for goal in goals]),
            table(header, cells, text_columns=2),
            "### Labels needed, foretold",
            f"With {_FORETOLD_AT} labels of the same projects: how many it takes for {100 * _MOST_OF_IT:.0f} % of the "
            f"accuracy that there is with {COUNTS[-1]}, and its 90 % band; means over the projects.",
            table(["set", "projects", "low", "about", "high", "true", "in the band"], foretold),
        ]
    )
    write_section(text, "benchmarks.loop.coverage")
    return goals


def _goals(name: str | None, rows: list[Record]) -> list[Goal]:
    """How often the interval holds the truth, and its width, on a set or on all."""
    share, title = _covered(rows), name or "all sets"
    goals = [
        Goal(f"{title}: holds the truth", share, _LEAST, at_least=True, digits=3),
        Goal(f"{title}: holds the truth", share, _MOST, at_least=False, digits=3),
    ]
    for labels in _NARROWER_AT:
        of = [row for row in rows if row["labels"] == labels]
        part = _width(of) / _width(of, "alone_")
        goals.append(Goal(f"{title}, {labels} labels: narrower", part, _NARROWER, at_least=False))
    return goals


def _cell(rows: list[Record]) -> list[str]:
    held = round(_covered(rows) * len(rows))
    interval = binomtest(held, len(rows)).proportion_ci(method="wilson")
    mean = {name: float(np.mean([row[name] for row in rows])) for name in ("true", "estimate", "audit_tasks")}
    return [
        str(len(rows)),
        f"{mean['audit_tasks']:.1f}",
        f"{mean['true']:.3f}",
        f"{mean['estimate']:.3f}",
        f"{_covered(rows):.3f}",
        f"{interval.low:.3f} … {interval.high:.3f}",
        f"{_width(rows):.3f}",
        f"{_covered(rows, 'alone_'):.3f}",
        f"{_width(rows, 'alone_'):.3f}",
    ]


def _foretold(name: str, rows: list[Record]) -> list[str]:
    mean = [float(np.mean([row[f"needed{end}"] for row in rows])) for end in ("_low", "_about", "_high", "")]
    return [name, str(len(rows)), *(f"{labels:.0f}" for labels in mean), str(sum(map(_in_band, rows)))]


def _in_band(row: Record) -> bool:
    return bool(row["needed_low"] <= row["needed"] <= row["needed_high"])


def _covered(rows: list[Record], which: str = "") -> float:
    return float(np.mean([row[f"{which}low"] <= row["true"] <= row[f"{which}high"] for row in rows]))


def _width(rows: list[Record], which: str = "") -> float:
    return float(np.mean([row[f"{which}high"] - row[f"{which}low"] for row in rows]))


if __name__ == "__main__":
    main()
