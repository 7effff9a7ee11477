"""Learns what a project is in Label Studio: its label config, whom it serves what, and whether it goes by us."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from prepal.errors import PrepalError
from prepal.label_studio.api import NotFoundError, UnavailableError
from prepal.label_studio.client import UNCERTAINTY_SAMPLING, LabelStudio
from prepal.labels import label_config
from prepal.labels.events import number
from prepal.labels.label_config import LabelConfig
from prepal.labels.serving import Rules
from prepal.labels.text_fields import misfits
from prepal.project import MODEL_VERSION, Project
from prepal.records import readable

log = logging.getLogger(__name__)


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


def name_people(project: Project, label_studio: LabelStudio) -> None:
    """Learn the names of those who annotated, as far as the token may read them."""
    unknown = {annotation.annotator for annotation in project.annotations().values()} - project.people().keys()
    if not unknown:
        return
    try:
        names = label_studio.users()
    except UnavailableError:
        raise
    except PrepalError as error:
        log.info("project %d: annotators have numbers and no names: %s", project.id, error)
        names = {}
    project.name_people({person: readable(names.get(person, "")) for person in unknown})


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
    if config:
        project.know(config.questions)
    if before.text_version not in ("", text_version):
        log.info("project %d: its texts are other ones now", project.id)
        project.clear_tasks()
    meaning = "".join(question.meaning for question in config.questions) if config else before.meaning
    if config and any(question.paths for question in config.questions) and before.meaning != meaning:
        # What was heard of them before may be leaves alone, as a release before this one kept them.
        project.seen.clear()
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
            meaning=meaning,
            several=bool(config.others) if config else before.several,
            task_count=int(settings.get("task_number") or 0),
            drift=_drift(project, settings) if before.connected else [],
        )
    )
    return config


def remarks(label_studio: LabelStudio, project: int) -> list[str]:
    """Sentences on what of a project's label config is not learnt or not read, and how it does not fit its first tasks.

    Raises:
        PrepalError: the label config cannot be served.
    """
    config = label_config.parse(str(label_studio.project(project)["label_config"]))
    first = [task.get("data") for task in next(label_studio.tasks(project), [])]
    told = [misfit for question in config.questions for misfit in misfits(question.fields, first)]
    return [*config.notes, *dict.fromkeys(told)]


def _drift(project: Project, settings: Mapping[str, object]) -> list[str]:
    differences = []
    if settings.get("sampling") != UNCERTAINTY_SAMPLING:
        differences.append(f"Label Studio serves by {settings.get('sampling')!r}, not by {UNCERTAINTY_SAMPLING!r}")
    version = str(settings.get("model_version") or "")
    if project.is_serving and version != MODEL_VERSION:
        differences.append(f"Label Studio serves by the predictions of {version!r}, not of {MODEL_VERSION!r}")
    return [
        f"{sentence}: run `prepal connect {project.id}` again, if that is not meant to be so."
        for sentence in differences
    ]
