"""One method for each route that Label Studio calls: what it asks, and events, which `model.py` writes down."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import redis
from flask import Response

from prepal.errors import PrepalError
from prepal.labels.events import as_list, number, project_of
from prepal.project import MODEL_VERSION, Project, readable
from prepal.queues.requests import request_sync
from prepal.queues.waiting import WaitingTexts
from prepal.server.http import json_body, json_response

if TYPE_CHECKING:
    from prepal.server.model import PrepalModel

log = logging.getLogger(__name__)

# Tasks that one annotator may have before them.
_LOOKED_AT = 10


class Answers:
    """What Label Studio asks: one method for each route.

    What /health needs nothing of is loaded by the first request that does; see also `process.load_the_rest`.
    """

    def __init__(self, connection: redis.Redis, encoder: str) -> None:
        self._connection = connection
        self._encoder = encoder

    def health(self) -> Response:
        """Say that the backend is there; nothing is looked up for it."""
        return json_response({"status": "UP", "model_class": "PrepalModel"})

    def setup(self) -> Response:
        """Register a project that somebody connects, or refuse one whose label config cannot be served."""
        from prepal.labels import label_config

        body = json_body()
        project = project_of(body)
        if project is None:
            return json_response({"model_version": MODEL_VERSION})
        try:
            label_config.parse(str(body.get("schema") or ""))
        except PrepalError as problem:
            # Label Studio shows only the status line to whoever connects the backend.
            return json_response({"error": str(problem)}, f"422 {problem}")
        try:
            if Project(self._connection, project).register():
                request_sync(self._connection, project)
        except redis.RedisError as error:
            log.warning("project %d: /setup without Redis: %s", project, type(error).__name__)
        return json_response({"model_version": MODEL_VERSION})

    def predict(self) -> Response:
        """Give a prediction for each task that was sent, empty where the newest round knows none."""
        body = json_body()
        project, sent = project_of(body), as_list(body.get("tasks"))
        tasks = [task if isinstance(task, Mapping) else {} for task in sent]
        results: list[dict[str, Any]] = [{"result": [], "score": 1.0, "model_version": MODEL_VERSION} for _ in tasks]
        if project is not None and tasks:
            try:
                model = self._model(project)
                with readable(model.project):
                    results = model.predict(tasks)
                    self._hurry(project, tasks)
            except PrepalError as error:
                # The learner makes it anew; until then nothing is predicted.
                log.warning("project %d: /predict: %s", project, error)
            except redis.RedisError as error:
                log.warning("project %d: /predict without Redis: %s", project, type(error).__name__)
        return json_response({"results": results, "model_version": MODEL_VERSION})

    def webhook(self) -> Response:
        """Write down an event of a project that is connected."""
        body = json_body()
        event, project = body.get("action"), project_of(body)
        if not isinstance(event, str) or project is None:
            return json_response({"error": "An event has an action and a project."}, "400 BAD REQUEST")
        try:
            if not self._model(project).fit(event, body):
                told = f"Project {project} is not connected: `prepal connect {project}` connects it."
                return json_response({"status": "ignored", "reason": told})
            self._hurry(project, as_list(body.get("task")))
        except redis.RedisError as error:
            # The event is lost; the reconciler reads from Label Studio what it was about.
            log.warning("project %d: event while Redis is down: %s", project, type(error).__name__)
            return json_response({"status": "deferred"}, "202 ACCEPTED")
        return json_response({"status": "ok"})

    def _model(self, project: int) -> "PrepalModel":
        from prepal.server.model import PrepalModel

        return PrepalModel(Project(self._connection, project))

    def _hurry(self, project: int, tasks: Sequence[object]) -> None:
        """Let texts that an annotator has before them be embedded first; many at once are nobody's."""
        numbers = [pk for task in tasks if isinstance(task, Mapping) and (pk := number(task.get("id")))]
        if 0 < len(numbers) <= _LOOKED_AT:
            known = Project(self._connection, project)
            texts = list(known.texts_of(numbers).values())
            # What the ranking rests on first: that shows the annotator a prediction.
            for encoder in dict.fromkeys((known.encoder or self._encoder, self._encoder)):
                WaitingTexts(self._connection, encoder).hurry(texts)
