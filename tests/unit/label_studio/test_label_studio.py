"""What is said to Label Studio arrives, and what it answers is read, whatever characters are in it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from prepal.errors import PrepalError
from prepal.label_studio.api import NotFoundError, UnavailableError
from prepal.label_studio.client import LabelStudio

ODD = ["\ud800", "\0", "a\u2028b", "\u202eA", "A\u0300", "\xc0"]


class Server(ThreadingHTTPServer):
    """Answers every request with `answer`, and keeps what was sent."""

    daemon_threads = True
    answer = b"{}"
    status = 200
    sent: tuple[str, bytes] = ("", b"")


class Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        server.sent = (self.headers.get("content-type") or "", body)
        self.send_response(server.status)
        self.send_header("content-length", str(len(server.answer)))
        self.end_headers()
        self.wfile.write(server.answer)

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PATCH(self) -> None:
        self.answer()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def label_studio(server: Server) -> Iterator[LabelStudio]:
    client = LabelStudio(f"http://127.0.0.1:{server.server_port}", "a-token")
    yield client
    client.close()


def test_texts_of_any_characters_are_sent_as_json(server: Server, label_studio: LabelStudio) -> None:
    server.answer = b'{"task_count": 6}'
    label_studio.import_tasks(1, [{"text": text} for text in ODD])
    kind, body = server.sent
    assert kind == "application/json"
    assert json.loads(body.decode()) == [{"text": text} for text in ODD]


def test_an_export_with_any_characters_is_read(server: Server, label_studio: LabelStudio) -> None:
    result = [{"from_name": "topic", "value": {"choices": ODD}}]
    tasks = [{"id": 1, "data": {"score": float("nan"), "n": 10**400}, "annotations": [{"id": 2, "result": result}]}]
    for escaped in (True, False):
        server.answer = json.dumps(tasks, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
        assert label_studio.annotations(1)[2].choices == {"topic": ODD}


def test_an_answer_that_is_not_json_is_told_in_a_sentence(server: Server, label_studio: LabelStudio) -> None:
    server.answer = b"<html>Sign in</html>"
    with pytest.raises(PrepalError, match=r"is not JSON of Label Studio's: check LABEL_STUDIO_URL"):
        label_studio.project(1)


@pytest.mark.parametrize(
    ("detail", "is_own", "error"),
    [("There are no tasks left.", True, None), ("Not found.", True, NotFoundError), ("x", False, UnavailableError)],
)
def test_that_no_task_is_left_is_told_from_a_project_that_is_not_there_and_from_a_proxys_404(
    server: Server, label_studio: LabelStudio, detail: str, is_own: bool, error: type[PrepalError] | None
) -> None:
    own = {"version": "1.23.2", "status_code": 404} if is_own else {}
    server.status, server.answer = 404, json.dumps({"detail": detail, **own}).encode()
    if error is None:
        assert label_studio.next_task(1) is None
        return
    with pytest.raises(error, match=f"Label Studio answered 404 to GET api/projects/1/next: {detail}"):
        label_studio.next_task(1)


def test_an_error_with_a_lone_surrogate_can_be_written_anywhere(server: Server, label_studio: LabelStudio) -> None:
    server.status, server.answer = 400, b'{"detail": "\\ud800 is no text"}'
    with pytest.raises(PrepalError, match="\ufffd is no text") as error:
        label_studio.update_project(1, title="x")
    assert str(error.value).encode()
