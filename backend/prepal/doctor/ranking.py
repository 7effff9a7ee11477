"""Checks of what one project is served: by the newest ranking, of all its tasks and labels, and in its order."""

from prepal import vectors
from prepal.doctor.case import Case, Check, Finding, ok, problem, skipped, warning
from prepal.label_studio.client import UNCERTAINTY_SAMPLING
from prepal.label_studio.publish import stands_first, usable_score
from prepal.project import MODEL_VERSION
from prepal.queues.requests import LEARN, SYNC, queue
from prepal.queues.waiting import WaitingTexts
from prepal.reports.status import told
from prepal.vectors import encoders


def sampling(case: Case) -> Finding:
    """Label Studio serves by score."""
    found = case.described.get("sampling")
    if found != UNCERTAINTY_SAMPLING:
        return case.by_connecting(f"Label Studio serves by {found!r}, not by {UNCERTAINTY_SAMPLING!r}.")
    return ok("Label Studio serves by the scores of predictions.")


def model_version(case: Case) -> Finding:
    """The predictions by which Label Studio serves are ours."""
    found = str(case.described.get("model_version") or "")
    if found == MODEL_VERSION:
        return ok(f"Label Studio serves by the predictions of {MODEL_VERSION!r}.")
    if case.label_studio.has_predictions(case.number, MODEL_VERSION):
        return case.by_connecting(
            f"Label Studio serves by the predictions of {found!r}, not of {MODEL_VERSION!r}, so in random order."
        )
    return warning(
        "There are no predictions yet, so tasks come in random order.",
        "Wait for the first ranking; if it does not come, look at the learner's log.",
        None if case.project.ranking() is None else case.predict_tail,
    )


def shown_predictions(case: Case) -> Finding:
    """Annotators see what is predicted, and `next` goes by it."""
    if not case.described.get("show_collab_predictions"):
        return case.by_connecting("The project does not use predictions to prelabel tasks.")
    return ok("Annotators see what is predicted.")


def training_switch(case: Case) -> Finding:
    """Saving an annotation does not wait for a training."""
    if case.described.get("start_training_on_annotation_update"):
        return case.by_connecting(
            "Start model training on annotation submission is on, so annotators wait at every save."
        )
    return ok("Saving does not wait for a training.")


def overlap(case: Case) -> Finding:
    """Each task is meant for one annotator."""
    most = int(case.described.get("maximum_annotations") or 1)
    if most > 1:
        return warning(
            f"Each task is meant for {most} annotators, so tasks that others have begun come before any score.",
            "Set maximum_annotations of the project to 1, unless several opinions on each task are wanted.",
        )
    return ok("Each task is meant for one annotator.")


def locks(_: Case) -> Finding:
    """What annotators hold on to."""
    return skipped("Label Studio's API does not show which tasks are locked; a lock ends by itself after a day.")


def tasks_read(case: Case) -> Finding:
    """We know every task."""
    there, known = int(case.described.get("task_number") or 0), case.project.task_count()
    if there != known:
        return warning(
            f"Label Studio has {there} tasks, and PRepAL knows {known}.",
            "Wait until an import has been read, or run the doctor with --fix, which has all read again.",
            case.read_again,
        )
    return ok(f"All {there} tasks are known.")


def labels_read(case: Case) -> Finding:
    """We know every annotation."""
    skips = int(case.described.get("skipped_annotations_number") or 0)
    there = int(case.described.get("total_annotations_number") or 0)
    known = [annotation.skipped for annotation in case.project.annotations().values()]
    if len(known) - sum(known) not in (there, there - skips):
        return warning(
            f"Label Studio has {there} annotations, and PRepAL knows {len(known) - sum(known)}.",
            "Wait two minutes, or run the doctor with --fix, which has all read again.",
            case.read_again,
        )
    return ok("All annotations are known.")


def encoder(case: Case) -> Finding:
    """The encoder of these settings is the one that embeds the project's texts, and it does; so does an adapted one."""
    found = _embeds(case, case.settings.prepal_encoder, case.table, case.waiting)
    wanted = WaitingTexts.wanted(case.project, case.settings)
    if found.is_wrong or wanted.encoder == case.encoder:
        return found
    return _embeds(case, wanted.encoder, vectors.VectorTable(case.table.uri, wanted.encoder), wanted)


def _embeds(case: Case, name: str, table: "vectors.VectorTable", waits: WaitingTexts) -> Finding:
    """An encoder embeds the project's texts."""
    texts = set(case.project.every_text()[1].astype(str).tolist())
    failures = texts & waits.all_failures().keys()
    waiting = texts & waits.ids()
    lacking = set(table.missing(sorted(texts - failures))) - waiting
    if texts and len(lacking) == len(texts) and not encoders.is_adapted(name):
        return problem(
            f"No text of the project has a vector of the encoder {name}, and none waits for one.",
            "Set PREPAL_ENCODER and PREPAL_VECTORS to what the learner and the embed worker run with.",
        )
    # What is to be read again waits after that, a few thousand at a time.
    if lacking and not case.project.has_unread_tasks:
        return warning(
            f"{len(lacking)} texts have no vector of the encoder {name} and do not wait for one.",
            "Run the doctor with --fix, which has all read again.",
            case.read_again,
        )
    if failures:
        return warning(
            f"{len(failures)} texts could not be embedded.",
            "Look at the embed worker's log for the reasons, and shorten or delete these tasks.",
        )
    if waiting and (failed := len(waits.queue.failed_job_registry.get_job_ids(cleanup=False))):
        return problem(
            f"{len(waiting)} texts wait, and {failed} jobs of the embed worker have failed.",
            "Look at the embed worker's log: its encoder cannot be loaded, or its device has no memory.",
        )
    return ok(f"{len(texts - waiting - lacking)} of {len(texts)} texts are embedded.")


def tail(case: Case) -> Finding:
    """Every task that has a place in the ranking has a prediction."""
    ranking = case.project.ranking()
    if ranking is None:
        return skipped("Nothing is ranked yet.")
    placed = {*ranking.task_ids.tolist(), *case.project.unembeddable()}
    lacking = placed - {int(row["task"]) for row in case.predictions}
    if lacking and len(WaitingTexts(case.connection, case.project.encoder or case.encoder)):
        return ok(f"{len(lacking)} of {len(placed)} ranked tasks get their prediction while other texts are embedded.")
    if lacking:
        return problem(
            f"{len(lacking)} of {len(placed)} ranked tasks have no prediction, so annotators may see no task.",
            "Run the doctor with --fix, which has them made.",
            case.predict_tail,
        )
    return ok(f"All {len(placed)} ranked tasks have a prediction.")


def newest_round(case: Case) -> Finding:
    """The ranking knows everything, or a round that does is on its way."""
    record, facts = case.project.round, case.project.facts
    if record is None and not case.project.task_count():
        return skipped("There is nothing to rank yet.")
    if record is not None and record.facts == facts:
        return ok(f"Round {record.number} knows everything.")
    on_its_way = any(len(queue(case.connection, name)) for name in (LEARN, SYNC))
    if on_its_way or case.connection.exists(f"prepal:lock:{case.number}"):
        return ok("A round is on its way.")
    return warning(
        "No round knows of the newest labels or tasks, and none is on its way.",
        "Run the doctor with --fix, which requests a round; then look at the learner's log.",
        case.run_round,
    )


def order(case: Case) -> Finding:
    """Label Studio's order begins with the head of the newest round."""
    record, ranking = case.project.round, case.project.ranking()
    if record is None or ranking is None or not case.predictions:
        return skipped("Nothing is published yet.")
    pool = set(ranking.task_ids.tolist())
    scores = {int(row["task"]): usable_score(row) for row in case.predictions}
    if not stands_first([task for task in record.head if task in pool], scores, pool):
        return problem(
            "Label Studio serves tasks in another order than the newest round's, as after a restored backup.",
            "Run the doctor with --fix, which has the order published anew; the learner does so by itself in minutes.",
            case.verify,
        )
    strays = sum(usable_score(row) != row.get("score") for row in case.predictions)
    if strays:
        return warning(
            f"{strays} predictions of version {MODEL_VERSION!r} have scores that are none of ours.",
            "Run the doctor with --fix, which puts these tasks last; find out who else writes that version.",
            case.verify,
        )
    return ok("Label Studio's order is the newest round's.")


def troubles(case: Case) -> Finding:
    """Nothing that is done for the project fails again and again."""
    found = case.project.troubles()
    if found:
        return problem(
            " ".join(told(trouble) for trouble in found),
            "Mend what it says; the doctor with --fix has all tried again at once.",
            case.try_again,
        )
    return ok("Nothing has failed lately.")


CHECKS = [
    Check("sampling", sampling, ("project",)),
    Check("model version", model_version, ("project", "Redis")),
    Check("shown predictions", shown_predictions, ("project",)),
    Check("training switch", training_switch, ("project",)),
    Check("overlap", overlap, ("project",)),
    Check("locks", locks, ("project",)),
    Check("tasks read", tasks_read, ("project", "Redis")),
    Check("labels read", labels_read, ("project", "Redis")),
    Check("encoder", encoder, ("Redis", "vector cache", "embed worker")),
    Check("tail", tail, ("project", "Redis")),
    Check("round", newest_round, ("Redis", "learner")),
    Check("order", order, ("project", "Redis")),
    Check("troubles", troubles, ("Redis",)),
]
