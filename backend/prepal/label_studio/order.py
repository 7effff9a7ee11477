"""The order beyond the newest head: first predictions of all tasks, renewed ones, and whether it stands."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from prepal.label_studio.client import LabelStudio
from prepal.label_studio.publish import Entry, Published, Publisher, stands_first
from prepal.labels import label_config
from prepal.project import MODEL_VERSION, Project, Ranking
from prepal.queues.waiting import WaitingTexts

log = logging.getLogger(__name__)

# Places that are published beyond the head while nothing else is to do; there the least confident come first.
_FRESHENED = 512
# The first tail is made when this many tasks are ranked, and again whenever their number has doubled.
_FIRST_TAIL = 2000


def entries(rankings: Sequence[Ranking], count: int) -> list[Entry]:
    """The first `count` places of a ranking, as they are published.

    Args:
        rankings: the same order with what is predicted for each question.
        count: of places.
    """
    ranking, *others = rankings
    hidden = np.zeros(count, bool) if ranking.hidden is None else ranking.hidden[:count]
    tasks = ranking.task_ids[:count].tolist()
    return [
        Entry(task, *ranking.said(place), not hides, tuple(other.said(place) for other in others))
        for place, (task, hides) in enumerate(zip(tasks, hidden, strict=True))
    ]


def freshen(
    project: Project,
    published: Published,
    label_studio: LabelStudio,
    stop: Callable[[], bool],
    places: int = _FRESHENED,
) -> int:
    """Publish the newest ranking beyond its head, while nothing else is to do; returns the places written."""
    publisher = _publisher(project, label_studio)
    rankings = [] if publisher is None else project.rankings(publisher.config)
    if not rankings or publisher is None or without_prediction(project):
        return 0
    pool = set(rankings[0].task_ids.tolist())
    return publisher.publish(entries(rankings, min(places, len(pool))), published, pool.__contains__, stop)


def publish_tail(project: Project, label_studio: LabelStudio) -> int:
    """Give every task that has no prediction yet a place behind the head; returns how many were made."""
    publisher = _publisher(project, label_studio)
    if publisher is None:
        return 0
    rankings = project.rankings(publisher.config)
    places = entries(rankings, len(rankings[0].task_ids)) if rankings else []
    made = publisher.create_tail(places, _never_ranked(project, rankings[0] if rankings else None))
    serve(project, label_studio)
    return made


def without_prediction(project: Project) -> int:
    """How many tasks have a place in the newest ranking, or will never have one, and no prediction in Label Studio."""
    ranking = project.ranking()
    tasks = np.empty(0, np.int64) if ranking is None else ranking.task_ids
    never = _never_ranked(project, ranking)
    wanted = np.concatenate([tasks, np.fromiter(never, np.int64, len(never))])
    return int((~np.isin(wanted, project.predictions.all()[0])).sum())


def tail_is_due(project: Project, ranked: int, *, more_come: bool) -> bool:
    """Tell whether enough of the tasks that the newest round ranked have no prediction yet.

    More come where texts wait for the encoder; if they are another project's, the tail comes a little later.
    """
    # Counting is done at once, where looking at a million tasks takes as long as a round.
    if len(project.predictions) >= project.task_count():
        return False
    lacking = without_prediction(project)
    return bool(lacking) and (not more_come or lacking >= max(_FIRST_TAIL, ranked - lacking))


def verify(project: Project, published: Published, label_studio: LabelStudio) -> bool:
    """Compare Label Studio's predictions with what was published; returns whether the order is right.

    Where it is not, because its database was restored or somebody else wrote scores, the next round publishes anew.
    """
    publisher, record, ranking = _publisher(project, label_studio), project.round, project.ranking()
    if publisher is None:
        return True
    before = set(project.predictions.all()[0].tolist())
    scores = publisher.reread()
    pool = [] if ranking is None else ranking.task_ids.tolist()
    first = [entry.task for entry in published.front] if published.is_newest(project) else record.head if record else []
    in_pool = set(pool)
    expected = [task for task in first if task in in_pool]
    if not before <= scores.keys():
        # As of a database that was restored; then what it serves by may be lost, too.
        project.is_serving = False
    right = before <= scores.keys() and stands_first(expected, scores, pool)
    if not right:
        log.info("project %d: the order in Label Studio is not the one that was published", project.id)
        project.begin_publication()
        project.add_fact()
    serve(project, label_studio)
    return right


def look_for_postponed(project: Project, label_studio: LabelStudio) -> bool:
    """Ask who postponed tasks that others were given in place of, for no event tells; returns whether that is news."""
    asked = {*project.postponed(), *project.overtaken()}
    return bool(asked) and project.set_postponed(asked, label_studio.postponed(sorted(asked)))


def serve(project: Project, label_studio: LabelStudio) -> None:
    """Let Label Studio order tasks by our predictions, which it accepts once there is one.

    That is said once: if the project goes by another version later, somebody wants it so.
    """
    if project.is_serving or not len(project.predictions):
        return
    # What we last heard may be older than a restored database.
    label_studio.update_project(project.id, model_version=MODEL_VERSION)
    project.set_info(replace(project.info, model_version=MODEL_VERSION))
    project.is_serving = True


def _never_ranked(project: Project, ranking: Ranking | None) -> list[int]:
    """Tasks that can be served, last of all: those without a text or with one that the encoder refused, and twins."""
    encoder = project.encoder
    never = [*project.unembeddable(), *([] if ranking is None else ranking.twins.tolist())]
    refused = {} if encoder is None else WaitingTexts(project.connection, encoder).all_failures()
    if not refused:
        return never
    tasks, texts = project.task_texts()
    return [*never, *tasks[np.isin(texts, np.array(list(refused), "S32"))].tolist()]


def _publisher(project: Project, label_studio: LabelStudio) -> Publisher | None:
    info = project.info
    if info.problem or not info.label_config:
        return None
    return Publisher(project, label_studio, label_config.parse(info.label_config))
