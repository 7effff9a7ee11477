"""HTTP: what Label Studio calls, the pages and metrics. No request trains, embeds or calls Label Studio."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import redis
from flask import Flask, Response, render_template, request, send_from_directory
from gunicorn.app.base import BaseApplication
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from redis.backoff import NoBackoff
from redis.retry import Retry
from werkzeug.exceptions import HTTPException, NotFound

from prepal import records
from prepal.errors import PrepalError
from prepal.labels import label_config
from prepal.labels.events import as_list, number, project_of
from prepal.logs import GunicornLogger
from prepal.project import MODEL_VERSION, Project, all_projects, readable
from prepal.queues.requests import request_sync
from prepal.queues.waiting import WaitingTexts
from prepal.reports import metrics, page
from prepal.reports.chart import accuracy_svg
from prepal.server import guard, model
from prepal.settings import Settings

log = logging.getLogger(__name__)

# Label Studio gives an event one second; a Redis that does not answer must not use it up. People can wait for a page.
_REDIS_TIMEOUT_S, _PAGES_TIMEOUT_S = 0.25, 5.0
# Two processes, so that one that reads an import of thousands of tasks does not keep the annotators waiting.
_WORKERS, _THREADS = 2, 8
# Tasks that one annotator may have before them.
_LOOKED_AT = 10
_LARGEST_BODY = 256 * 1024 * 1024
_PAGES = "web"
# Nothing from elsewhere, no script or style but the files of `web/`; figures are never a stored copy.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# A drawing brings its own style; it is shown as an image, which runs no script.
_SVG_HEADERS = {**_PAGE_HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


def create_app(settings: Settings) -> Flask:
    """The WSGI application.

    Raises:
        PrepalError: only half of the credentials are set.
    """
    app = Flask("prepal.server", static_folder=None, template_folder=_PAGES)
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_BODY
    answers = _Answers(_redis(settings, _REDIS_TIMEOUT_S), settings.prepal_encoder)
    pages = _Pages(_redis(settings, _PAGES_TIMEOUT_S), settings)
    app.add_url_rule("/health", "health", answers.health, methods=["GET"])
    # Label Studio asks here for JSON too; only browsers say that they prefer HTML.
    app.add_url_rule("/", "index", lambda: pages.index() if _prefers_html() else answers.health(), methods=["GET"])
    app.add_url_rule("/projects/<int:number>", "project", pages.project, methods=["GET"])
    app.add_url_rule("/projects/<int:number>.json", "document", pages.document, methods=["GET"])
    app.add_url_rule("/projects/<int:number>/accuracy.svg", "accuracy", pages.accuracy, methods=["GET"])
    app.add_url_rule("/static/<any('page.css', 'page.js', 'icon.svg'):name>", "static", pages.static, methods=["GET"])
    app.add_url_rule("/metrics", "metrics", pages.metrics, methods=["GET"])
    for name in ("setup", "predict", "webhook"):
        app.add_url_rule(f"/{name}", name, getattr(answers, name), methods=["POST"])
    app.before_request(guard.check(settings))
    app.register_error_handler(HTTPException, _refuse)
    app.register_error_handler(redis.RedisError, _without_redis)
    app.register_error_handler(PrepalError, _unreadable)
    return app


class _Answers:
    """One method a route."""

    def __init__(self, connection: redis.Redis, encoder: str) -> None:
        self._connection = connection
        self._encoder = encoder

    def health(self) -> Response:
        return _json({"status": "UP", "model_class": "PrepalModel"})

    def setup(self) -> Response:
        body = _body()
        project = project_of(body)
        if project is None:
            return _json({"model_version": MODEL_VERSION})
        try:
            label_config.parse(str(body.get("schema") or ""))
        except PrepalError as problem:
            # Label Studio shows only the status line to whoever connects the backend.
            return _json({"error": str(problem)}, f"422 {problem}")
        known = model.of(self._connection, project).project
        try:
            if known.register():
                request_sync(self._connection, project)
        except redis.RedisError as error:
            log.warning("project %d: /setup without Redis: %s", project, type(error).__name__)
        return _json({"model_version": MODEL_VERSION})

    def predict(self) -> Response:
        body = _body()
        project, sent = project_of(body), as_list(body.get("tasks"))
        tasks = [task if isinstance(task, Mapping) else {} for task in sent]
        results: list[dict[str, Any]] = [{"result": [], "score": 1.0, "model_version": MODEL_VERSION} for _ in tasks]
        if project is not None and tasks:
            try:
                known = model.of(self._connection, project)
                with readable(known.project):
                    results = known.predict(tasks)
                    self._hurry(project, tasks)
            except PrepalError as error:
                # The learner makes it anew; until then nothing is predicted.
                log.warning("project %d: /predict: %s", project, error)
            except redis.RedisError as error:
                log.warning("project %d: /predict without Redis: %s", project, type(error).__name__)
        return _json({"results": results, "model_version": MODEL_VERSION})

    def webhook(self) -> Response:
        body = _body()
        event, project = body.get("action"), project_of(body)
        if not isinstance(event, str) or project is None:
            return _json({"error": "An event has an action and a project."}, "400 BAD REQUEST")
        try:
            if not model.of(self._connection, project).fit(event, body):
                told = f"Project {project} is not connected: `prepal connect {project}` connects it."
                return _json({"status": "ignored", "reason": told})
            self._hurry(project, as_list(body.get("task")))
        except redis.RedisError as error:
            # The event is lost; the reconciler reads from Label Studio what it was about.
            log.warning("project %d: event while Redis is down: %s", project, type(error).__name__)
            return _json({"status": "deferred"}, "202 ACCEPTED")
        return _json({"status": "ok"})

    def _hurry(self, project: int, tasks: Sequence[object]) -> None:
        """Let texts that an annotator has before them be embedded first; many at once are nobody's."""
        numbers = [pk for task in tasks if isinstance(task, Mapping) and (pk := number(task.get("id")))]
        if 0 < len(numbers) <= _LOOKED_AT:
            known = model.of(self._connection, project).project
            waiting = WaitingTexts(self._connection, self._encoder)
            waiting.hurry(list(known.texts_of(numbers).values()))


class _Pages:
    """What people and Prometheus look at."""

    def __init__(self, connection: redis.Redis, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings

    @property
    def _waiting(self) -> WaitingTexts:
        """What waits for the encoder, which may be another one by now."""
        return WaitingTexts(self._connection, self._settings.prepal_encoder)

    def index(self) -> Response:
        html = render_template("index.html", projects=page.overview(self._connection))
        return Response(html, headers=_PAGE_HEADERS, mimetype="text/html")

    def project(self, number: int) -> Response:
        known, title = self._known(number), f"Project {number}"
        with suppress(PrepalError), readable(known):
            title = known.info.title or title
        html = render_template("project.html", project=number, title=title)
        return Response(html, headers=_PAGE_HEADERS, mimetype="text/html")

    def document(self, number: int) -> Response:
        known, settings = self._known(number), self._settings
        label_studio = settings.label_studio_public_url or settings.label_studio_url
        waiting = self._waiting
        told = page.document(known, waiting, waiting.encoder, label_studio)
        return _json(told, headers=_PAGE_HEADERS)

    def accuracy(self, number: int) -> Response:
        known = self._known(number)
        with readable(known):
            found, expected = page.estimates(known), known.expected
        svg = accuracy_svg(
            found,
            "dark" if request.args.get("theme") == "dark" else "light",
            "narrow" if request.args.get("width") == "narrow" else "wide",
            expected=expected["accuracy"] if expected else None,
        )
        return Response(svg, headers=_SVG_HEADERS, mimetype="image/svg+xml")

    def static(self, name: str) -> Response:
        answer = send_from_directory(_PAGES, name)
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer

    def metrics(self) -> Response:
        return Response(metrics.render(self._connection, self._waiting), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    def _known(self, number: int) -> Project:
        found = next((one for one in all_projects(self._connection) if one.id == number), None)
        if found is None:
            raise NotFound(f"No project {number} is connected: `prepal connect {number}` connects it.")
        return found


def _redis(settings: Settings, timeout_s: float) -> redis.Redis:
    return redis.Redis.from_url(
        settings.redis_url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1),
    )


def _prefers_html() -> bool:
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _without_redis(error: redis.RedisError) -> Response:
    log.warning("%s without Redis: %s", request.path, type(error).__name__)
    return _json({"error": "Redis does not answer: check that it runs."}, "503 SERVICE UNAVAILABLE")


def _unreadable(error: PrepalError) -> Response:
    log.warning("%s: %s", request.path, error)
    return _json({"error": str(error)}, "503 SERVICE UNAVAILABLE")


def _refuse(error: HTTPException) -> Response:
    if isinstance(error, guard.Refusal):
        return _json({"error": error.description}, f"{error.code} {error.description}", error.headers)
    return _json({"error": error.description or error.name}, f"{error.code} {error.name}")


class _Unreadable(HTTPException):
    code = 400
    description = "The body is not a JSON object."


def _body() -> dict[str, Any]:
    try:
        body = records.loads(request.get_data(cache=False))
    except ValueError as error:
        raise _Unreadable from error
    if not isinstance(body, dict):
        raise _Unreadable
    return body


def _json(body: object, status: str = "200 OK", headers: Mapping[str, str] | None = None) -> Response:
    line = " ".join(status.encode("ascii", "replace").decode().split())
    return Response(records.dumps(body), line, dict(headers or {}), mimetype="application/json")


class _Gunicorn(BaseApplication):  # type: ignore[misc]
    """gunicorn with the settings given here instead of a configuration file."""

    def __init__(self, settings: Settings, options: Mapping[str, object]) -> None:
        self._settings = settings
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return create_app(self._settings)


def serve(settings: Settings, host: str, port: int) -> None:
    """Answer Label Studio until told to stop."""
    if host not in ("127.0.0.1", "localhost", "::1") and not settings.basic_auth_user:
        log.warning("listening on %s without BASIC_AUTH_USER: whoever reaches the port can send labels", host)
    options = {
        "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "worker_class": "gthread",
        "workers": _WORKERS,
        "threads": _THREADS,
        "timeout": 120,
        "graceful_timeout": 5,
        "keepalive": 5,
        "loglevel": settings.log_level.lower(),
        "logger_class": GunicornLogger,
        "control_socket_disable": True,
    }
    _Gunicorn(settings, options).run()
