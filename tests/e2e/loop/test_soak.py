"""Annotators at work while every process is killed again and again: at the end all is right, and nobody had to ask.

`make soak MINUTES=30 ANNOTATORS=5` runs it; it is no part of `make test`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import httpx
import pytest
from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.projects import ENCODER, Loop, tickets

from prepal.labels import label_config
from prepal.labels.settle import settle
from prepal.learner import judging
from prepal.learner.fitting import Choosing
from prepal.learner.memory.memory import Memory
from prepal.machine.supervision import process_ids
from prepal.machine.up import Installation
from prepal.vectors import VectorTable

MINUTES = float(os.environ.get("PREPAL_SOAK_MINUTES", "30"))
ANNOTATORS = int(os.environ.get("PREPAL_SOAK_ANNOTATORS", "5"))
TASKS, IMPORTED_LATER = 2000, 200
# Seconds between two kills, and how long a person reads.
KILL_EVERY_S, READS_S = (4.0, 20.0), (0.5, 4.0)
SECOND_LEARNER = "second learner"


class Soak:
    """What happens to one project, and to the processes around it."""

    def __init__(self, installation: Installation, api: LabelStudioApi) -> None:
        self.installation = installation
        self.api = api
        texts, self.answers = tickets(TASKS + 4 * IMPORTED_LATER, mark="soak")
        self.later = texts[TASKS:]
        self.loop = Loop.of(installation, api, [{"text": text} for text in texts[:TASKS]])
        self.stopping = threading.Event()
        self.served: dict[int, set[int]] = {}
        self.submitted: set[int] = set()
        self.kills: Counter[str] = Counter()
        self.failures: list[BaseException] = []
        self._second: subprocess.Popen[bytes] | None = None

    def annotate(self, number: int, token: str) -> None:
        """Work like a person: whatever fails is tried again."""
        random = Random(number)
        while not self.stopping.is_set():
            task = self._insisting(lambda: self.api.next(self.loop.id, token))
            if task is None:
                self.stopping.wait(1)
                continue
            self.served.setdefault(task["id"], set()).add(number)
            self.stopping.wait(random.uniform(*READS_S))
            skips = random.random() < 0.05
            chosen = [] if skips else [self.answers[task["data"]["text"]]]
            try:
                self.submitted.add(self.api.annotate(task["id"], *chosen, token=token, was_cancelled=skips))
            except (httpx.HTTPError, AssertionError):
                # Whether it was stored is not known; if it was not, the same task comes again.
                self.stopping.wait(1)

    def kill(self) -> None:
        """Kill one process after another, and import tasks now and then."""
        random = Random(0)
        while not self.stopping.wait(random.uniform(*KILL_EVERY_S)):
            running = process_ids(self.installation.home)
            names = [*sorted(running), SECOND_LEARNER]
            name = random.choice(names)
            pid = self._second.pid if name == SECOND_LEARNER and self._second else running.get(name)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                self.kills[name] += 1
            if self.later and random.random() < 0.05:
                batch, self.later = self.later[:IMPORTED_LATER], self.later[IMPORTED_LATER:]
                self._insisting(lambda batch=batch: self.api.import_tasks(self.loop.id, [{"text": t} for t in batch]))

    @contextmanager
    def second_learner(self) -> Iterator[None]:
        """Another learner on the same Redis, begun anew whenever it has ended."""
        installation, done = self.installation, threading.Event()
        environment = {
            **self.loop.environment,
            "PREPAL_VECTORS": str(installation.home / "vectors"),
            "BASIC_AUTH_USER": installation.backend_user or "",
            "BASIC_AUTH_PASS": installation.backend_password or "",
            "HF_HUB_OFFLINE": "1",
        }

        def watch() -> None:
            while not done.is_set():
                with (installation.logs / "second-learner.log").open("ab") as log:
                    command = [sys.executable, "-P", "-m", "prepal.cli", "worker", "learn"]
                    self._second = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
                    while self._second.poll() is None and not done.wait(0.5):
                        pass
            if self._second is not None:
                self._second.kill()
                self._second.wait()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def guarded(self, work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                self.failures.append(error)
                self.stopping.set()

        return run

    def _insisting(self, ask: Callable[[], Any]) -> Any:
        while not self.stopping.is_set():
            try:
                return ask()
            except (httpx.HTTPError, AssertionError):
                self.stopping.wait(1)
        return None


@pytest.mark.soak
def test_after_many_kills_labels_order_vectors_and_figures_are_right(
    postgres_installation: Installation, postgres_label_studio: LabelStudioApi
) -> None:
    installation, api = postgres_installation, postgres_label_studio
    soak = Soak(installation, api)
    tokens = [api.new_annotator(f"soak{number}@example.com") for number in range(ANNOTATORS)]
    threads = [
        threading.Thread(target=soak.guarded(lambda n=n, t=t: soak.annotate(n, t))) for n, t in enumerate(tokens)
    ]
    threads.append(threading.Thread(target=soak.guarded(soak.kill)))
    with soak.second_learner():
        for thread in threads:
            thread.start()
        soak.stopping.wait(60 * MINUTES)
        soak.stopping.set()
        for thread in threads:
            thread.join()
        assert not soak.failures
        check(soak)


def check(soak: Soak) -> None:
    """Everything is right without anybody's help, in time."""
    loop, api, began = soak.loop, soak.api, time.monotonic()
    wait_until(lambda: _answers(api), 300)
    exported = api.call("GET", f"/api/projects/{loop.id}/export", params={"exportType": "JSON"})
    stored = {annotation["id"] for task in exported for annotation in task["annotations"]}
    total = api.call("GET", f"/api/projects/{loop.id}/")["task_number"]
    assert soak.submitted <= stored

    def is_right() -> bool:
        record, known = loop.known.round, loop.known
        if record is None or not loop.is_up_to_date() or set(known.annotations()) != stored:
            return False
        served = api.next(loop.id)
        return (
            known.task_count() == total
            and not known.troubles()
            and served is not None
            and (served["id"] in record.head)
        )

    wait_until(is_right, 300, 1)
    recovered_s = time.monotonic() - began
    twice = {task: people for task, people in soak.served.items() if len(people) > 1}
    record = loop.known.round
    assert record is not None
    print(
        f"{MINUTES:g} min, {ANNOTATORS} annotators: {sum(soak.kills.values())} kills {dict(soak.kills)}, "
        f"{len(stored)} annotations, {total} tasks, right again {recovered_s:.0f} s after the last kill; "
        f"served to two people: {len(twice)}"
    )
    # A task that somebody skipped is for others to label.
    skipped = {a.task for a in loop.known.annotations().values() if a.skipped}
    assert twice.keys() <= skipped

    table = VectorTable(str(soak.installation.home / "vectors"), ENCODER)
    tasks, texts = loop.known.task_texts()
    assert len(tasks) == total
    wait_until(lambda: table.contains(texts).all(), 300, 1)
    ids = table.ids()
    assert len(set(ids.tolist())) == len(ids)
    wait_until(lambda: _figures_are_right(loop, table), 120, 1)


def _figures_are_right(loop: Loop, table: VectorTable) -> bool:
    """Whether accuracy and suspected labels are those that somebody gets who only knows what is stored."""
    known, record = loop.known, loop.known.round
    settled = settle(known.annotations(), label_config.parse(known.info.label_config))
    found = judging.evidence(known, Memory(), table, Choosing("auto", 0.1))
    # None: the figures are already those of exactly these labels.
    return record is not None and record.labels == len(settled) and found is None


def _answers(api: LabelStudioApi) -> bool:
    try:
        return bool(api.call("GET", "/api/projects/"))
    except (httpx.HTTPError, AssertionError):
        return False
