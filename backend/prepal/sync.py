"""Brings Redis' copy of a project into agreement with Label Studio, which is the truth."""

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prepal import label_config
from prepal.errors import PrepalError
from prepal.label_config import LabelConfig, UnembeddableError
from prepal.label_studio import UNCERTAINTY_SAMPLING, LabelStudio, NotFoundError
from prepal.learning.label_names import name_text
from prepal.project import Project
from prepal.records import readable
from prepal.vectors import VectorTable, text_id, text_ids
from prepal.waiting import WaitingTexts

log = logging.getLogger(__name__)

# Reading on is put off while this many texts wait for the encoder, so that Redis stays small whatever is imported.
MOST_WAITING = 8192


def describe(project: Project, label_studio: LabelStudio) -> LabelConfig | None:
    """Learn what the project is; returns None when it is gone or cannot be served (its `problem` says why)."""
    try:
        settings = label_studio.project(project.id)
    except NotFoundError:
        log.info("project %d is gone from Label Studio", project.id)
        project.forget()
        return None
    xml = str(settings["label_config"])
    config, problem = None, ""
    try:
        config = label_config.parse(xml)
    except PrepalError as error:
        problem = str(error)
        log.warning("project %d cannot be served: %s", project.id, problem)
    before = project.info
    if config and before.text_version not in ("", config.text_version):
        log.info("project %d: its texts are other ones now", project.id)
        project.clear_tasks()
    project.set_info(
        replace(
            before,
            title=readable(str(settings.get("title") or "")),
            label_config=xml,
            model_version=str(settings.get("model_version") or ""),
            problem=problem,
            text_version=config.text_version if config else "",
            task_count=int(settings.get("task_number") or 0),
            drift=_drift(settings) if before.connected else [],
        )
    )
    return config


def read_new_tasks(
    project: Project,
    config: LabelConfig,
    label_studio: LabelStudio,
    table: VectorTable,
    waiting: WaitingTexts,
) -> bool:
    """Read one page of tasks that are not known yet; returns whether there may be more to read now."""
    _want_names(project, config, table, waiting)
    if len(waiting) >= MOST_WAITING:
        project.connection.set(project.key("unread"), 1)
        return False
    page = next(label_studio.tasks(project.id, after=project.read_until), None)
    if page is None:
        project.connection.delete(project.key("unread"))
        return False
    project.connection.set(project.key("unread"), 1)
    _take(project, config, page, table, waiting)
    project.read_until = int(page[-1]["id"])
    return True


def reconcile(
    project: Project,
    label_studio: LabelStudio,
    table: VectorTable,
    waiting: WaitingTexts,
) -> None:
    """Compare everything: tasks, texts without vectors, annotations."""
    _reconcile_annotations(project, label_studio)
    tasks, texts = project.task_texts()
    lacking = set(tasks[_lost(texts, table, waiting)].tolist())
    without_text = project.unembeddable()
    known = np.union1d(tasks, np.fromiter(without_text, np.int64, len(without_text)))
    last = project.last_task
    # What has not been read yet is not missing.
    if not lacking and (len(known) == project.info.task_count or project.connection.exists(project.key("unread"))):
        return
    if lacking:
        log.info("project %d: %d tasks have no vector and are read again", project.id, len(lacking))
        project.read_again(min(lacking))
    if len(known) == project.info.task_count:
        return
    seen = np.zeros(len(known), bool)
    for page in label_studio.tasks(project.id):
        numbers = np.array([number for task in page if (number := int(task["id"])) <= last], np.int64)
        seen[np.isin(known, numbers)] = True
        if missed := numbers[~np.isin(numbers, known)].tolist():
            project.read_again(min(missed))
        if len(numbers) < len(page):
            break
    gone = known[~seen].tolist()
    if gone:
        log.info("project %d: %d tasks are gone", project.id, len(gone))
        project.delete_tasks(gone)


def is_filled(project: Project, table: VectorTable, waiting: WaitingTexts) -> bool:
    """Whether every text of a project that can have a vector of an encoder has one."""
    if len(waiting) or project.connection.exists(project.key("unread")):
        return False
    return not len(_lost(project.task_texts()[1], table, waiting))


def _lost(texts: NDArray[np.bytes_], table: VectorTable, waiting: WaitingTexts) -> NDArray[np.int64]:
    """Places of the text ids (n,) S32 that have no vector, do not wait for one, and were not set aside."""
    lacking = np.flatnonzero(~table.contains(texts))
    others = text_ids([*waiting.ids(), *waiting.all_failures()])
    lost: NDArray[np.int64] = lacking[~np.isin(texts[lacking], others)]
    return lost


def _want_names(project: Project, config: LabelConfig, table: VectorTable, waiting: WaitingTexts) -> None:
    """Let the names of the choices be embedded before all texts: with them the first task already has a prediction."""
    texts = {text_id(text): text for text in map(name_text, config.words)}
    lacking = set(table.missing(list(texts))) - set(waiting.failures(texts))
    if lacking:
        waiting.add({key: texts[key] for key in lacking}, project.id, urgent=True)


def _drift(settings: dict[str, object]) -> list[str]:
    found = []
    if settings.get("sampling") != UNCERTAINTY_SAMPLING:
        found.append(f"Label Studio serves by {settings.get('sampling')!r}, not by {UNCERTAINTY_SAMPLING!r}")
    return [f"{sentence}: run `prepal connect` again." for sentence in found]


def _reconcile_annotations(project: Project, label_studio: LabelStudio) -> None:
    # Only what was known before Label Studio was read can be missing from what it says.
    before = set(project.annotations())
    found = label_studio.annotations(project.id)
    news = project.put_annotations(found)
    gone = before - set(found)
    if gone:
        project.delete_annotations(gone)
    if news or gone:
        log.info("project %d: %d annotations were missed, %d are gone", project.id, news, len(gone))


def _take(
    project: Project,
    config: LabelConfig,
    tasks: list[dict[str, object]],
    table: VectorTable,
    waiting: WaitingTexts,
) -> None:
    """Remember tasks, and let the texts that have no vector yet wait for the encoder."""
    texts: dict[int, str] = {}
    unembeddable: dict[int, str] = {}
    for task in tasks:
        number = int(str(task["id"]))
        try:
            texts[number] = config.text_for_encoder(task.get("data"))
        except UnembeddableError as reason:
            unembeddable[number] = str(reason)
    by_id = {text_id(text): text for text in texts.values()}
    lacking = table.missing(list(by_id))
    project.put_tasks({task: text_id(text) for task, text in texts.items()}, unembeddable)
    if lacking:
        waiting.add({key: by_id[key] for key in lacking}, project.id)
    project.add_vectors(sorted(by_id.keys() - set(lacking)))
