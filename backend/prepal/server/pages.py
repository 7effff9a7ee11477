"""Routes of the pages in `web/`, their data, and metrics, all read from Redis alone."""

from contextlib import suppress
from typing import Any, get_args

import redis
from flask import Response, render_template, request, send_from_directory
from werkzeug.exceptions import BadRequest, NotFound

from prepal.errors import PrepalError
from prepal.project import Project, all_projects, readable
from prepal.queues.waiting import WaitingTexts
from prepal.server.http import json_body, json_response
from prepal.settings import Settings

FOLDER = "web"
"""Beside this file: templates, and the files of the pages."""
# Nothing from elsewhere, no script or style but the files of `web/`; figures are never a stored copy.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# More labels than any project has are no end either.
_MOST_LABELS = 10**9
# A drawing brings its own style; it is shown as an image, which runs no script.
_SVG_HEADERS = {**_PAGE_HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


class Pages:
    """What people and Prometheus look at: one method for each route.

    What a page tells from is loaded when the first one is asked for; see also `process.load_the_rest`.
    """

    def __init__(self, connection: redis.Redis, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings

    def index(self) -> Response:
        """The page that lists all projects."""
        from prepal.reports import page

        html = render_template("index.html", projects=page.overview(self._connection))
        return Response(html, headers=_PAGE_HEADERS, mimetype="text/html")

    def project(self, number: int) -> Response:
        """The page of one project, which asks for its document by itself."""
        project, title = self._project(number), f"Project {number}"
        with suppress(PrepalError), readable(project):
            title = project.info.title or title
        html = render_template("project.html", project=number, title=title)
        return Response(html, headers=_PAGE_HEADERS, mimetype="text/html")

    def document(self, number: int) -> Response:
        """What that page shows, as JSON."""
        from prepal.reports import page

        settings, project = self._settings, self._project(number)
        label_studio = settings.label_studio_public_url or settings.label_studio_url
        with readable(project):
            waiting = WaitingTexts.wanted(project, settings)
        return json_response(page.document(project, waiting, label_studio), headers=_PAGE_HEADERS)

    def focus(self, number: int) -> Response:
        """Take a focus from whoever is signed in; a wrong one is answered by what is wrong."""
        from prepal.project.focus import Kind
        from prepal.queues.asking import ask

        project, body = self._project(number), json_body()
        kind: Any = body.get("kind")
        value, labels = body.get("value"), body.get("labels")
        if kind not in get_args(Kind) or not isinstance(value, str) or type(labels) is not int or labels < 0:
            raise BadRequest("A focus has a kind, a value, and a number of labels, 0 for no end.")
        # Who is asked for credentials has signed in with these.
        by = self._settings.basic_auth_user or "the project page"
        with readable(project):
            try:
                ask(project, kind, value, by, min(labels, _MOST_LABELS))
            except PrepalError as error:
                return json_response({"error": str(error)}, "400 BAD REQUEST")
        return json_response({"status": "ok"})

    def accuracy(self, number: int) -> Response:
        """The chart of that page, as SVG."""
        from prepal.reports import page
        from prepal.reports.chart import accuracy_svg

        project = self._project(number)
        with readable(project):
            estimates, expected = page.estimates(project), project.expected
        svg = accuracy_svg(
            estimates,
            "dark" if request.args.get("theme") == "dark" else "light",
            "narrow" if request.args.get("width") == "narrow" else "wide",
            expected=expected["accuracy"] if expected else None,
        )
        return Response(svg, headers=_SVG_HEADERS, mimetype="image/svg+xml")

    def static(self, name: str) -> Response:
        """A file that the pages ask for."""
        answer = send_from_directory(FOLDER, name)
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer

    def metrics(self) -> Response:
        """What Prometheus asks for."""
        from prepal.reports import metrics

        # What the name of the encoder means may be another one by now.
        waiting = WaitingTexts(self._connection, self._settings.prepal_encoder)
        return Response(metrics.render(self._connection, waiting), content_type=metrics.CONTENT_TYPE)

    def _project(self, number: int) -> Project:
        project = next((one for one in all_projects(self._connection) if one.id == number), None)
        if project is None:
            raise NotFound(f"No project {number} is connected: `prepal connect {number}` connects it.")
        return project
