"""A whole installation with its own Label Studio, in which somebody labels at an even pace while the encoder adapts."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import redis
from rich.console import Console

from benchmarks.embedding.import_run import import_texts
from benchmarks.sections import Goal, table
from benchmarks.storage import Record
from prepal import settings as settings_table
from prepal.label_studio.client import LabelStudio
from prepal.learning.adapting import LEAST_LABELS
from prepal.machine.up import Installation, running
from prepal.vectors import encoders
from prepal_workers.simulate.dataset import read

TASKS = 10_000
SWITCH_S, TIMES_BEFORE = 360.0, 1.5
_POLL_S, _ENOUGH_S = 0.01, 1800.0
# Labels after the switch; and how many before the decision are not timed, because all is new then.
_AFTER, _UNTIMED = 15, 5


def texts_of(folder: Path, count: int) -> dict[str, str]:
    """Different texts of a set, and the choice of each; where it has fewer, they come again with a number behind."""
    dataset = read(folder / "train.jsonl", folder / "test.jsonl")
    texts = [*dataset.train.texts, *dataset.test.texts]
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    found: dict[str, str] = {}
    copy = 0
    while len(found) < count:
        for text, label in zip(texts, labels.tolist(), strict=True):
            found.setdefault(f"{text} ({copy})" if copy else text, dataset.choices[label])
        copy += 1
    return dict(islice(found.items(), count))


def run(folder: Path, pause_s: float, console: Console) -> Record:
    """Label until the ranking rests on an adapted encoder, and a little longer.

    Args:
        folder: of a labelled set.
        pause_s: from one label to the next.
        console: is told how far it is.
    """
    answers = texts_of(folder, TASKS)
    with tempfile.TemporaryDirectory() as home, console.status("starting") as status:
        settings = settings_table.load()
        with running(Path(home), settings, progress=lambda said: status.update(str(said))) as there:
            played = _Annotator(there, answers, pause_s, lambda said: status.update(f"{folder.name}: {said}"))
            return {"set": folder.name, "tasks": TASKS, "pause_s": pause_s, **played.label()}


class _Annotator:
    """One person at an even pace."""

    def __init__(
        self, there: Installation, answers: Mapping[str, str], pause_s: float, tell: Callable[[str], None]
    ) -> None:
        self._answers, self._pause_s, self._tell = answers, pause_s, tell
        self._label_studio = LabelStudio(there.label_studio_url, there.label_studio_token)
        choices = "".join(f"<Choice value={quoteattr(choice)}/>" for choice in sorted(set(answers.values())))
        config = f'<View><Text name="text" value="$text"/><Choices name="c" toName="text">{choices}</Choices></View>'
        connection = redis.Redis.from_url(there.redis_url)
        self._project, _ = import_texts(connection, self._label_studio, there, "live", config, list(answers))
        self._texts: dict[int, str] = {}
        self._times: list[Record] = []

    def label(self) -> Record:
        """Return what was seen."""
        project = self._project
        self._until(lambda: self._is_up_to_date() and project.round.ranked >= len(self._answers), "ranking")  # type: ignore[union-attr]
        self._texts = {
            task["id"]: task["data"]["text"] for page in self._label_studio.tasks(project.id) for task in page
        }
        before = self._one_after_the_other(lambda: len(self._times) >= LEAST_LABELS - 1, "before")
        accuracy = {"before": self._right()}
        self._one_label("decision")
        began = time.monotonic()
        during = self._one_after_the_other(self._is_adapted, "during")
        switched_s = time.monotonic() - began
        after = self._one_after_the_other(lambda: len(self._times) >= len(before) + 1 + len(during) + _AFTER, "after")
        accuracy["after"] = self._right()
        served = [one["task"] for one in self._times]
        return {
            "switched_s": round(switched_s, 1),
            "labels": len(self._times),
            "twice": len(served) - len(set(served)),
            "accuracy": accuracy,
            "before": _figures(before[_UNTIMED:]),
            "during": _figures(during),
            "after": _figures(after),
            "times": self._times,
        }

    def _one_after_the_other(self, is_over: Callable[[], bool], phase: str) -> list[Record]:
        first = len(self._times)
        while not is_over():
            self._one_label(phase)
        return self._times[first:]

    def _one_label(self, phase: str) -> None:
        began = time.monotonic()
        task = self._label_studio.next_task(self._project.id)
        assert task is not None, "no task is left"
        shown = time.monotonic()
        choice = self._answers[task["data"]["text"]]
        result = {"from_name": "c", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}
        doing = self._project.adapting or ""
        self._label_studio.create_annotation(task["id"], {"result": [result]})
        saved = time.monotonic()
        self._until(self._is_up_to_date, phase)
        ready = time.monotonic()
        one = {"task": task["id"], "phase": phase, "doing": doing}
        one |= {"next_s": round(shown - began, 3), "save_s": round(saved - shown, 3)}
        self._times.append(one | {"ready_s": round(ready - saved, 3)})
        self._tell(f"{phase}, {len(self._times)} labels {doing}")
        time.sleep(max(0.0, began + self._pause_s - time.monotonic()))

    def _right(self) -> float:
        """The share of right ones among the predictions that annotators would see of tasks without a label."""
        ranking, choices = self._project.ranking(), sorted(set(self._answers.values()))
        assert ranking is not None
        asked = ~np.isin(ranking.task_ids, [one["task"] for one in self._times])
        right = [choices.index(self._answers[self._texts[task]]) for task in ranking.task_ids[asked].tolist()]
        return round(float((ranking.chosen[asked].argmax(axis=1) == right).mean()), 4)

    def _is_adapted(self) -> bool:
        return encoders.is_adapted(self._project.encoder or "")

    def _is_up_to_date(self) -> bool:
        facts, record = self._project.facts, self._project.round
        return record is not None and record.facts == facts

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _ENOUGH_S
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f"{what}: not so within {_ENOUGH_S:.0f} s.")
            time.sleep(_POLL_S)


def _figures(times: Sequence[Record]) -> Record:
    return {
        what: {"median": round(statistics.median(of), 3), "p95": round(float(np.quantile(of, 0.95)), 3)}
        for what in ("next_s", "ready_s")
        for of in [[one[what] for one in times]]
    }


def goals(stored: Record) -> list[Goal]:
    """What an annotator may notice of it."""
    name, before, during = stored["set"], stored["before"], stored["during"]
    return [
        Goal(f"{name}, live: from the decision to the switched ranking, s", stored["switched_s"], SWITCH_S, False, 0),
        Goal(f"{name}, live: tasks served twice", stored["twice"], 0, at_least=False, digits=0),
        *(
            Goal(
                f"{name}, live: {what}, p95 during it, times before",
                during[of]["p95"] / before[of]["p95"],
                TIMES_BEFORE,
                at_least=False,
            )
            for what, of in (("`next`", "next_s"), ("saved → served", "ready_s"))
        ),
    ]


def section(stored: Sequence[Record]) -> str:
    """What was done, and a row for each set."""
    header = ["set", "labels", "switched after, s", "accuracy", "`next`, ms", "saved → served, ms", "twice"]
    of = stored[0]
    return "\n\n".join(
        (
            "### While people label",
            "`python -m benchmarks.adapting live --data FOLDER`, with nothing else on the machine: `prepal up` with its"
            f" own Label Studio, {of['tasks']:,} tasks, a label every {of['pause_s']:g} s. Switched: from the label"
            " with which training is due until a round ranks by the adapted encoder. Accuracy: of the predictions that"
            " people would see, before and after. p95 of times before the decision → until the switch → after it.",
            table(header, [_row(one) for one in stored]),
        )
    )


def _row(of: Record) -> list[str]:
    def p95(what: str) -> str:
        return " → ".join(f"{1000 * of[phase][what]['p95']:.0f}" for phase in ("before", "during", "after"))

    right = of["accuracy"]
    return [
        of["set"],
        str(of["labels"]),
        f"{of['switched_s']:.0f}",
        f"{right['before']:.3f} → {right['after']:.3f}",
        p95("next_s"),
        p95("ready_s"),
        str(of["twice"]),
    ]
