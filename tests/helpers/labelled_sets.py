"""Labelled sets that three annotators label in a real Label Studio: tickets, or the sets of a folder of yours."""

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from prepal_workers.labelled.fields import Text
from tests.helpers.projects import tickets

# A folder with a folder for each set, which has a train.jsonl with `text` (or `text_a` and `text_b`) and `label`.
FOLDER = "PREPAL_TEST_SETS"
TASKS, TASKS_OF_FOLDER = 60, 300
_DISPUTED = 10


@dataclass(frozen=True)
class LabelledSet:
    """Texts or pairs, and the true labels of each."""

    name: str
    texts: list[Text]
    labels: list[tuple[str, ...]]
    multiple: bool

    @property
    def choices(self) -> list[str]:
        return sorted({label for labels in self.labels for label in labels})

    @property
    def fields(self) -> tuple[str, ...]:
        return ("text_a", "text_b") if isinstance(self.texts[0], tuple) else ("text",)

    @property
    def data(self) -> list[dict[str, str]]:
        """What a task has of each text."""
        parts = [text if isinstance(text, tuple) else (text,) for text in self.texts]
        return [dict(zip(self.fields, of, strict=True)) for of in parts]

    @property
    def label_config(self) -> str:
        shown = "".join(f'<Text name="{field}" value="${field}"/>' for field in self.fields)
        offered = "".join(f"<Choice value={quoteattr(choice)}/>" for choice in self.choices)
        several = "multiple" if self.multiple else "single"
        tag = f'<Choices name="topic" toName="{self.fields[0]}" choice="{several}">'
        return f"<View>{shown}{tag}{offered}</Choices></View>"

    def answers(self, annotators: int) -> Iterator[list[tuple[str, ...]]]:
        """What each annotator chooses of each text: the truth, but one of them something else of every tenth text."""
        drawn = random.Random(self.name)
        disputed = set(drawn.sample(range(len(self.texts)), self.disputed))
        for place, truth in enumerate(self.labels):
            given = [truth] * annotators
            if place in disputed:
                given[drawn.randrange(annotators)] = (drawn.choice([c for c in self.choices if c not in truth]),)
            yield given

    @property
    def disputed(self) -> int:
        """Of how many texts one annotator chooses something else."""
        return len(self.texts) // _DISPUTED


def _of_tickets() -> list[LabelledSet]:
    texts, topics = tickets(TASKS + 1, mark="finetune")
    texts, following = texts[:-1], texts[1:]
    long = sorted(map(len, texts))[TASKS // 2]
    several = [(topics[text], "long") if len(text) > long else (topics[text],) for text in texts]
    same = [("same topic" if topics[a] == topics[b] else "other topic",) for a, b in zip(texts, following, strict=True)]
    pairs: list[Text] = list(zip(texts, following, strict=True))
    return [
        LabelledSet("tickets", list(texts), [(topics[text],) for text in texts], multiple=False),
        LabelledSet("tickets with several labels", list(texts), several, multiple=True),
        LabelledSet("pairs of tickets", pairs, same, multiple=False),
    ]


def _of_folder(folder: Path) -> LabelledSet:
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").split("\n") if line]
    rows = [row for row in rows if row["label"]][:TASKS_OF_FOLDER]
    texts = [(row["text_a"], row["text_b"]) if "text_a" in row else row["text"] for row in rows]
    multiple = isinstance(rows[0]["label"], list)
    labels = [tuple(row["label"]) if multiple else (row["label"],) for row in rows]
    return LabelledSet(folder.name, texts, labels, multiple)


def labelled_sets() -> list[LabelledSet]:
    """The sets of the folder that the environment names, or tickets with one label, with several, and in pairs."""
    if folder := os.environ.get(FOLDER):
        return [_of_folder(path.parent) for path in sorted(Path(folder).glob("*/train.jsonl"))]
    return _of_tickets()
