"""What is said to Label Studio arrives, and what it answers is read, whatever characters are in it."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.helpers.answering import Asked, Server, answering

from prepal.errors import PrepalError
from prepal.label_studio.api import NotFoundError, TooLargeError, UnavailableError
from prepal.label_studio.client import LabelStudio

ODD = ["\ud800", "\0", "a\u2028b", "\u202eA", "A\u0300", "\xc0"]


@pytest.fixture
def server() -> Iterator[Server]:
    with answering() as found:
        yield found


@pytest.fixture
def label_studio(server: Server) -> Iterator[LabelStudio]:
    client = LabelStudio(f"http://127.0.0.1:{server.port}", "a-token")
    yield client
    client.close()


def test_texts_of_any_characters_are_sent_as_json(server: Server, label_studio: LabelStudio) -> None:
    server.answer = b'{"task_count": 6}'
    label_studio.import_tasks(1, [{"text": text} for text in ODD])
    assert server.last.kind == "application/json"
    assert json.loads(server.last.body.decode()) == [{"text": text} for text in ODD]


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


@given(sizes=st.lists(st.integers(1, 200), min_size=1, max_size=40), limit=st.integers(300, 3000))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_too_large_for_a_proxy_arrives_in_parts_each_row_once_and_in_order(
    server: Server, label_studio: LabelStudio, sizes: list[int], limit: int
) -> None:
    arrived: list[object] = []

    def proxy(asked: Asked) -> tuple[int, bytes]:
        if len(asked.body) > limit:
            return 413, b"<html>Request Entity Too Large</html>"
        rows = json.loads(asked.body)
        arrived.extend(rows)
        return 201, json.dumps({"created": len(rows), "task_count": len(rows)}).encode()

    server.decide = proxy
    predictions = [{"task": n, "result": ["x" * size]} for n, size in enumerate(sizes)]
    label_studio.create_predictions(1, predictions)
    assert arrived == predictions
    arrived.clear()
    assert label_studio.import_tasks(1, predictions) == len(predictions)
    assert arrived == predictions


def test_one_row_that_is_too_large_is_told_with_its_size_and_the_proxys_switch(
    server: Server, label_studio: LabelStudio
) -> None:
    server.status, server.answer = 413, b"<html>Request Entity Too Large</html>"
    with pytest.raises(TooLargeError, match=r"refuses to pass on 17 bytes .*: raise its limit, such as client_max"):
        label_studio.import_tasks(1, [{"text": "many"}, {"a": "text"}])
