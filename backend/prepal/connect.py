"""Makes a Label Studio project ready: backend, webhook with credentials, sampling. Safe to repeat."""

import base64
from dataclasses import replace
from urllib.parse import urlsplit

from prepal import label_config
from prepal.errors import PrepalError
from prepal.label_studio import UNCERTAINTY_SAMPLING, LabelStudio
from prepal.project import MODEL_VERSION, Project
from prepal.records import readable

_TITLE = "PRepAL backend"
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
    _refuse_bare_name(url)
    settings = label_studio.project(project.id)
    config = label_config.parse(str(settings["label_config"]))
    changes = []
    backends = [backend for backend in label_studio.backends(project.id) if backend["url"].rstrip("/") == url]
    fields = {"project": project.id, "url": url, "is_interactive": False, "timeout": 100.0}
    if user:
        fields |= {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
    if not backends:
        backend = label_studio.save_backend(None, {**fields, "title": _TITLE})
        changes.append(f"Connected the backend {url} as {backend['title']!r}.")
    else:
        backend = backends[0]
        if backend.get("basic_auth_user") != (user or None) and user:
            label_studio.save_backend(int(backend["id"]), fields)
            changes.append("Gave the backend connection its credentials.")
    changes += _webhook(project, label_studio, f"{url}/webhook", user, password)

    if backend["title"] == MODEL_VERSION:
        label_studio.save_backend(int(backend["id"]), {**fields, "title": _TITLE})
        changes.append(f"Named the backend {_TITLE!r}: its title must not be the version of the predictions.")
    # Label Studio accepts only a version that a prediction has; before there is one, the tasks come in random order.
    version = MODEL_VERSION if label_studio.has_predictions(project.id, MODEL_VERSION) else ""
    wanted = {
        "sampling": UNCERTAINTY_SAMPLING,
        "model_version": version,
        "show_collab_predictions": True,
        "start_training_on_annotation_update": False,
    }
    settings = label_studio.project(project.id)
    missing = {name: value for name, value in wanted.items() if settings.get(name) != value}
    if missing:
        label_studio.update_project(project.id, **missing)
        changes += [f"Set {name} to {value!r}." for name, value in missing.items()]
    project.register()
    project.set_info(
        replace(
            project.info,
            title=readable(str(settings.get("title") or "")),
            label_config=str(settings["label_config"]),
            model_version=version,
            problem="",
            connected=True,
            text_version=config.text_version,
        )
    )
    return changes


def _refuse_bare_name(url: str) -> None:
    """Label Studio calls a backend at such an address, and then answers "Enter a valid URL" for its webhook."""
    host = urlsplit(url).hostname or ""
    if host != "localhost" and "." not in host and ":" not in host:
        raise PrepalError(
            f"Label Studio sends no events to {host!r}, a name without a dot: give the backend another name, such as "
            f"{host or 'backend'}.internal, and set PREPAL_BACKEND_URL."
        )


def _webhook(project: Project, label_studio: LabelStudio, url: str, user: str, password: str) -> list[str]:
    """Label Studio makes the webhook itself when a backend is connected, but without the credentials."""
    headers = {}
    if user:
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    wanted = {
        "url": url,
        "project": project.id,
        "headers": headers,
        "is_active": True,
        "send_payload": True,
        "send_for_all_actions": False,
        "actions": WEBHOOK_EVENTS,
    }
    found = [hook for hook in label_studio.webhooks(project.id) if hook["url"].rstrip("/") == url]
    for double in found[1:]:
        label_studio.save_webhook(int(double["id"]), {"url": double["url"], "is_active": False})
    if not found:
        label_studio.save_webhook(None, wanted)
        return [f"Made the webhook {url}."]
    hook = {**found[0], "actions": sorted(found[0].get("actions") or [])}
    if all(hook.get(name) == value for name, value in {**wanted, "actions": sorted(WEBHOOK_EVENTS)}.items()):
        return []
    label_studio.save_webhook(int(hook["id"]), {name: value for name, value in wanted.items() if name != "project"})
    return [f"Set the events and credentials of the webhook {url}."]
