"""Checks of how one project is connected: that we may change it, and that it and the backend reach each other."""

import hmac

from prepal.doctor.case import NO_EVENT, Case, Check, Finding, ok, problem, warning
from prepal.errors import PrepalError
from prepal.label_studio.api import NotFoundError
from prepal.label_studio.connect import WEBHOOK_EVENTS, authorization
from prepal.label_studio.reaching import without_login
from prepal.labels import label_config
from prepal.labels.text_fields import misfits
from prepal.project import MODEL_VERSION

# What a prediction takes, as sent; more than the most is not tried for the sake of knowing, nor less than the least.
_PREDICTION_BYTES, _MOST_BYTES, _LEAST_BYTES = 256, 2**24, 2**12
_WEBHOOKS = "the project's Settings, Webhooks"
# Label Studio's words for a backend that it reached, and for one that it trains with or asks right now.
_REACHED = ("CO", "TR", "PR")


def project(case: Case) -> Finding:
    """The token's user sees the project."""
    try:
        title = case.described.get("title")
    except NotFoundError:
        return problem(
            f"The token's user sees no project {case.number} in Label Studio.",
            "Check the number in the project's address, or use the token of a member of its organisation.",
        )
    except PrepalError as error:
        return problem(str(error), "Use the token of a user who may change the project.")
    return ok(f"Label Studio shows project {case.number}, {title!r}.")


def rights(case: Case) -> Finding:
    """The token's user may change the project."""
    if " answered 403 " in case.webhook_refusal or " answered 403 " in case.backend_refusal:
        return problem(
            f"The token's user may not change project {case.number}.",
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


def body_limit(case: Case) -> Finding:
    """Nothing in front of Label Studio limits bodies to less than the predictions of all tasks take."""
    tasks = int(case.described.get("task_number") or 0)
    most = passing = min(tasks * _PREDICTION_BYTES, _MOST_BYTES)
    while passing > _LEAST_BYTES and not case.passes(passing):
        passing //= 2
    if passing < most:
        return warning(
            f"Something in front of Label Studio limits bodies to less than {2 * passing:,} bytes, so the predictions "
            f"of {tasks:,} tasks are sent in parts, which takes Label Studio longer.",
            f"Raise its limit, such as client_max_body_size of nginx, to {tasks * _PREDICTION_BYTES:,} bytes or more.",
        )
    return ok("The predictions of all tasks pass in one call.")


def config(case: Case) -> Finding:
    """The label config can be served."""
    try:
        found = label_config.parse(str(case.described["label_config"]))
    except PrepalError as error:
        return problem(str(error), "Change the label config in the project's Settings, Labeling Interface.")
    learnt = [f"{one.from_name!r} is learnt, with {len(one.choices)} choices." for one in found.questions]
    return ok(" ".join([*learnt, *found.notes]))


def texts(case: Case) -> Finding:
    """Tasks have the texts that the label config reads."""
    first = [task.get("data") for task in next(case.label_studio.tasks(case.number), [])]
    questions = label_config.parse(str(case.described["label_config"])).questions
    found = list(dict.fromkeys(told for question in questions for told in misfits(question.fields, first)))
    if found:
        return warning(" ".join(found), "Change the label config, or import the texts under the names that it reads.")
    return ok("The first tasks have the texts that the label config reads.")


def connected(case: Case) -> Finding:
    """The backend is connected to the project, under a title that does not hold annotators up, and we know of it."""
    url = without_login(case.backend_url)
    if case.backend is None:
        return case.by_connecting(f"The backend {url} is not connected to the project.")
    if case.backend["title"] == MODEL_VERSION:
        return case.by_connecting(
            f"The backend's title is the predictions' version, {MODEL_VERSION!r}: annotators wait while it is down."
        )
    if case.project.left:
        return case.by_connecting(case.project.left)
    if not case.project.info.connected:
        return case.by_connecting("PRepAL does not know the project.")
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
    if not case.webhooks:
        return case.by_connecting("The project has no webhook to the backend, so labels arrive late.")
    if not case.active_webhooks:
        return case.by_connecting("The webhook to the backend is switched off, so labels arrive late.")
    if (count := len(case.active_webhooks)) > 1:
        return case.by_connecting(f"{count} webhooks send every event to the backend.", warning)
    return ok("One webhook sends events to the backend.")


def webhook_events(case: Case) -> Finding:
    """The webhook sends all that is needed."""
    for hook in case.active_webhooks:
        lacking = [] if hook["send_for_all_actions"] else sorted(set(WEBHOOK_EVENTS) - set(hook["actions"] or []))
        if lacking:
            return case.by_connecting(f"The webhook does not send {', '.join(lacking)}.")
        if not hook["send_payload"]:
            return case.by_connecting("The webhook sends events without content.")
    return ok("The webhook sends all events that are needed.")


def webhook_credentials(case: Case) -> Finding:
    """The webhook says who it is to a backend that asks."""
    if not case.settings.basic_auth_user:
        return ok("The webhook needs no credentials.")
    expected = authorization(*case.login)["Authorization"]
    for hook in case.active_webhooks:
        given = str((hook["headers"] or {}).get("Authorization", ""))
        if not hmac.compare_digest(given.encode(), expected.encode()):
            return case.by_connecting(
                "The webhook has no credentials, or other ones, so the backend refuses every event."
            )
    return ok("The webhook has the backend's credentials.")


CHECKS = [
    Check("project", project, ("token",)),
    Check("rights", rights, ("project",)),
    Check("private addresses", private_addresses, ("rights",)),
    Check("body limit", body_limit, ("rights",)),
    Check("label config", config, ("project",)),
    Check("texts", texts, ("label config",)),
    Check("backend connected", connected, ("project", "Redis", "label config")),
    Check("backend reachable", reachable, ("backend connected",)),
    Check("other backends", other_backends, ("project",)),
    Check("webhook", webhook, ("project",)),
    Check("webhook events", webhook_events, ("webhook",)),
    Check("webhook credentials", webhook_credentials, ("webhook",)),
]
