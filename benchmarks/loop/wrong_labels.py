"""How many wrong labels that were planted are among the first that are suspected; and in a tab of a real Label Studio.

`run` plants them in labels of several sets and judges these as the live loop does. `live` does it in a Label Studio of
its own, reads the tab that whoever leads the labelling sees, mends the labels by Label Studio's API, and times how long
each task stays in the tab.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import click
import httpx
import numpy as np
import redis
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from benchmarks import storage
from benchmarks.fingerprint import fingerprint
from benchmarks.labelled_sets import CACHE, TextSet, embed_sets, read_set
from benchmarks.sections import GOAL_HEADER, Goal, end, table, told, write_section
from benchmarks.storage import Lines, Record
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.connect import connect
from prepal.label_studio.tabs import TITLES, is_fresh
from prepal.learning.active_learner import prior_of
from prepal.learning.quality.folds import alike
from prepal.learning.quality.label_issues import second_opinion
from prepal.machine.up import running
from prepal.project import Project
from prepal.queues.requests import mark, request_sync
from prepal.settings import Settings
from prepal_workers.simulate.dataset import read

SETS = ("ag_news", "trec6", "sms_spam", "banking77", "sst2_sentences", "tweeteval_emotion")
LABELS, PLANTED, FIRST, OTHERS = 400, 20, 20, 600
LEAST_FOUND, MOST_S = 14, 5.0
_ROWS = Lines(storage.FOLDER / "wrong_labels.jsonl", ("set", "seed"))
_FILE = "wrong_labels.json"
_CODE = ("second_opinion", "prior_of", "alike")
_PACKAGES = ("prepal-label-studio", "numpy", "scikit-learn", "cleanlab")
_ENOUGH_S, _POLL_S = 600.0, 0.05


@click.group()
def main() -> None:
    """Measure how well wrong labels are found, and write RESULTS.md."""


_data = click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)


@main.command()
@_data
@click.option("--cache", default=CACHE, show_default=True, help="the vector cache")
@click.option("--sets", default=",".join(SETS), show_default=True, help="which sets, separated by commas")
@click.option("--seeds", default=10, show_default=True, help="draws of each set")
def run(data: Path, cache: str, sets: str, seeds: int) -> None:
    """Plant wrong labels in random ones of each set, and look for them; what the same code measured is kept."""
    console, code = Console(stderr=True), fingerprint(_CODE)
    known = {key for key, row in _ROWS.read().items() if row["code"] == code}
    environment = storage.environment(_PACKAGES)
    with Progress(console=console) as progress:
        embed_sets(data, cache, sets.split(","), progress)
        bar = progress.add_task("draws", total=len(sets.split(",")) * seeds)
        for name in sets.split(","):
            texts = read_set(data / name, cache)
            for seed in range(seeds):
                if (name, seed) not in known:
                    _ROWS.append({"set": name, "seed": seed, "code": code, **found(texts, seed)})
                progress.advance(bar)
    _ROWS.compact()
    storage.write_json(_FILE, {**(storage.read_json(_FILE) or {}), "environment": environment, "seeds": seeds})
    end(write(), console)


def found(texts: TextSet, seed: int) -> Record:
    """Plant wrong labels in one draw; returns how many are found, and how long it took."""
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(texts.train_labels))
    chosen, pool, k = drawn[:LABELS], drawn[LABELS:], texts.train.n_classes
    labels, planted = plant(texts.train_labels[chosen], k, rng)
    vectors = texts.hybrid.vectors[chosen].astype(np.float32)
    began = time.perf_counter()
    prior = prior_of(vectors, texts.hybrid.vectors[pool], k, texts.hybrid.name_vectors)
    suspected = second_opinion(vectors, labels, k, prior=prior, groups=alike(vectors)).suspected
    return {
        "found": int(np.isin(suspected[:FIRST], planted).sum()),
        "suspected": len(suspected),
        "seconds": round(time.perf_counter() - began, 2),
    }


def plant(labels: NDArray[np.int64], k: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels `(n,)` of k classes, some of which are another class; and the places of these."""
    planted = rng.choice(len(labels), PLANTED, replace=False)
    wrong = labels.copy()
    wrong[planted] = (wrong[planted] + rng.integers(1, k, PLANTED)) % k
    return wrong, planted


@main.command()
@_data
@click.option("--set", "name", default="ag_news", show_default=True, help="which set")
def live(data: Path, name: str) -> None:
    """Plant wrong labels in a Label Studio of its own, read its tab, and mend them there."""
    console, environment = Console(stderr=True), storage.environment(_PACKAGES)
    dataset = read(data / name / "train.jsonl", data / name / "test.jsonl")
    inner = "".join(f"<Choice value={quoteattr(choice)}/>" for choice in dataset.choices)
    config = f'<View><Text name="text" value="$text"/><Choices name="topic" toName="text">{inner}</Choices></View>'
    rng = np.random.default_rng(0)
    drawn = rng.permutation(len(dataset.train.labels))[: LABELS + OTHERS].tolist()
    with tempfile.TemporaryDirectory() as home, console.status("starting") as status:
        settings = Settings(prepal_adapt="off")
        with running(Path(home), settings, progress=lambda said: status.update(str(said))) as there:
            connection, token = redis.Redis.from_url(there.redis_url), there.label_studio_token
            label_studio = LabelStudio(there.label_studio_url, token)
            texts = [dataset.train.texts[place] for place in drawn]
            number = label_studio.create_project(name, config)
            project = Project(connection, number)
            connect(project, label_studio, there.backend_url, there.backend_user, there.backend_password)
            label_studio.import_tasks(number, [{"text": text} for text in texts])
            request_sync(connection, number, full=True)
            _wait(lambda: (last := project.round) is not None and last.ranked >= len(set(texts)))
            labels = dataset.train.labels[drawn[:LABELS]]
            wrong, planted = plant(labels, len(dataset.choices), rng)
            tasks = sorted(project.all_tasks().tolist())[:LABELS]
            headers = {"Authorization": f"Token {token}"}
            with httpx.Client(base_url=there.label_studio_url, headers=headers, timeout=60) as client:
                project_at_work = _Live(project, client, dataset.choices)
                annotations = {}
                for place, task in enumerate(tasks):
                    status.update(f"labelling: {place} of {LABELS}")
                    annotations[task] = project_at_work.annotate(task, int(wrong[place]))
                measured = project_at_work.mend(
                    {tasks[place]: (annotations[tasks[place]], int(labels[place])) for place in planted.tolist()}
                )
    stored = storage.read_json(_FILE) or {}
    storage.write_json(_FILE, {**stored, "live": {"set": name, "environment": environment, **measured}})
    end(write(), console)


class _Live:
    """A project in a real Label Studio, as whoever leads the labelling sees it."""

    def __init__(self, project: Project, client: httpx.Client, choices: Sequence[str]) -> None:
        self._project = project
        self._client = client
        self._choices = choices

    def annotate(self, task: int, label: int) -> int:
        """Submit a label; returns the annotation's id."""
        return int(self._call("POST", f"/api/tasks/{task}/annotations/", json=self._result(label))["id"])

    def mend(self, planted: Mapping[int, tuple[int, int]]) -> Record:
        """Read the tab, and mend, one after the other, what was planted and is in it: annotation and label by task."""
        _wait(lambda: self._is_judged() and bool(self.tab()))
        first = self.tab()[:FIRST]
        seconds = []
        for task in [task for task in first if task in planted]:
            annotation, label = planted[task]
            began = time.monotonic()
            self._call("PATCH", f"/api/annotations/{annotation}/", json=self._result(label))
            _wait(lambda task=task: task not in self.tab())
            seconds.append(round(time.monotonic() - began, 2))
        return {"found": len(seconds), "listed": len(first), "seconds": seconds}

    def tab(self) -> list[int]:
        """The tasks of the tab of suspected labels, in its order."""
        there = self._call("GET", "/api/dm/views/", params={"project": self._project.id})
        tab = next((one["id"] for one in there if one["data"].get("title") == TITLES["suspected"]), None)
        if tab is None:
            return []
        page = {"view": tab, "project": self._project.id, "page_size": 100}
        return [int(task["id"]) for task in self._call("GET", "/api/tasks", params=page)["tasks"]]

    def _is_judged(self) -> bool:
        """Whether what is suspected rests on all labels, and the tabs on that."""
        project = self._project
        judging = project.connection.exists(mark("judge", project.id), f"prepal:lock:{project.id}:figures")
        return not judging and is_fresh(project) and len(project.annotations()) >= LABELS

    def _result(self, label: int) -> dict[str, Any]:
        value = {"choices": [self._choices[label]]}
        return {"result": [{"from_name": "topic", "to_name": "text", "type": "choices", "value": value}]}

    def _call(self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: object = None) -> Any:  # noqa: ANN401
        return self._client.request(method, path, params=params, json=json).raise_for_status().json()


def _wait(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + _ENOUGH_S
    while not condition():
        if time.monotonic() > end_s:
            raise RuntimeError(f"It was not so within {_ENOUGH_S:.0f} s.")
        time.sleep(_POLL_S)


def write() -> list[Goal]:
    """Write the section of RESULTS.md; returns its goals."""
    rows, stored = list(_ROWS.read().values()), storage.read_json(_FILE) or {}
    if not rows or "environment" not in stored:
        return []
    cells, goals = [], []
    for name in SETS:
        of = [row for row in rows if row["set"] == name]
        if of:
            mean = {key: float(np.mean([row[key] for row in of])) for key in ("found", "suspected", "seconds")}
            least = min(row["found"] for row in of)
            goals.append(Goal(f"{name}: planted among the first {FIRST}", mean["found"], LEAST_FOUND, True, 1))
            cells.append([name, str(len(of)), f"{mean['found']:.1f}", str(least), f"{mean['suspected']:.1f}"])
    parts = [
        "## Labels that are probably wrong",
        f"`python -m benchmarks.loop.wrong_labels run --data FOLDER --seeds {stored['seeds']}` · "
        f"{told(stored['environment'], _PACKAGES)}",
        f"{LABELS} random labels of each set, of which {PLANTED} were made wrong: how many of these are among the "
        f"first {FIRST} that are suspected.",
    ]
    if live_one := stored.get("live"):
        longest = max(live_one["seconds"], default=0.0)
        goals += [
            Goal("Label Studio's tab: planted among its first", live_one["found"], LEAST_FOUND, True, 0),
            Goal("and the longest time until a mended one is out of it, s", longest, MOST_S, False, 1),
        ]
        parts.append(
            f"`python -m benchmarks.loop.wrong_labels live --data FOLDER --set {live_one['set']}` reads them from the "
            f"tab of a real Label Studio, and mends them there; {told(live_one['environment'], _PACKAGES)}."
        )
    header = ["set", "draws", "found, mean", "found, least", "suspected, mean"]
    write_section(
        "\n\n".join([*parts, table(GOAL_HEADER, [goal.row() for goal in goals]), table(header, cells)]),
        "benchmarks.loop.wrong_labels",
    )
    return goals


if __name__ == "__main__":
    main()
