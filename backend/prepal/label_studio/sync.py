"""Brings Redis' copy of a project into agreement with Label Studio, which is the truth."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.label_studio.api import NotFoundError
from prepal.label_studio.client import UNCERTAINTY_SAMPLING, LabelStudio
from prepal.labels import label_config
from prepal.labels.annotation import Annotation
from prepal.labels.events import as_list, number, read_annotation
from prepal.labels.label_config import LabelConfig, UnembeddableError
from prepal.labels.serving import Rules
from prepal.learning.classifiers.label_names import name_text
from prepal.project import MODEL_VERSION, Project
from prepal.queues.waiting import WaitingTexts
from prepal.records import readable
from prepal.vectors import text_id, text_ids

if TYPE_CHECKING:
    from prepal.vectors import VectorTable

log = logging.getLogger(__name__)

# Reading on is put off while this many texts wait for the encoder, so that Redis stays small whatever is imported.
MOST_WAITING = 8192


def describe(project: Project, label_studio: LabelStudio) -> LabelConfig | None:
    """Learn what the project is; returns None when it is gone or cannot be served (its `problem` says why)."""
    try:
        settings = label_studio.project(project.id)
    except NotFoundError:
        if project.said_to_be_gone():
            log.info("project %d is gone from Label Studio", project.id)
            project.forget()
        else:
            log.warning("project %d: Label Studio says that it is gone; it is asked again for some minutes", project.id)
        return None
    return take_settings(project, settings)


def take_settings(project: Project, settings: Mapping[str, Any]) -> LabelConfig | None:
    """Remember a project's settings in Label Studio; returns None when it cannot be served."""
    project.said_to_be_there(str(settings.get("created_at") or ""))
    xml = str(settings["label_config"])
    config, problem = None, ""
    try:
        config = label_config.parse(xml)
    except PrepalError as error:
        problem = str(error)
        log.warning("project %d cannot be served: %s", project.id, problem)
    before = project.info
    # A config that cannot be served has no texts: those of the one before are kept, and compared with the next one's.
    text_version = config.text_version if config else before.text_version
    if before.text_version not in ("", text_version):
        log.info("project %d: its texts are other ones now", project.id)
        project.clear_tasks()
    project.set_rules(
        Rules(
            overlap=max(1, number(settings.get("maximum_annotations")) or 1),
            skip_queue=str(settings.get("skip_queue") or Rules.skip_queue),
        )
    )
    project.set_info(
        replace(
            before,
            title=readable(str(settings.get("title") or "")),
            label_config=xml,
            model_version=str(settings.get("model_version") or ""),
            problem=problem,
            text_version=text_version,
            task_count=int(settings.get("task_number") or 0),
            drift=_drift(project, settings) if before.connected else [],
        )
    )
    return config


def read_new_tasks(
    project: Project,
    config: LabelConfig,
    label_studio: LabelStudio,
    table: "VectorTable",
    waiting: WaitingTexts,
) -> bool:
    """Read one page of tasks that are not known yet; returns whether there may be more to read now."""
    _want_names(project, config, table, waiting)
    if len(waiting) >= MOST_WAITING:
        project.connection.set(project.key("unread"), 1)
        return False
    began = project.begin_reading()
    page = next(label_studio.tasks(project.id, after=project.read_until), None)
    if page is None:
        project.connection.delete(project.key("unread"))
        return False
    project.connection.set(project.key("unread"), 1)
    _take(project, config, page, table, waiting, began)
    # Who has annotations is read as a whole; the others are known by now.
    project.put_seen({int(task["id"]): _changed_at(task) for task in page if not _annotations(task)})
    project.read_until = int(page[-1]["id"])
    return True


def reconcile(
    project: Project,
    config: LabelConfig,
    label_studio: LabelStudio,
    table: "VectorTable",
    waiting: WaitingTexts,
) -> None:
    """Compare everything: tasks, their texts, texts without vectors, annotations."""
    began = project.begin_reading()
    # What is read while the list is may not be on it; and where tasks are read again, those behind are known as well.
    known, last = _known(project), project.read_until
    listing = _Listing.read(project, label_studio)
    gone = known[~np.isin(known, listing.tasks)].tolist()
    if not listing.is_whole:
        log.info("project %d: some tasks were not listed; they are looked for again", project.id)
    elif gone:
        log.info("project %d: %d tasks are gone", project.id, len(gone))
        project.delete_tasks(gone)
    missed = listing.tasks[(listing.tasks <= last) & ~np.isin(listing.tasks, known)]
    if len(missed):
        project.read_again(int(missed.min()))
    _reconcile_changed(project, config, label_studio, table, waiting, listing, began)
    _reconcile_some(project, config, label_studio, table, waiting)
    project.forget_removed_tasks(began)
    tasks, texts = project.task_texts()
    lacking = tasks[_lost(texts, table, waiting)]
    if len(lacking):
        log.info("project %d: %d tasks have no vector and are read again", project.id, len(lacking))
        project.read_again(int(lacking.min()))


def is_filled(project: Project, table: "VectorTable", waiting: WaitingTexts) -> bool:
    """Whether every text of a project that can have a vector of an encoder has one."""
    if len(waiting) or project.connection.exists(project.key("unread")):
        return False
    return not len(_lost(project.task_texts()[1], table, waiting))


@dataclass(frozen=True)
class _Listing:
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
    def read(cls, project: Project, label_studio: LabelStudio) -> "_Listing":
        parts = [
            np.array([(int(t["id"]), _changed_at(t), _annotations(t)) for t in page], np.int64)
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

    def counts_differ(self, known: Mapping[int, int]) -> NDArray[np.bool_]:
        """Which tasks `(n,)` have more or fewer annotations than are known, as where one was lost or cannot be read."""
        counts = np.fromiter((known.get(task, 0) for task in self.tasks.tolist()), np.int64, len(self.tasks))
        return np.asarray(counts != self.annotations)


def _reconcile_changed(
    project: Project,
    config: LabelConfig,
    label_studio: LabelStudio,
    table: "VectorTable",
    waiting: WaitingTexts,
    listing: _Listing,
    began: int,
) -> None:
    """Read the tasks that have changed since they were read last, with their annotations."""
    known, read_until = project.annotations(), project.read_until
    annotated: dict[int, dict[int, Annotation]] = {}
    for pk, annotation in known.items():
        annotated.setdefault(annotation.task, {})[pk] = annotation
    counts = {task: len(found) for task, found in annotated.items()}
    # A new task without annotations is left to those who read new tasks.
    concerns = (listing.annotations > 0) | (listing.tasks <= read_until) | np.isin(listing.tasks, list(annotated))
    differs = listing.changed_since(project.seen()) | listing.counts_differ(counts)
    wanted = listing.tasks[differs & concerns].tolist()
    news = less = 0
    for page in label_studio.whole_tasks(project.id, wanted):
        found: dict[int, Annotation] = {}
        for task in page:
            for raw in as_list(task.get("annotations")):
                if isinstance(raw, Mapping) and (own := number(raw.get("id"))):
                    found[own] = read_annotation(raw, int(task["id"]))
        before = {pk: a for task in page for pk, a in annotated.get(int(task["id"]), {}).items()}
        more, fewer = project.take_annotations(found, before, began)
        news, less = news + more, less + fewer
        _take_edited(project, config, [t for t in page if int(t["id"]) <= read_until], table, waiting, began)
        project.put_seen({int(task["id"]): _changed_at(task) for task in page})
    orphans = annotated.keys() - set(listing.tasks.tolist()) if listing.is_whole else set()
    less += project.take_annotations({}, {pk: a for task in orphans for pk, a in annotated[task].items()}, began)[1]
    project.forget_removed_annotations(began)
    if news or less:
        log.info("project %d: %d annotations were missed or changed, %d are gone", project.id, news, less)


def _reconcile_some(
    project: Project, config: LabelConfig, label_studio: LabelStudio, table: "VectorTable", waiting: WaitingTexts
) -> None:
    """Look at the texts of one page of tasks, and of the next one the next time.

    What Label Studio changes of many tasks at once, as where a field is filled for all, moves no task's time.
    """
    began = project.begin_reading()
    read_until = project.read_until
    page = next(label_studio.tasks(project.id, after=project.looked_until), None) or next(
        label_studio.tasks(project.id), []
    )
    _take_edited(project, config, [task for task in page if int(task["id"]) <= read_until], table, waiting, began)
    project.looked_until = int(page[-1]["id"]) if page else 0


def _known(project: Project) -> NDArray[np.int64]:
    """(n,): all tasks that are known, ascending."""
    without_text = project.unembeddable()
    return np.union1d(project.task_texts()[0], np.fromiter(without_text, np.int64, len(without_text)))


def _lost(texts: NDArray[np.bytes_], table: "VectorTable", waiting: WaitingTexts) -> NDArray[np.int64]:
    """Places of the text ids (n,) S32 that have no vector, do not wait for one, and were not set aside."""
    lacking = np.flatnonzero(~table.contains(texts))
    others = text_ids([*waiting.ids(), *waiting.all_failures()])
    lost: NDArray[np.int64] = lacking[~np.isin(texts[lacking], others)]
    return lost


def _want_names(project: Project, config: LabelConfig, table: "VectorTable", waiting: WaitingTexts) -> None:
    """Let the names of the choices be embedded before all texts: with them the first task already has a prediction."""
    texts = {text_id(text): text for text in map(name_text, config.words)}
    lacking = set(table.missing(list(texts))) - set(waiting.failures(texts))
    if lacking:
        waiting.add({key: texts[key] for key in lacking}, project.id, urgent=True)


def _drift(project: Project, settings: Mapping[str, object]) -> list[str]:
    found = []
    if settings.get("sampling") != UNCERTAINTY_SAMPLING:
        found.append(f"Label Studio serves by {settings.get('sampling')!r}, not by {UNCERTAINTY_SAMPLING!r}")
    version = str(settings.get("model_version") or "")
    if project.is_serving and version != MODEL_VERSION:
        found.append(f"Label Studio serves by the predictions of {version!r}, not of {MODEL_VERSION!r}")
    return [
        f"{sentence}: run `prepal connect {project.id}` again, if that is not meant to be so." for sentence in found
    ]


def _take(
    project: Project,
    config: LabelConfig,
    tasks: Sequence[Mapping[str, Any]],
    table: "VectorTable",
    waiting: WaitingTexts,
    began: int,
) -> None:
    """Remember the texts of tasks, and let those that have no vector yet wait for the encoder."""
    texts, unembeddable = _texts(config, tasks)
    by_id = {text_id(text): text for text in texts.values()}
    lacking = table.missing(list(by_id))
    project.put_tasks({task: text_id(text) for task, text in texts.items()}, unembeddable, began)
    if lacking:
        waiting.add({key: by_id[key] for key in lacking}, project.id)
    project.add_vectors(sorted(by_id.keys() - set(lacking)))


def _take_edited(
    project: Project,
    config: LabelConfig,
    tasks: Sequence[Mapping[str, Any]],
    table: "VectorTable",
    waiting: WaitingTexts,
    began: int,
) -> None:
    """The same for those of the tasks whose text is another one than is remembered: no event tells of that."""
    texts, unembeddable = _texts(config, tasks)
    known, reasons = project.texts_of(list(texts)), project.reasons_of(list(unembeddable))
    edited = {task for task, text in texts.items() if known.get(task) != text_id(text)}
    edited |= {task for task, reason in unembeddable.items() if reasons.get(task) != reason}
    if edited:
        log.info("project %d: the texts of %d tasks were changed", project.id, len(edited))
        _take(project, config, [task for task in tasks if int(task["id"]) in edited], table, waiting, began)


def _texts(config: LabelConfig, tasks: Sequence[Mapping[str, Any]]) -> tuple[dict[int, str], dict[int, str]]:
    """The text of each task, and of those that have none, why."""
    texts: dict[int, str] = {}
    unembeddable: dict[int, str] = {}
    for task in tasks:
        try:
            texts[int(task["id"])] = config.text_for_encoder(task.get("data"))
        except UnembeddableError as reason:
            unembeddable[int(task["id"])] = str(reason)
    return texts, unembeddable


def _annotations(task: Mapping[str, Any]) -> int:
    """How many annotations a task has, skipped ones too, as far as its state tells."""
    return int(task.get("total_annotations") or 0) + int(task.get("cancelled_annotations") or 0)


def _changed_at(task: Mapping[str, Any]) -> int:
    """When a task was changed last, in microseconds since 1970; 1 where that cannot be known."""
    try:
        at = datetime.fromisoformat(str(task.get("updated_at") or ""))
    except ValueError:
        return 1
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1_000_000)
