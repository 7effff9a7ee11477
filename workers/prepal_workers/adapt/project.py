"""One project's adaptation: its labels and texts become an encoder in the vector cache, or a note why not."""

import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.sync import texts_of
from prepal.labels import label_config
from prepal.labels.label_config import LabelConfig
from prepal.labels.settle import settle
from prepal.learning.quality.folds import equal
from prepal.project import Adaptation, Project
from prepal.vectors import AdaptedEncoders, text_id, text_ids
from prepal_workers.adapt.adaptation import MOST_OTHERS, Known, NotAdaptableError, adapt
from prepal_workers.encoder.cached import embed
from prepal_workers.labelled.wording import words_of
from prepal_workers.training.epochs import Watch
from prepal_workers.training.recipe import Wishes

log = logging.getLogger(__name__)

# On processors more labels take too long, and none of them changes much.
_MOST_LABELS = 2000
_NO_BETTER = "it was no better on labels that it had not seen"


def adapt_project(
    project: Project,
    label_studio: LabelStudio,
    base: str,
    vectors: str,
    *,
    wishes: Wishes | None = None,
    watch: Watch | None = None,
) -> Adaptation | None:
    """Train, judge and, if it is better, store an encoder of a project; it is what the ranking is to rest on then.

    Args:
        project: whose labels Redis knows.
        label_studio: has the texts.
        base: the identity of the encoder that training starts from.
        vectors: the vector cache.
        wishes: hyperparameters that are given, where memory ran out before.
        watch: told of progress.

    Returns:
        What came of it; None where nothing is to be done, or the project was deleted or configured anew meanwhile.

    Raises:
        PrepalError: Label Studio, the vector cache or the base cannot be used.
    """
    config = label_config.parse_or_none(project.info.label_config)
    if config is None or project.left:
        return None
    labels = settle(project.annotations(), config)
    if not project.is_to_be_adapted(len(labels)):
        return None
    began = time.monotonic()
    known = _read(project, config, labels, label_studio)
    log.info("project %d: an encoder is trained on %d labels", project.id, len(known.texts))

    def see(texts: Sequence[str]) -> NDArray[np.float32]:
        return embed(texts, base, vectors)

    tried = Adaptation(base=base, labels=len(labels))
    with tempfile.TemporaryDirectory(prefix="prepal-") as temporary:
        folder, store, encoder = Path(temporary) / "encoder", AdaptedEncoders(vectors), ""
        try:
            outcome = adapt(known, base, see, folder, wishes=wishes, watch=watch)
        except NotAdaptableError as error:
            tried, learnt = replace(tried, note=str(error)), text_ids([])
        else:
            tried = replace(tried, judged=outcome.judged, accuracy=outcome.accuracy)
            learnt = text_ids([text_id(known.texts[place]) for place in outcome.learnt])
            if outcome.encoder is None:
                tried = replace(tried, note=_NO_BETTER)
            else:
                encoder = store.put(folder, base, project.id, len(labels))
                tried = replace(tried, temperature=outcome.temperature)
    tried = replace(tried, encoder=encoder, finished_at=time.time(), seconds=time.monotonic() - began)
    now = label_config.parse_or_none(project.info.label_config)
    if not project.is_known or now is None or now.meaning != config.meaning:
        log.info("project %d: was deleted or configured anew while its encoder was trained", project.id)
        if encoder:
            store.delete(encoder)
        return None
    project.note_adaptation(tried, learnt)
    return tried


def _read(
    project: Project, config: LabelConfig, labels: dict[int, NDArray[np.bool_]], label_studio: LabelStudio
) -> Known:
    """Read the texts of labelled tasks, and of some others, from Label Studio."""
    draw = np.random.default_rng(project.id)
    tasks, _ = project.task_texts()
    labelled = list(labels)
    if len(labelled) > _MOST_LABELS and not torch.cuda.is_available():
        labelled = [labelled[at] for at in np.sort(draw.permutation(len(labelled))[:_MOST_LABELS])]
    others = np.setdiff1d(tasks, list(labels))
    others = np.sort(draw.permutation(others)[:MOST_OTHERS])
    wanted = [*labelled, *others.tolist()]
    texts: dict[int, str] = {}
    for page in label_studio.whole_tasks(project.id, wanted):
        texts |= texts_of(page, config)[0]
    labelled = [task for task in labelled if task in texts]
    if not labelled:
        raise PrepalError(f"Label Studio has none of the labelled texts of project {project.id}: look at its tasks.")
    rows = np.array([labels[task] for task in labelled], bool)
    audits = project.audits()
    return Known(
        texts=[texts[task] for task in labelled],
        labels=rows if config.multiple else rows.argmax(axis=1).astype(np.int64),
        choices=config.words,
        audits=np.array([task in audits for task in labelled]),
        groups=equal([words_of(texts[task]) for task in labelled]),
        others=[texts[task] for task in others.tolist() if task in texts],
    )
