"""Makes a Label Studio project ready, and undoes it: backend, webhook with credentials, sampling. Safe to repeat."""

import base64
import ipaddress
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from prepal.errors import PrepalError
from prepal.label_studio import tabs
from prepal.label_studio.client import UNCERTAINTY_SAMPLING, LabelStudio
from prepal.label_studio.describe import take_settings
from prepal.labels import label_config
from prepal.project import MODEL_VERSION, Project

log = logging.getLogger(__name__)

_TITLE = "PRepAL backend"
# Settings of a project that are changed, and how Label Studio samples where nobody said otherwise.
_OURS: dict[str, object] = {
    "sampling": UNCERTAINTY_SAMPLING,
    "model_version": MODEL_VERSION,
    "show_collab_predictions": True,
    "start_training_on_annotation_update": False,
}
_USUAL_SAMPLING = "Sequential sampling"
# Label Studio gives a backend one second to say that it is well, which a busy machine may need longer for at first.
_PATIENCE_S, _PAUSE_S = 30.0, 1.0
# The hosts to which Label Studio sends events, as Django's URLField knows them.
_LABEL = r"[a-z0-9\u00a1-\uffff](?:[a-z0-9\u00a1-\uffff-]{0,61}[a-z0-9\u00a1-\uffff])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)+(?!-)(?:[a-z\u00a1-\uffff-]{{2,63}}|xn--[a-z0-9]{{1,59}})(?<!-)\.?")
WEBHOOK_EVENTS = [
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "TASKS_CREATED",
    "TASKS_DELETED",
    "PROJECT_UPDATED",
]


def connect(
    project: Project, label_studio: LabelStudio, backend_url: str, user: str = "", password: str = ""
) -> list[str]:
    """Do what is not done yet; returns a sentence for each thing that was changed.

    Raises:
        PrepalError: the label config cannot be served, or Label Studio refuses the config or the address.
    """
    url = backend_url.rstrip("/")
    refuse_odd_name(url)
    settings = label_studio.project(project.id)
    label_config.parse(str(settings["label_config"]))
    if not project.info.connected:
        project.remember_before({name: settings.get(name) for name in _OURS})
    changes = []
    backends = [backend for backend in label_studio.backends(project.id) if _url(backend) == url]
    fields = {"project": project.id, "url": url, "is_interactive": False, "timeout": 100.0}
    if user:
        fields |= {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
    if not backends:
        backend = _save_backend(label_studio, None, {**fields, "title": _TITLE})
        changes.append(f"Connected the backend {url} as {backend['title']!r}.")
    else:
        backend = backends[0]
    changed = _webhook(project, label_studio, f"{url}/webhook", user, password)
    # Label Studio never tells which password it has; the webhook's is the same.
    if backends and user and (changed or backend.get("basic_auth_user") != user):
        _save_backend(label_studio, int(backend["id"]), fields)
        changes.append("Gave the backend connection its credentials.")
    changes += changed

    if backend["title"] == MODEL_VERSION:
        _save_backend(label_studio, int(backend["id"]), {**fields, "title": _TITLE})
        changes.append(f"Named the backend {_TITLE!r}: its title must not be the version of the predictions.")
    # Label Studio accepts only a version that a prediction has; before there is one, the tasks come in random order.
    version = MODEL_VERSION if label_studio.has_predictions(project.id, MODEL_VERSION) else ""
    settings, wanted = label_studio.project(project.id), {**_OURS, "model_version": version}
    missing = {name: value for name, value in wanted.items() if settings.get(name) != value}
    if missing:
        label_studio.update_project(project.id, **missing)
        changes += [f"Set {name} to {value!r}." for name, value in missing.items()]
    project.register()
    project.left, project.is_serving, project.backend_url = "", bool(version), url
    project.end_trouble()
    tabs.want_again(project)
    project.set_info(replace(project.info, connected=True))
    take_settings(project, {**settings, **missing})
    return changes


def is_to_be_connected(
    project: Project, label_studio: LabelStudio, backend_url: str, user: str = "", password: str = ""
) -> bool:
    """Learn whether the backend is still connected in Label Studio; returns whether it is to be connected again.

    Who deletes it there wants the project to be left alone (`left` says so). Who gave the backend other credentials
    wants Label Studio to have them.
    """
    url = project.backend_url or backend_url.rstrip("/")
    backends = {_url(backend): backend for backend in label_studio.backends(project.id)}
    if url in backends:
        project.left, project.backend_url = "", url
        wanted = authorization(user, password)
        hooks = [hook for hook in label_studio.webhooks(project.id) if _url(hook) == f"{url}/webhook"]
        outdated = any(hook.get("headers") != wanted for hook in hooks[:1])
        return outdated or str(backends[url].get("basic_auth_user") or "") != user
    if project.backend_url and not project.left:
        log.warning("project %d: the backend was deleted in Label Studio; the project is left alone", project.id)
        project.left = (
            f"The backend {url} was deleted in Label Studio, so the project is left alone: run `prepal connect "
            f"{project.id}` to serve it again, or `prepal disconnect {project.id}` to put back what else was changed."
        )
    return False


def disconnect(project: Project, label_studio: LabelStudio, backend_url: str, *, predictions: bool) -> list[str]:
    """Undo what `connect` did; returns a sentence for each thing that was changed.

    The project is forgotten, but for what Label Studio cannot tell again; the predictions that were made are deleted
    only where that is wanted. The backend's address counts if it is not known under which one it was connected.
    """
    url = (project.backend_url or backend_url).rstrip("/")
    before, settings = project.before, label_studio.project(project.id)
    # Nothing is published any more from here on.
    project.left = "It was disconnected by `prepal disconnect`."
    changes = []
    for hook in label_studio.webhooks(project.id):
        if _url(hook) == f"{url}/webhook":
            label_studio.delete_webhook(int(hook["id"]))
            changes.append(f"Deleted the webhook {hook['url']}.")
    for backend in label_studio.backends(project.id):
        if _url(backend) == url:
            label_studio.delete_backend(int(backend["id"]))
            changes.append(f"Deleted the backend {backend['title']!r}.")
    if predictions and label_studio.has_predictions(project.id, MODEL_VERSION):
        label_studio.delete_predictions(project.id, MODEL_VERSION)
        changes.append(f"Deleted the predictions of version {MODEL_VERSION!r}.")
    changes += tabs.remove(project, label_studio)
    changes += _restore(project, label_studio, settings, before)
    project.forget()
    return changes


def _restore(
    project: Project, label_studio: LabelStudio, settings: dict[str, Any], before: dict[str, Any]
) -> list[str]:
    """Put the settings back that are still as we set them; without a memory of them, as they are by default."""
    wanted = {name: before[name] for name in _OURS if name in before} or {"sampling": _USUAL_SAMPLING}
    wanted["model_version"] = _version_of(project, label_studio, wanted.get("model_version"))
    changed = {n: value for n, value in wanted.items() if settings.get(n) == _OURS[n] and value != _OURS[n]}
    if changed:
        label_studio.update_project(project.id, **changed)
    return [f"Set {name} back to {value!r}." for name, value in changed.items()]


def _version_of(project: Project, label_studio: LabelStudio, version: object) -> str:
    """The version that a project served by before, if it has such predictions still."""
    usable = isinstance(version, str) and version != MODEL_VERSION and label_studio.has_predictions(project.id, version)
    return str(version) if usable else ""


def refuse_odd_name(url: str) -> None:
    """Label Studio calls a backend at such an address, and then answers "Enter a valid URL" for its webhook.

    Raises:
        PrepalError: says what is odd, and a better name.
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost" or _NAME.fullmatch(host) or _is_number(host):
        return
    end = host.rpartition(".")[2]
    why = (
        "without a dot"
        if "." not in host
        else "with an underscore"
        if "_" in host
        else f"that ends with {end!r}, which is not letters alone"
        if not end.isalpha()
        else "that no host has"
    )
    better = re.sub("[^a-z0-9]+", "-", host.partition(".")[0]).strip("-") or "backend"
    raise PrepalError(
        f"Label Studio sends no events to {host!r}, a name {why}: give the backend another name, such as "
        f"{better}.internal, and set PREPAL_BACKEND_URL."
    )


def _is_number(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _save_backend(label_studio: LabelStudio, backend: int | None, fields: Mapping[str, object]) -> dict[str, Any]:
    """Connect the backend, or change it; tries again while Label Studio finds it slow, not where it is not there."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return label_studio.save_backend(backend, fields)
        except PrepalError as error:
            if "timed out" not in str(error) or time.monotonic() > end:
                raise
            log.warning("Label Studio found the backend too slow, and is asked again: %s", error)
        time.sleep(_PAUSE_S)


def _webhook(project: Project, label_studio: LabelStudio, url: str, user: str, password: str) -> list[str]:
    """Label Studio makes the webhook itself when a backend is connected, but without the credentials."""
    wanted = {
        "url": url,
        "project": project.id,
        "headers": authorization(user, password),
        "is_active": True,
        "send_payload": True,
        "send_for_all_actions": False,
        "actions": WEBHOOK_EVENTS,
    }
    hooks = [hook for hook in label_studio.webhooks(project.id) if _url(hook) == url]
    for double in hooks[1:]:
        label_studio.save_webhook(int(double["id"]), {"url": double["url"], "is_active": False})
    if not hooks:
        label_studio.save_webhook(None, wanted)
        return [f"Made the webhook {url}."]
    hook = {**hooks[0], "actions": sorted(hooks[0].get("actions") or [])}
    if all(hook.get(name) == value for name, value in {**wanted, "actions": sorted(WEBHOOK_EVENTS)}.items()):
        return []
    changes = {name: value for name, value in wanted.items() if name != "project"}
    try:
        label_studio.save_webhook(int(hook["id"]), changes)
    except PrepalError as error:
        # The learner may set the same events at once, and then Label Studio answers one of the two that they are there.
        log.warning("the webhook is set once more: %s", error)
        label_studio.save_webhook(int(hook["id"]), changes)
    return [f"Set the events and credentials of the webhook {url}."]


def authorization(user: str, password: str) -> dict[str, str]:
    """The headers by which the webhook shows who it is."""
    if not user:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def _url(of: Mapping[str, Any]) -> str:
    return str(of["url"]).rstrip("/")
