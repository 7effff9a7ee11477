"""`export`, `finetune --project` and `predict --project`, whatever characters texts and choices have."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result
from tests.helpers.label_studio_in_memory import LabelStudioInMemory

from prepal.cli.main import main
from prepal.demo.data import load_tickets
from prepal_workers.encoder.weights import DEFAULT_ENCODER
from prepal_workers.labelled.read import read_labelled

COMPOSED, DECOMPOSED = "Café", "Cafe\u0301"
ODD = "\ud83d \0 \u2028 \u202e \x85"
CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="topic" toName="text">'
    f'<Choice value="{COMPOSED}"/><Choice value="te&#10;a"/><Choice value="unused"/></Choices></View>'
)


class Handler(BaseHTTPRequestHandler):
    """Label Studio's API, as far as these commands use it."""

    def do_GET(self) -> None:
        server: Any = self.server
        project: LabelStudioInMemory = server.project
        path = urlsplit(self.path)
        annotated = [task for page in project.whole_tasks(1, list(project.data)) for task in page]
        newer = 0
        if path.path == "/api/tasks":
            query = json.loads(parse_qs(path.query)["query"][0])
            newer = query["filters"]["items"][0]["value"]
        self._answer(
            {
                "/api/projects/1/": project.settings,
                "/api/projects/1/export": [task for task in annotated if task["annotations"]],
                "/api/projects/1/model-versions/": {},
                "/api/tasks": {"tasks": [t for page in project.tasks(1, after=newer) for t in page]},
            }[path.path]
        )

    def do_POST(self) -> None:
        server: Any = self.server
        sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server.project.create_predictions(1, sent)
        self._answer({"created": len(sent)})

    def _answer(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def project() -> LabelStudioInMemory:
    """Forty tickets, of which the last ten have no label."""
    texts = {n: {"text": f"{ticket.text} {ODD} {n}"} for n, ticket in enumerate(load_tickets()[:40], start=1)}
    found = LabelStudioInMemory(1, CONFIG, texts)
    for task in range(1, 31):
        found.annotate(task, (COMPOSED, DECOMPOSED, "te\na")[task % 3])
    found.annotate(30, "half \ude00")
    return found


@pytest.fixture
def prepal(
    project: LabelStudioInMemory, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Result]]:
    """Runs a command beside a server of the project."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.project = project  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("LABEL_STUDIO_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", "a-token")
        monkeypatch.setenv("REDIS_URL", redis_url)

        def run(*arguments: object) -> Result:
            return CliRunner().invoke(main, list(map(str, arguments)))

        yield run
        server.shutdown()
        thread.join()


def test_a_project_goes_from_its_labels_to_those_of_the_rest(
    prepal: Callable[..., Result], project: LabelStudioInMemory, tmp_path: Path
) -> None:
    export, out = tmp_path / "export.json", tmp_path / "model"
    learn = ("--project", 1, "--model", DEFAULT_ENCODER, "--method", "logistic")
    for command in (("export", 1, "--out", export), ("finetune", *learn, "--out", out)):
        done = prepal(*command)
        assert done.exit_code == 0, done.output
    assert [task["data"] for task in json.loads(export.read_text(encoding="utf-8"))] == list(project.data.values())[:30]
    # Only the config says that nobody can have chosen half a character.
    said = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["data"]["counts"]
    of_the_file = read_labelled(export.read_bytes(), "export.json").counts
    assert (sorted(of_the_file.values()), sorted(said.values())) == ([1, 10, 19], [10, 20])

    project.settings["label_config"] = CONFIG.replace(COMPOSED, DECOMPOSED)
    done = prepal("predict", out, "--project", 1, "--threshold", 0.9, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["labelled"] == 10
    predictions = project.predictions(project=1)
    assert sorted(one["task"] for one in predictions) == list(range(31, 41))
    assert {c for one in predictions for c in one["result"][0]["value"]["choices"]} <= {DECOMPOSED, "te\na"}

    project.settings["label_config"] = CONFIG.replace(COMPOSED, "Cafe")
    done = prepal("predict", out, "--project", 1)
    assert done.exit_code == 1
    assert f"Project 1 has no choice {COMPOSED!r}, which the model gives" in " ".join(done.output.split())
