"""`prepal demo`: everything on one machine, with a project of sample tickets that is already connected."""

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from prepal.demo.curve import draw, learning_curve, random_curve, table
from prepal.demo.data import Ticket, load_texts, load_tickets, split
from prepal.errors import PrepalError
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.connect import connect
from prepal.learner.memory.words import lexical_vectors
from prepal.learning.classifiers.label_names import name_text
from prepal.machine.up import Installation, running
from prepal.project import Project
from prepal.queues.requests import request_sync
from prepal.queues.waiting import WaitingTexts
from prepal.reports.status import report, wait_for
from prepal.settings import Settings
from prepal.vectors import VectorTable, text_id

_CONFIG = Path(__file__).parents[3] / "label_config.xml"
_TITLE = "Support tickets"
_IMPORT_AT_ONCE = 5000
# Only a learner that is gone takes so long.
_ROUND_TIMEOUT_S = 600.0
_RANDOM_SEEDS = 10
_ANSWER = {"from_name": "topic", "to_name": "text", "type": "choices"}
# Accuracy is told at these numbers of labels, and at the last one.
_STEPS = (10, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300, 400, 500, 750, 1000)


def run_demo(
    home: Path,
    settings: Settings,
    console: Console,
    *,
    annotate: int | None,
    data: Path | None,
    ready: Callable[[dict[str, Any]], None],
    wait: Callable[[], None],
) -> None:
    """Run the demo until `wait` returns, or, when an annotator is played, until that one is done.

    Raises:
        PrepalError: the data cannot be used, or something does not come up.
    """
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("matplotlib") is None:
        raise PrepalError("The demo embeds texts and draws a curve: pip install 'prepal-label-studio[workers]' first.")
    tickets = load_texts(data) if data else load_tickets()
    if annotate and any(ticket.topic is None for ticket in tickets):
        raise PrepalError(f"{data} has texts without a label, and a played annotator needs one for each: add them.")
    pool, held_back = split(tickets, held_back=min(500, len(tickets) // 4)) if annotate else (tickets, [])
    with running(home, settings, progress=console.print) as installation:
        demo = _Demo(installation, settings, console)
        title = f"{_TITLE}, annotated by the demo" if annotate else _TITLE
        project = demo.project(pool, title, new=bool(annotate), own=bool(data))
        ready(installation.ready_json(project))
        if annotate:
            demo.play(project, pool, held_back, annotate)
            return
        console.print()
        console.print(f"[bold]Open[/bold]     {installation.label_studio_url}/projects/{project}")
        if user := installation.label_studio_user:
            console.print(f"[bold]Sign in[/bold]  {user} / {installation.label_studio_password}")
        console.print("[bold]Click[/bold]    Label All Tasks, choose, Submit: what comes next is what teaches most.")
        home_option = "" if home == Path(".prepal") else f" --home {home}"
        console.print(f"[bold]Watch[/bold]    prepal status {project}{home_option}, or")
        console.print(f"         {installation.backend_url}/projects/{project}")
        console.print(f"         as {installation.backend_user} / {installation.backend_password}")
        console.print("Ctrl-C ends everything; all labels are kept for the next time.")
        wait()


class _Demo:
    """The demo in a running installation."""

    def __init__(self, installation: Installation, settings: Settings, console: Console) -> None:
        self._installation = installation
        self._settings = settings
        self._console = console
        self._redis = redis.Redis.from_url(installation.redis_url)
        self._label_studio = LabelStudio(installation.label_studio_url, installation.label_studio_token)
        self._waiting = WaitingTexts(self._redis, settings.prepal_encoder)

    def project(self, tickets: Sequence[Ticket], title: str, *, new: bool, own: bool) -> int:
        """The demo's project, existing if need be, connected, embedded and ranked."""
        label_studio, there = self._label_studio, self._installation
        existing = [] if new or own else [p for p in label_studio.projects() if p["title"] == title]
        if existing:
            project = int(existing[0]["id"])
        else:
            project = label_studio.create_project(title, _label_config(tickets))
            with self._bar() as bar:
                for begin in bar.track(range(0, len(tickets), _IMPORT_AT_ONCE), description="Importing"):
                    texts = tickets[begin : begin + _IMPORT_AT_ONCE]
                    label_studio.import_tasks(project, [{"text": ticket.text} for ticket in texts])
        login = there.backend_user, there.backend_password
        connect(Project(self._redis, project), label_studio, there.backend_url, *login)
        request_sync(self._redis, project, full=True)
        self._wait_until_ranked(project, len(tickets))
        return project

    def play(self, project: int, pool: Sequence[Ticket], held_back: Sequence[Ticket], count: int) -> None:
        """Play an annotator, then show what the labels are worth beside as many random ones."""
        answers = {ticket.text: str(ticket.topic) for ticket in pool}
        labelled: list[str] = []
        seconds: list[float] = []
        with self._bar() as bar:
            for _ in bar.track(range(count), description="Annotating"):
                text = annotate_next(self._label_studio, project, answers)
                if text is None:
                    break
                labelled.append(text)
                began = time.perf_counter()
                wait_for(self._redis, project, _ROUND_TIMEOUT_S)
                seconds.append(time.perf_counter() - began)
        topics = sorted(set(answers.values()))
        texts = [ticket.text for ticket in [*pool, *held_back]]
        asked = [*texts, *map(name_text, topics)]
        words = lexical_vectors(texts[: len(pool)], texts[len(pool) :], asked[len(texts) :])
        vectors = np.hstack([self._vectors(asked, project), np.concatenate(words)])
        labelled_pool = (vectors[: len(pool)], [str(ticket.topic) for ticket in pool])
        held = (vectors[len(pool) : len(texts)], [str(ticket.topic) for ticket in held_back])
        place = {ticket.text: at for at, ticket in enumerate(pool)}
        order = [place[text] for text in labelled]
        steps = sorted({step for step in _STEPS if step < len(order)} | {len(order)})
        with self._console.status("Comparing with random labels"):
            ours = learning_curve(labelled_pool, held, order, steps, names=vectors[len(texts) :])
            random = random_curve(labelled_pool, held, steps, seeds=range(_RANDOM_SEEDS))
        picture = self._installation.home / "demo-curve.png"
        draw(ours, random, picture)
        self._console.print(table(ours, random))
        self._console.print(
            f"Accuracy on {len(held_back)} held-back texts; random: mean of {_RANDOM_SEEDS} draws. "
            f"Round and reordering after each label: median {np.median(seconds):.2f} s."
        )
        self._console.print(f"The curve: {picture}")

    def _vectors(self, texts: Sequence[str], project: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        given = "prepal_vectors" in self._settings.model_fields_set
        vectors_at = self._settings.prepal_vectors if given else str(self._installation.home / "vectors")
        ids = [text_id(text.strip()) for text in texts]
        cache = VectorTable(vectors_at, self._waiting.encoder)
        lacking = set(cache.missing(ids))
        self._waiting.add({key: text.strip() for key, text in zip(ids, texts, strict=True) if key in lacking}, project)
        with self._bar() as bar:
            task = bar.add_task("Embedding held-back texts", total=len(lacking))
            while remaining := len(cache.missing(sorted(lacking))):
                bar.update(task, completed=len(lacking) - remaining)
                time.sleep(0.3)
            bar.update(task, completed=len(lacking))
        _, vectors = cache.find(ids)
        return vectors.astype(np.float32)

    def _wait_until_ranked(self, number: int, count: int) -> None:
        project = Project(self._redis, number)
        with self._bar() as bar:
            task = bar.add_task("Embedding", total=count)
            while True:
                told = report(project, self._waiting)
                if told["problem"]:
                    raise PrepalError(told["problem"])
                bar.update(task, completed=told["embedded"], total=max(count, told["known"]))
                ranked = (told["round"] or {}).get("ranked", 0)
                reached = ranked + told["labelled"] >= count - sum(told["not_embeddable"].values())
                if told["up_to_date"] and reached and len(project.predictions):
                    break
                time.sleep(0.3)

    def _bar(self) -> Progress:
        columns = (TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, console=self._console)


def annotate_next(label_studio: LabelStudio, project: int, answers: Mapping[str, str]) -> str | None:
    """Play an annotator: answer the task that Label Studio serves next; returns its text, None when no tasks are left.

    Args:
        label_studio: as the annotator is signed in there.
        project: its id.
        answers: the topic by the text of every task.

    Raises:
        PrepalError: Label Studio does not answer, refuses, or serves a text without an answer.
    """
    began = time.monotonic()
    task = label_studio.next_task(project)
    if task is None:
        return None
    text = str(task["data"].get("text"))
    if text not in answers:
        raise PrepalError(
            f"Task {task['id']} of project {project} has the text {text!r:.60}, to which the played annotator knows "
            "no answer: import the texts that it was given."
        )
    result = [{**_ANSWER, "value": {"choices": [answers[text]]}}]
    label_studio.create_annotation(task["id"], {"result": result, "lead_time": time.monotonic() - began})
    return text


def _label_config(tickets: Sequence[Ticket]) -> str:
    """The project's own label config where its choices fit, else one made from the labels."""
    labels = sorted({ticket.topic for ticket in tickets if ticket.topic is not None})
    config = _CONFIG.read_text() if _CONFIG.exists() else ""
    if config and all(f"value={quoteattr(label)}" in config for label in labels):
        return config
    choices = "".join(f"<Choice value={quoteattr(label)}/>" for label in labels)
    return (
        '<View><Text name="text" value="$text"/>'
        f'<Choices name="topic" toName="text" choice="single">{choices}</Choices></View>'
    )
