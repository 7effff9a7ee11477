"""What rounds left behind: the newest one's record and ranking, accuracies, and what went wrong."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from prepal import records
from prepal.project.part import Stored, Value
from prepal.project.predictions import Predictions
from prepal.project.states import Compared, Ranking, RoundRecord, Trouble

if TYPE_CHECKING:
    from prepal.labels.second_looks import Opinions

# The newest estimate, and before it one for each twentieth more labels: a thousand are more than anyone looks back on.
_ACCURACIES, _NEXT_ACCURACY = 1000, 1.05
# How long a job rests after its first failure.
_FIRST_PAUSE_S = 10.0


class Rounds(Predictions):
    """A project's rounds."""

    encoder = Value[str | None]("encoder", bytes.decode, None)
    """The encoder whose vectors the ranking rests on."""
    fresh_round = Value("fresh", int, 0)
    """The round whose ranking was published beyond its head."""
    judged = Value("judged", bytes.decode, "")
    """The content of the labels and audit tasks that accuracy and suspected labels of the newest round rest on."""
    reading_s = Value("reading-s", float, 0.0)
    """How many seconds the last full comparison with Label Studio took."""
    round = Stored("round", lambda raw: records.read(RoundRecord, raw), None)
    """The newest finished round."""
    tabs = Stored[dict[str, Any]]("tabs", lambda raw: dict(records.loads(raw)), {})
    """What was made of second looks in Label Studio, as `label_studio/tabs.py` keeps it."""
    expected = Stored[dict[str, float] | None]("expected", lambda raw: dict(records.loads(raw)), None)
    """How many `labels` the first classifier had, and the `accuracy` that it expected of itself; None before it."""

    def finish_round(self, record: RoundRecord) -> None:
        """Make a round the newest finished one."""
        self.connection.set(self.key("round"), records.dumps(asdict(record)))

    def put_ranking(self, ranking: Ranking) -> None:
        """Store the ranking for `/predict` and for `status`."""
        hidden = np.zeros(len(ranking.task_ids), bool) if ranking.hidden is None else ranking.hidden
        self.connection.hset(
            self.key("ranking"),
            mapping={
                "task_ids": ranking.task_ids.tobytes(),
                "chosen": _packed(ranking.chosen).tobytes(),
                "choices": str(ranking.chosen.shape[1]),
                "confidence": ranking.confidence.astype(np.float32).tobytes(),
                "hidden": np.packbits(hidden).tobytes(),
                "meaning": ranking.meaning,
                "twins": ranking.twins.tobytes(),
            },
        )

    def ranking(self) -> Ranking | None:
        """The newest finished round's ranking."""
        raw = cast(dict[bytes, bytes], self.connection.hgetall(self.key("ranking")))
        if not raw:
            return None
        task_ids = np.frombuffer(raw[b"task_ids"], np.int64)
        n, choices = len(task_ids), int(raw[b"choices"])
        packed = np.frombuffer(raw[b"chosen"], np.uint8).reshape(n, -(-choices // 8))
        chosen = np.unpackbits(packed, axis=1, count=choices).astype(bool)
        # The release before this one hid nothing, and may have written the rest since.
        bits = np.frombuffer(raw.get(b"hidden", b""), np.uint8)
        hidden = np.unpackbits(bits, count=n).astype(bool) if len(bits) == -(-n // 8) else None
        confidence, meaning = np.frombuffer(raw[b"confidence"], np.float32), raw.get(b"meaning", b"").decode()
        twins = np.frombuffer(raw.get(b"twins", b""), np.int64)
        return Ranking(task_ids, chosen, confidence, hidden, meaning, twins)

    def add_accuracy(self, labels: int, accuracy: Mapping[str, float]) -> None:
        """Remember how accurate the classifier of so many labels is; of hardly fewer labels nothing is kept."""
        last = cast(list[bytes], self.connection.lrange(self.key("accuracies"), -2, -1))
        value = records.dumps({"labels": labels, **accuracy})
        if len(last) == 2 and labels < _NEXT_ACCURACY * records.loads(last[0])["labels"]:
            self.connection.lset(self.key("accuracies"), -1, value.decode())
            return
        self.connection.rpush(self.key("accuracies"), value)
        self.connection.ltrim(self.key("accuracies"), -_ACCURACIES, -1)

    def accuracies(self) -> list[dict[str, float]]:
        """Accuracy by number of labels, oldest first."""
        raw = cast(list[bytes], self.connection.lrange(self.key("accuracies"), 0, -1))
        return [records.loads(value) for value in raw]

    def expect(self, labels: int, accuracy: float) -> None:
        """Remember how accurate the first classifier, of so many labels, expects to be; later calls change nothing."""
        self.connection.setnx(self.key("expected"), records.dumps({"labels": labels, "accuracy": accuracy}))

    def put_opinions(self, opinions: "Opinions") -> None:
        """Remember what is thought of all labels."""
        value = {
            "meaning": opinions.meaning,
            "tasks": opinions.tasks.tobytes(),
            "labels": np.packbits(opinions.labels, axis=1).tobytes(),
            "thinks": np.packbits(opinions.thinks, axis=1).tobytes(),
            "choices": str(opinions.labels.shape[1]),
            "sure": opinions.sure.tobytes(),
            "likely": opinions.likely.tobytes(),
        }
        self.connection.hset(self.key("opinions"), mapping=cast(Any, value))

    def opinions(self) -> "Opinions | None":
        """What is thought of all labels, as of the newest figures; None before there are any."""
        # A server, which needs none of it, does without what reads label configs.
        from prepal.labels.second_looks import Opinions

        raw = cast(dict[bytes, bytes], self.connection.hgetall(self.key("opinions")))
        if not raw:
            return None
        tasks, k = np.frombuffer(raw[b"tasks"], np.int64), int(raw[b"choices"])
        labels, thinks = (_rows(raw[name], len(tasks), k) for name in (b"labels", b"thinks"))
        sure, likely = (np.frombuffer(raw[name], np.float32) for name in (b"sure", b"likely"))
        return Opinions(raw[b"meaning"].decode(), tasks, labels, thinks, sure, likely)

    def confirm(self, task: int, label: list[str]) -> None:
        """Remember that somebody looked at a label again, and let it be."""
        self.connection.hset(self.key("confirmed"), str(task), records.dumps(label))

    def confirmed(self) -> dict[int, list[str]]:
        """Labels that somebody looked at again and let be, by task."""
        raw = cast(dict[bytes, bytes], self.connection.hgetall(self.key("confirmed")))
        return {int(task): list(records.loads(label)) for task, label in raw.items()}

    def set_tabs(self, tabs: Mapping[str, Any]) -> None:
        """Remember what was made of second looks in Label Studio."""
        self.connection.set(self.key("tabs"), records.dumps(dict(tabs)))

    def compared(self) -> Compared | None:
        """The classifier that the next ones are compared with; None where there is none."""
        raw = cast(dict[bytes, bytes], self.connection.hgetall(self.key("compared")))
        # An older release wrote how many labels there were, and not which.
        if not raw or b"labels" in raw:
            return None
        labelled, task_ids = (np.frombuffer(raw[name], np.int64) for name in (b"labelled", b"task_ids"))
        k = int(raw[b"choices"])
        labels, chosen = (
            np.unpackbits(np.frombuffer(raw[name], np.uint8).reshape(-1, -(-k // 8)), axis=1, count=k).astype(bool)
            for name in (b"given", b"chosen")
        )
        return Compared(raw[b"of"].decode(), labelled, labels, task_ids, chosen)

    def set_compared(self, compared: Compared) -> None:
        """Remember a classifier that the next ones are compared with."""
        pipeline = self.connection.pipeline()
        pipeline.delete(self.key("compared"))
        pipeline.hset(
            self.key("compared"),
            mapping={
                "of": compared.choices,
                "labelled": compared.labelled.tobytes(),
                "given": np.packbits(compared.labels, axis=1).tobytes(),
                "task_ids": compared.task_ids.tobytes(),
                "chosen": np.packbits(compared.chosen, axis=1).tobytes(),
                "choices": str(compared.chosen.shape[1]),
            },
        )
        pipeline.execute()

    def is_read_again(self, interval_s: float) -> bool:
        """Whether a full comparison is due, for the one process that asks first."""
        return bool(self.connection.set(self.key("read-again"), 1, nx=True, px=max(1, int(1000 * interval_s))))

    def troubles(self) -> list[Trouble]:
        """Which jobs of the project fail, by name."""
        raw = cast(dict[bytes, bytes], self.connection.hgetall(self.key("troubles")))
        return [trouble for _, value in sorted(raw.items()) if (trouble := records.read(Trouble, value))]

    def trouble(self, job: str) -> Trouble | None:
        """What went wrong with one job since it last went well."""
        raw = cast(bytes | None, self.connection.hget(self.key("troubles"), job))
        return records.read(Trouble, raw) if raw else None

    def add_trouble(self, job: str, what: str, longest_s: float) -> Trouble:
        """Note that a job failed: it rests for twice as long as the last time, but for `longest_s` at most."""
        before = self.trouble(job)
        now = time.time()
        count = 1 + (before.count if before else 0)
        pause_s = min(longest_s, _FIRST_PAUSE_S * 2.0 ** (count - 1))
        trouble = Trouble(job, what, count, before.since if before else now, now + pause_s)
        self.connection.hset(self.key("troubles"), job, records.dumps(asdict(trouble)))
        return trouble

    def end_trouble(self, job: str | None = None) -> None:
        """Note that a job went well, or that somebody asks for everything to be tried again at once."""
        if job is None:
            self.connection.delete(self.key("troubles"), self.key("begun"))
        else:
            self.connection.hdel(self.key("troubles"), job)

    def begin_job(self, job: str, worker: str) -> str | None:
        """Note that a worker begins a job; returns who began it before and never said that it ended."""
        before = cast(bytes | None, self.connection.hget(self.key("begun"), job))
        self.connection.hset(self.key("begun"), job, worker)
        return before.decode() if before else None

    def end_job(self, job: str) -> None:
        """Note that a job ended, well or not."""
        self.connection.hdel(self.key("begun"), job)


def _rows(packed: bytes, n: int, k: int) -> NDArray[np.bool_]:
    """(n, k): what `numpy.packbits` made of each row."""
    return np.unpackbits(np.frombuffer(packed, np.uint8).reshape(n, -(-k // 8)), axis=1, count=k).astype(bool)


def _packed(chosen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What `numpy.packbits` makes of each row (n, k); by columns, which is many times faster where rows are short."""
    packed = np.zeros((len(chosen), -(-chosen.shape[1] // 8)), np.uint8)
    for choice, column in enumerate(chosen.T):
        packed[:, choice // 8] |= column.astype(np.uint8) << np.uint8(7 - choice % 8)
    return packed
