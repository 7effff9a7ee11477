"""The WSGI application: its routes, and whom it answers."""

import redis
from flask import Flask, request
from redis.backoff import NoBackoff
from redis.retry import Retry

from prepal.server import guard, http
from prepal.server.answers import Answers
from prepal.server.pages import FOLDER, Pages
from prepal.settings import Settings

# Label Studio gives an event one second; a Redis that does not answer must not use it up. People can wait for a page.
_REDIS_TIMEOUT_S, _PAGES_TIMEOUT_S = 0.25, 5.0
_LARGEST_BODY = 256 * 1024 * 1024


def create_app(settings: Settings) -> Flask:
    """The WSGI application.

    Raises:
        PrepalError: only half of the credentials are set.
    """
    app = Flask("prepal.server", static_folder=None, template_folder=FOLDER)
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_BODY
    answers = Answers(_redis(settings, _REDIS_TIMEOUT_S), settings.prepal_encoder)
    pages = Pages(_redis(settings, _PAGES_TIMEOUT_S), settings)
    app.add_url_rule("/health", "health", answers.health, methods=["GET"])
    # Label Studio asks here for JSON too; only browsers say that they prefer HTML.
    app.add_url_rule("/", "index", lambda: pages.index() if _prefers_html() else answers.health(), methods=["GET"])
    app.add_url_rule("/projects/<int:number>", "project", pages.project, methods=["GET"])
    app.add_url_rule("/projects/<int:number>.json", "document", pages.document, methods=["GET"])
    app.add_url_rule("/projects/<int:number>/focus", "focus", pages.focus, methods=["POST"])
    app.add_url_rule("/projects/<int:number>/accuracy.svg", "accuracy", pages.accuracy, methods=["GET"])
    app.add_url_rule("/static/<any('page.css', 'page.js', 'icon.svg'):name>", "static", pages.static, methods=["GET"])
    app.add_url_rule("/metrics", "metrics", pages.metrics, methods=["GET"])
    for name in ("setup", "predict", "webhook"):
        app.add_url_rule(f"/{name}", name, getattr(answers, name), methods=["POST"])
    app.before_request(guard.check(settings))
    http.answer_errors(app)
    return app


def _redis(settings: Settings, timeout_s: float) -> redis.Redis:
    limits = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    return redis.Redis.from_url(settings.redis_url, retry=Retry(NoBackoff(), 1), **limits)


def _prefers_html() -> bool:
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
