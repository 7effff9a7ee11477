"""Requests and answers as JSON, and what is answered when something is in the way."""

import logging
from collections.abc import Mapping
from typing import Any

import redis
from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, HTTPException

from prepal import records
from prepal.errors import PrepalError
from prepal.server.guard import Refusal

log = logging.getLogger(__name__)


def json_body() -> dict[str, Any]:
    """The JSON object that a request has sent.

    Raises:
        BadRequest: it has sent something else.
    """
    try:
        body = records.loads(request.get_data(cache=False))
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise BadRequest("The body is not a JSON object.")
    return body


def json_response(body: object, status: str = "200 OK", headers: Mapping[str, str] | None = None) -> Response:
    """An answer of JSON; what is no ASCII in its status line becomes a question mark."""
    line = " ".join(status.encode("ascii", "replace").decode().split())
    return Response(records.dumps(body), line, dict(headers or {}), mimetype="application/json")


def answer_errors(app: Flask) -> None:
    """Let the application answer in JSON also what it refuses, and what it cannot read."""

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        if isinstance(error, Refusal):
            return json_response({"error": error.description}, f"{error.code} {error.description}", error.headers)
        return json_response({"error": error.description or error.name}, f"{error.code} {error.name}")

    @app.errorhandler(redis.RedisError)
    def without_redis(error: redis.RedisError) -> Response:
        log.warning("%s without Redis: %s", request.path, type(error).__name__)
        return json_response({"error": "Redis does not answer: check that it runs."}, "503 SERVICE UNAVAILABLE")

    @app.errorhandler(PrepalError)
    def unreadable(error: PrepalError) -> Response:
        log.warning("%s: %s", request.path, error)
        return json_response({"error": str(error)}, "503 SERVICE UNAVAILABLE")
