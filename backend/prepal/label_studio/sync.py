"""Brings Redis' copy of a project into agreement with Label Studio, which is the truth."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prepal import vectors
from prepal.label_studio import matching
from prepal.label_studio.client import LabelStudio
from prepal.labels.events import Annotation, as_list, number, read_annotation, unix_time
from prepal.labels.label_config import LabelConfig
from prepal.labels.text_fields import UnembeddableError
from prepal.learning.classifiers.label_names import name_text
from prepal.project import Project
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import text_id, text_ids

if TYPE_CHECKING:
    from prepal.vectors import TermTable, VectorTable

log = logging.getLogger(__name__)

# Reading on is put off while this many texts wait for the encoder, so that Redis stays small whatever is imported.
MOST_WAITING = 8192
# A share of that is enough where tasks are read again: the ranking does without, and people are served between pages.
_SHARE_OF_AGAIN = 4

_Tasks = Sequence[Mapping[str, Any]]
Target = tuple["VectorTable", WaitingTexts]
"""Of an encoder that is to embed all texts of a project: its vectors, and the texts that wait for it."""


@dataclass(frozen=True)
class Listing:
    """All tasks that Label Studio has.

    Attributes:
        tasks: `(n,)` int64, ascending.
        changed_at: `(n,)` int64, when each was changed last.
        annotations: `(n,)` int64, how many each has, skipped ones too.
        is_whole: whether there are as many as Label Studio counts; what a list lacks is not gone otherwise.
    """

    tasks: NDArray[np.int64]
    changed_at: NDArray[np.int64]
    annotations: NDArray[np.int64]
    is_whole: bool

    @classmethod
    def read(cls, project: Project, label_studio: LabelStudio) -> "Listing":
        """Let Label Studio list all tasks."""
        parts = [
            np.array([(int(t["id"]), _changed_at(t), _annotation_count(t)) for t in page], np.int64)
            for page in label_studio.states(project.id)
        ]
        rows = np.concatenate([np.empty((0, 3), np.int64), *parts])
        return cls(rows[:, 0], rows[:, 1], rows[:, 2], len(rows) >= project.info.task_count)

    def changed_since(self, seen: tuple[NDArray[np.int64], NDArray[np.int64]]) -> NDArray[np.bool_]:
        """Which tasks `(n,)` have changed since they were read: tasks, ascending, and when they had been changed."""
        tasks, changed_at = seen
        if not len(tasks):
            return np.ones(len(self.tasks), bool)
        at = np.minimum(np.searchsorted(tasks, self.tasks), len(tasks) - 1)
        return np.asarray((tasks[at] != self.tasks) | (changed_at[at] != self.changed_at))

    def counts_differ(self, counts: Mapping[int, int]) -> NDArray[np.bool_]:
        """Which tasks `(n,)` have more or fewer annotations than these, as where one was lost or cannot be read."""
        expected = np.fromiter((counts.get(task, 0) for task in self.tasks.tolist()), np.int64, len(self.tasks))
        return np.asarray(expected != self.annotations)


@dataclass(frozen=True)
class Reader:
    """Reads the tasks and annotations of one project, and lets texts that have no vector wait for the encoders."""

    project: Project
    config: LabelConfig
    label_studio: LabelStudio
    targets: Sequence[Target]
    """The first one is the encoder of the settings."""

    def read_new_tasks(self) -> bool:
        """Read one page of tasks that are not known yet, or else of those that are to be read again.

        Returns whether there may be more to read now.
        """
        project = self.project
        self._want_names()
        read_until, began = project.read_until, project.begin_reading()
        known_until = max(read_until, project.last_task)
        waits = {table.encoder: len(waiting) for table, waiting in self.targets}
        full = [encoder for encoder, count in waits.items() if count >= MOST_WAITING]
        # After which task, and whether that is put off. An encoder that is slow, or stuck, keeps no new task from being
        # ranked by another one.
        places = {known_until: self._ranked_by in full}
        places.setdefault(read_until, max(waits.values()) >= MOST_WAITING // _SHARE_OF_AGAIN)
        for after, put_off in places.items():
            page = None if put_off else next(self.label_studio.tasks(project.id, after=after), None)
            if put_off or page is not None:
                break
        project.has_unread_tasks = put_off or page is not None
        if page is None:
            return False
        self._take(page, began)
        matching.look_at(project, page)
        # Tasks may be imported with annotations, of which no event tells; the others are known by now.
        annotated = [int(task["id"]) for task in page if _annotation_count(task)]
        if after == known_until:
            self._read_whole(annotated, {}, began)
        if seen := {int(task["id"]): _changed_at(task) for task in page if not _annotation_count(task)}:
            project.seen.put(seen)
        if after == read_until:
            project.read_until = int(page[-1]["id"])
        return True

    def reconcile(self) -> None:
        """Compare everything: tasks, their texts, texts without vectors, annotations."""
        project = self.project
        began = project.begin_reading()
        # What is read while the list is may not be on it; and where tasks are read again, those behind are known too.
        known, last = project.all_tasks(), project.read_until
        listing = Listing.read(project, self.label_studio)
        gone = known[~np.isin(known, listing.tasks)].tolist()
        if not listing.is_whole:
            log.info("project %d: some tasks were not listed; they are looked for again", project.id)
        elif gone:
            log.info("project %d: %d tasks are gone", project.id, len(gone))
            project.delete_tasks(gone)
        missed = listing.tasks[(listing.tasks <= last) & ~np.isin(listing.tasks, known)]
        if len(missed):
            project.read_again(int(missed.min()))
        self._reconcile_changed(listing, began)
        self._reconcile_some()
        project.forget_removed_tasks(began)
        tasks, texts = project.every_text()
        lost = [_lost(texts, table, waiting) for table, waiting in self.targets]
        lacking = tasks[np.unique(np.concatenate([*lost, np.flatnonzero(~self._terms.contains(texts))]))]
        if len(lacking):
            log.info("project %d: %d tasks lack their vector or terms and are read again", project.id, len(lacking))
            project.read_again(int(lacking.min()))

    def _reconcile_changed(self, listing: Listing, began: int) -> None:
        """Read the tasks that have changed since they were read last, with their annotations."""
        project, read_until = self.project, self.project.read_until
        annotated: dict[int, dict[int, Annotation]] = {}
        for pk, annotation in project.annotations().items():
            annotated.setdefault(annotation.task, {})[pk] = annotation
        counts = {task: len(annotations) for task, annotations in annotated.items()}
        # A new task without annotations is left to those who read new tasks.
        concerns = (listing.annotations > 0) | (listing.tasks <= read_until) | np.isin(listing.tasks, list(annotated))
        differs = listing.changed_since(project.seen.all()) | listing.counts_differ(counts)
        news, less = self._read_whole(listing.tasks[differs & concerns].tolist(), annotated, began)
        orphans = annotated.keys() - set(listing.tasks.tolist()) if listing.is_whole else set()
        less += project.take_annotations({}, {pk: a for task in orphans for pk, a in annotated[task].items()}, began)[1]
        project.forget_removed_annotations(began)
        if news or less:
            log.info("project %d: %d annotations were missed or changed, %d are gone", project.id, news, less)

    def _read_whole(
        self, wanted: Sequence[int], annotated: Mapping[int, Mapping[int, Annotation]], began: int
    ) -> tuple[int, int]:
        """Read tasks with their annotations, of which these are known by now, by task and by their own ids.

        Returns how many annotations were missed or differed, and how many are gone.
        """
        project, read_until = self.project, self.project.read_until
        news = less = 0
        for page in self.label_studio.whole_tasks(project.id, wanted):
            before = {pk: a for task in page for pk, a in annotated.get(int(task["id"]), {}).items()}
            more, fewer = project.take_annotations(_annotations(page), before, began)
            news, less = news + more, less + fewer
            self._take_edited(page, read_until, began)
            project.seen.put({int(task["id"]): _changed_at(task) for task in page})
        return news, less

    def _reconcile_some(self) -> None:
        """Look at the texts of one page of tasks, and of the next one the next time.

        What Label Studio changes of many tasks at once, as where a field is filled for all, moves no task's time.
        """
        project, tasks = self.project, self.label_studio.tasks
        began, read_until = project.begin_reading(), project.read_until
        page = next(tasks(project.id, after=project.looked_until), None) or next(tasks(project.id), [])
        self._take_edited(page, read_until, began)
        project.looked_until = int(page[-1]["id"]) if page else 0

    def _want_names(self) -> None:
        """Let the choices' names be embedded before all texts: with them the first task already has a prediction.

        Adapted encoders have learnt what they say.
        """
        table, waiting = self.targets[0]
        names = [name_text(words) for question in self.config.questions for words in question.words]
        texts = {text_id(text): text for text in names}
        lacking = set(table.missing(list(texts))) - set(waiting.failures(texts))
        if lacking:
            waiting.add({key: texts[key] for key in lacking}, self.project.id, urgent=True)

    def _take(self, tasks: _Tasks, began: int) -> None:
        """Remember the texts of tasks, and let those that have no vector yet wait for the encoders."""
        read = [(self.project.of(question), *texts_of(tasks, question)) for question in self._reading]
        by_id = {text_id(text): text for _, texts, _ in read for text in texts.values()}
        terms, lacking = self._terms, [table.missing(list(by_id)) for table, _ in self.targets]
        terms.append({key: by_id[key] for key in terms.missing(list(by_id))})
        for part, texts, unembeddable in read:
            part.put_tasks({task: text_id(text) for task, text in texts.items()}, unembeddable, began)
        for (_, waiting), ids in zip(self.targets, lacking, strict=True):
            if ids:
                waiting.add({key: by_id[key] for key in ids}, self.project.id)
        self.project.add_vectors(sorted(by_id.keys() - set.intersection(*map(set, lacking))))

    def _take_edited(self, tasks: _Tasks, read_until: int, began: int) -> None:
        """Take those tasks, of the ones up to `read_until`, whose text is another one than the one remembered.

        No event tells of such a change.
        """
        matching.look_at(self.project, tasks)
        looked_at, edited = [task for task in tasks if int(task["id"]) <= read_until], set()
        for question in self._reading:
            part, (texts, unembeddable) = self.project.of(question), texts_of(looked_at, question)
            ids, reasons = part.texts_of(list(texts)), part.reasons_of(list(unembeddable))
            edited |= {task for task, text in texts.items() if ids.get(task) != text_id(text)}
            edited |= {task for task, reason in unembeddable.items() if reasons.get(task) != reason}
        if edited:
            log.info("project %d: the texts of %d tasks were changed", self.project.id, len(edited))
            self._take([task for task in tasks if int(task["id"]) in edited], began)

    @property
    def _reading(self) -> list[LabelConfig]:
        """The first question, and those that read other texts."""
        return [question for question in self.config.questions if question.is_first or question.reads]

    @property
    def _terms(self) -> "TermTable":
        return vectors.TermTable(self.targets[0][0].uri)

    @property
    def _ranked_by(self) -> str:
        """That of the encoders whose vectors make a task part of the ranking."""
        ranked_by, encoders = self.project.encoder, [table.encoder for table, _ in self.targets]
        return ranked_by if ranked_by in encoders else encoders[0]


def texts_of(tasks: _Tasks, config: LabelConfig) -> tuple[dict[int, str], dict[int, str]]:
    """The text of each task, and of those that have none, why."""
    texts: dict[int, str] = {}
    unembeddable: dict[int, str] = {}
    for task in tasks:
        try:
            texts[int(task["id"])] = config.text_for_encoder(task.get("data"))
        except UnembeddableError as reason:
            unembeddable[int(task["id"])] = str(reason)
    return texts, unembeddable


def is_filled(project: Project, table: "VectorTable", waiting: WaitingTexts) -> bool:
    """Whether every text of a project that can have a vector of an encoder has one."""
    return not (len(waiting) or project.has_unread_tasks or len(_lost(project.every_text()[1], table, waiting)))


def _lost(texts: NDArray[np.bytes_], table: "VectorTable", waiting: WaitingTexts) -> NDArray[np.int64]:
    """Places of the text ids (n,) S32 that have no vector, do not wait for one, and were not set aside."""
    lacking = np.flatnonzero(~table.contains(texts))
    others = text_ids([*waiting.ids(), *waiting.all_failures()])
    lost: NDArray[np.int64] = lacking[~np.isin(texts[lacking], others)]
    return lost


def _annotations(tasks: _Tasks) -> dict[int, Annotation]:
    """All annotations of tasks that were read as a whole, by their ids."""
    return {
        own: read_annotation(raw, int(task["id"]))
        for task in tasks
        for raw in as_list(task.get("annotations"))
        if isinstance(raw, Mapping) and (own := number(raw.get("id")))
    }


def _annotation_count(task: Mapping[str, Any]) -> int:
    """How many annotations a task has, skipped ones too, as far as its state tells."""
    return int(task.get("total_annotations") or 0) + int(task.get("cancelled_annotations") or 0)


def _changed_at(task: Mapping[str, Any]) -> int:
    """When a task was changed last, in microseconds since 1970; 1 where that cannot be known."""
    at = unix_time(str(task.get("updated_at") or ""))
    return 1 if at is None else int(at * 1_000_000)
