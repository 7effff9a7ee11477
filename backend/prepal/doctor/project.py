"""Checks of one project: what Label Studio has of it, what we have of it, and whether both agree."""

import base64
import hmac
from typing import Any

from prepal.doctor.case import NO_EVENT, Case, Check, without_login
from prepal.doctor.finding import Finding, ok, problem, skipped, warning
from prepal.errors import PrepalError
from prepal.label_studio.api import NotFoundError
from prepal.label_studio.client import UNCERTAINTY_SAMPLING
from prepal.label_studio.connect import WEBHOOK_EVENTS
from prepal.label_studio.publish import stands_first, usable_score
from prepal.labels import label_config
from prepal.project import MODEL_VERSION
from prepal.queues.requests import LEARN, SYNC, queue
from prepal.reports.status import told

_CONNECT = "Run `prepal connect {}`, or the doctor with --fix."
_WEBHOOKS = "the project's Settings, Webhooks"
# Label Studio's words for a backend that it reached, and for one that it trains with or asks right now.
_REACHED = ("CO", "TR", "PR")


def project(case: Case) -> Finding:
    """The token's user sees the project."""
    try:
        title = case.described.get("title")
    except NotFoundError:
        return problem(
            f"The token's user sees no project {case.project} in Label Studio.",
            "Check the number in the project's address, or use the token of a member of its organisation.",
        )
    except PrepalError as error:
        return problem(str(error), "Use the token of a user who may change the project.")
    return ok(f"Label Studio shows project {case.project}, {title!r}.")


def rights(case: Case) -> Finding:
    """The token's user may change the project."""
    if " answered 403 " in case.webhook_refusal or " answered 403 " in case.backend_refusal:
        return problem(
            f"The token's user may not change project {case.project}.",
            "Use the token of a user who may change the project.",
        )
    return ok("The token's user may change the project.")


def private_addresses(case: Case) -> Finding:
    """Label Studio is willing to call the backend's address, as a backend and as a webhook."""
    url = without_login(case.backend_url)
    for what, refusal, switch, expected in (
        ("backend", case.backend_refusal, "ML_BLOCK_LOCAL_IP=false", "timeout"),
        ("webhook", case.webhook_refusal, "SSRF_PROTECTION_ENABLED=false", NO_EVENT),
    ):
        if "blocks private addresses" in refusal:
            return problem(
                f"Label Studio refuses {url} as a {what}, because it is a private address.",
                f"Start Label Studio with {switch}, or give the backend a public address.",
            )
        if expected not in refusal:
            return problem(
                f"Label Studio cannot use the address {url} for a {what}.",
                "Set PREPAL_BACKEND_URL to an address that Label Studio can resolve, and whose name has a dot.",
            )
    return ok(f"Label Studio is willing to call {url}.")


def config(case: Case) -> Finding:
    """The label config can be served."""
    try:
        found = label_config.parse(str(case.described["label_config"]))
    except PrepalError as error:
        return problem(str(error), "Change the label config in the project's Settings, Labeling Interface.")
    return ok(f"{found.from_name!r} is learnt, with {len(found.choices)} choices.")


def connected(case: Case) -> Finding:
    """The backend is connected to the project, under a title that does not hold annotators up, and we know of it."""
    url = without_login(case.backend_url)
    if case.backend is None:
        return problem(
            f"The backend {url} is not connected to the project.", _CONNECT.format(case.project), case.connect
        )
    if case.backend["title"] == MODEL_VERSION:
        return problem(
            f"The backend's title is the predictions' version, {MODEL_VERSION!r}: annotators wait while it is down.",
            _CONNECT.format(case.project),
            case.connect,
        )
    if case.known.left:
        return problem(case.known.left, _CONNECT.format(case.project), case.connect)
    if not case.known.info.connected:
        return problem("PRepAL does not know the project.", _CONNECT.format(case.project), case.connect)
    return ok(f"The backend {url} is connected as {case.backend['title']!r}.")


def reachable(case: Case) -> Finding:
    """Label Studio's own answer to whether it reaches the backend."""
    assert case.backend is not None
    url, state, said = without_login(case.backend_url), case.backend["state"], str(case.backend.get("error_message"))
    if state in _REACHED:
        return ok(f"Label Studio reaches the backend at {url}.")
    if state == "ER" and "401" in said:
        if not case.settings.basic_auth_user:
            return problem(
                "The backend asks Label Studio for credentials, and none are set here.",
                "Set BASIC_AUTH_USER and BASIC_AUTH_PASS to the backend's, then run `prepal connect` again.",
            )
        return problem(
            "The backend does not accept the credentials that Label Studio has for it.",
            "Run the doctor with --fix, which gives Label Studio those of BASIC_AUTH_USER and BASIC_AUTH_PASS.",
            case.give_credentials,
        )
    if state == "ER":
        return problem(
            f"The backend at {url} refuses the project.", "Read why on the project's Settings, Model, or in its log."
        )
    if case.backend_answer("/health") is None:
        return problem(
            f"Label Studio does not reach the backend at {url}, and neither does this machine.",
            "Run `prepal serve` (or `prepal up`), or set PREPAL_BACKEND_URL to where it listens and connect again.",
        )
    return problem(
        f"Label Studio does not reach the backend at {url}, though this machine does.",
        "Let the backend listen on an address that Label Studio's machine reaches, open the firewall, and set "
        "PREPAL_BACKEND_URL to it.",
    )


def other_backends(case: Case) -> Finding:
    """No dead backend of earlier days takes a second of every save."""
    dead = [backend for backend in case.backends if backend is not case.backend and backend["state"] not in _REACHED]
    if dead:
        titles = ", ".join(repr(backend["title"]) for backend in dead)
        return warning(
            f"Label Studio does not reach another backend of the project ({titles}), which delays every save.",
            f"Delete it on the project's Settings, Model, and its webhook on {_WEBHOOKS}.",
        )
    return ok("No other backend is in the way.")


def webhook(case: Case) -> Finding:
    """Events are sent to us, once."""
    active = [hook for hook in case.webhooks if hook["is_active"]]
    remedy = _CONNECT.format(case.project)
    if not case.webhooks:
        return problem("The project has no webhook to the backend, so labels arrive late.", remedy, case.connect)
    if not active:
        return problem("The webhook to the backend is switched off, so labels arrive late.", remedy, case.connect)
    if len(active) > 1:
        return warning(f"{len(active)} webhooks send every event to the backend.", remedy, case.connect)
    return ok("One webhook sends events to the backend.")


def webhook_events(case: Case) -> Finding:
    """The webhook sends all that is needed."""
    for hook in _active(case):
        lacking = [] if hook["send_for_all_actions"] else sorted(set(WEBHOOK_EVENTS) - set(hook["actions"] or []))
        if lacking:
            return problem(
                f"The webhook does not send {', '.join(lacking)}.", _CONNECT.format(case.project), case.connect
            )
        if not hook["send_payload"]:
            return problem("The webhook sends events without content.", _CONNECT.format(case.project), case.connect)
    return ok("The webhook sends all events that are needed.")


def webhook_credentials(case: Case) -> Finding:
    """The webhook says who it is to a backend that asks."""
    user, password = case.settings.basic_auth_user, case.settings.basic_auth_pass
    if not user:
        return ok("The webhook needs no credentials.")
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    for hook in _active(case):
        given = str((hook["headers"] or {}).get("Authorization", ""))
        if not hmac.compare_digest(given.encode(), expected.encode()):
            return problem(
                "The webhook has no credentials, or other ones, so the backend refuses every event.",
                _CONNECT.format(case.project),
                case.connect,
            )
    return ok("The webhook has the backend's credentials.")


def sampling(case: Case) -> Finding:
    """Label Studio serves by score."""
    found = case.described.get("sampling")
    if found != UNCERTAINTY_SAMPLING:
        return problem(
            f"Label Studio serves by {found!r}, not by {UNCERTAINTY_SAMPLING!r}.",
            _CONNECT.format(case.project),
            case.connect,
        )
    return ok("Label Studio serves by the scores of predictions.")


def model_version(case: Case) -> Finding:
    """The predictions by which Label Studio serves are ours."""
    found = str(case.described.get("model_version") or "")
    if found == MODEL_VERSION:
        return ok(f"Label Studio serves by the predictions of {MODEL_VERSION!r}.")
    if case.label_studio.has_predictions(case.project, MODEL_VERSION):
        return problem(
            f"Label Studio serves by the predictions of {found!r}, not of {MODEL_VERSION!r}, so in random order.",
            _CONNECT.format(case.project),
            case.connect,
        )
    ranked = case.known.ranking() is not None
    return warning(
        "There are no predictions yet, so tasks come in random order.",
        "Wait for the first ranking; if it does not come, look at the learner's log.",
        case.predict_tail if ranked else None,
    )


def shown_predictions(case: Case) -> Finding:
    """Annotators see what is predicted, and `next` goes by it."""
    if not case.described.get("show_collab_predictions"):
        return problem(
            "The project does not use predictions to prelabel tasks.", _CONNECT.format(case.project), case.connect
        )
    return ok("Annotators see what is predicted.")


def training_switch(case: Case) -> Finding:
    """Saving an annotation does not wait for a training."""
    if case.described.get("start_training_on_annotation_update"):
        return problem(
            "Start model training on annotation submission is on, so annotators wait at every save.",
            _CONNECT.format(case.project),
            case.connect,
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
    there, known = int(case.described.get("task_number") or 0), case.known.task_count()
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
    known = [annotation.skipped for annotation in case.known.annotations().values()]
    if len(known) - sum(known) not in (there, there - skips):
        return warning(
            f"Label Studio has {there} annotations, and PRepAL knows {len(known) - sum(known)}.",
            "Wait two minutes, or run the doctor with --fix, which has all read again.",
            case.read_again,
        )
    return ok("All annotations are known.")


def encoder(case: Case) -> Finding:
    """The encoder of these settings is the one that embeds the project's texts, and it does."""
    name = case.settings.prepal_encoder
    texts = set(case.known.task_texts()[1].astype(str).tolist())
    failures = texts & case.waiting.all_failures().keys()
    waiting = texts & case.waiting.ids()
    lacking = set(case.table.missing(sorted(texts - failures))) - waiting
    if texts and len(lacking) == len(texts):
        return problem(
            f"No text of the project has a vector of the encoder {name}, and none waits for one.",
            "Set PREPAL_ENCODER and PREPAL_VECTORS to what the learner and the embed worker run with.",
        )
    if lacking:
        return warning(
            f"{len(lacking)} texts have no vector and do not wait for one.",
            "Run the doctor with --fix, which has all read again.",
            case.read_again,
        )
    if failures:
        return warning(
            f"{len(failures)} texts could not be embedded.",
            "Look at the embed worker's log for the reasons, and shorten or delete these tasks.",
        )
    if waiting and (failed := len(case.waiting.queue.failed_job_registry.get_job_ids(cleanup=False))):
        return problem(
            f"{len(waiting)} texts wait, and {failed} jobs of the embed worker have failed.",
            "Look at the embed worker's log: its encoder cannot be loaded, or its device has no memory.",
        )
    return ok(f"{len(texts) - len(waiting)} of {len(texts)} texts are embedded.")


def tail(case: Case) -> Finding:
    """Every task that has a place in the ranking has a prediction."""
    ranking = case.known.ranking()
    if ranking is None:
        return skipped("Nothing is ranked yet.")
    placed = {*ranking.task_ids.tolist(), *case.known.unembeddable()}
    lacking = placed - {int(row["task"]) for row in case.predictions}
    if lacking and len(case.waiting):
        return ok(f"{len(lacking)} of {len(placed)} ranked tasks get their prediction while other texts are embedded.")
    if lacking:
        return problem(
            f"{len(lacking)} of {len(placed)} ranked tasks have no prediction, so annotators may see no task.",
            "Run the doctor with --fix, which has them made.",
            case.predict_tail,
        )
    return ok(f"All {len(placed)} ranked tasks have a prediction.")


def order(case: Case) -> Finding:
    """Label Studio's order begins with the head of the newest round."""
    record, ranking = case.known.round, case.known.ranking()
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
    found = case.known.troubles()
    if found:
        return problem(
            " ".join(told(trouble) for trouble in found),
            "Mend what it says; the doctor with --fix has all tried again at once.",
            case.try_again,
        )
    return ok("Nothing has failed lately.")


def newest_round(case: Case) -> Finding:
    """The ranking knows everything, or a round that does is on its way."""
    record, facts = case.known.round, case.known.facts
    if record is None and not case.known.task_count():
        return skipped("There is nothing to rank yet.")
    if record is not None and record.facts == facts:
        return ok(f"Round {record.number} knows everything.")
    on_its_way = any(len(queue(case.connection, name)) for name in (LEARN, SYNC))
    if on_its_way or case.connection.exists(f"prepal:lock:{case.project}"):
        return ok("A round is on its way.")
    return warning(
        "No round knows of the newest labels or tasks, and none is on its way.",
        "Run the doctor with --fix, which requests a round; then look at the learner's log.",
        case.run_round,
    )


CHECKS = [
    Check("project", project, ("token",)),
    Check("rights", rights, ("project",)),
    Check("private addresses", private_addresses, ("rights",)),
    Check("label config", config, ("project",)),
    Check("backend connected", connected, ("project", "Redis", "label config")),
    Check("backend reachable", reachable, ("backend connected",)),
    Check("other backends", other_backends, ("project",)),
    Check("webhook", webhook, ("project",)),
    Check("webhook events", webhook_events, ("webhook",)),
    Check("webhook credentials", webhook_credentials, ("webhook",)),
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


def _active(case: Case) -> list[dict[str, Any]]:
    return [hook for hook in case.webhooks if hook["is_active"]]
