"""`export`, `finetune --project` and `predict --project`, whatever characters texts and choices have."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from click.testing import CliRunner, Result
from redis import Redis
from tests.helpers.label_studio_in_memory import LabelStudioInMemory

from prepal.cli.main import main
from prepal.demo.data import load_tickets
from prepal.label_studio.describe import describe
from prepal.label_studio.sync import Reader
from prepal.project import Project
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import VectorTable
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
        newer, with_meta = 0, False
        if path.path == "/api/tasks":
            asked = parse_qs(path.query)
            newer = json.loads(asked["query"][0])["filters"]["items"][0]["value"]
            with_meta = "meta" in asked["include"][0].split(",")
        pages = project.tasks(1, after=newer, with_meta=with_meta)
        self._answer(
            {
                "/api/projects/1/": project.settings,
                "/api/projects/1/export": [task for task in annotated if task["annotations"]],
                "/api/projects/1/model-versions/": {},
                "/api/tasks": {"tasks": [task for page in pages for task in page]},
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
    # The config, which the export has with it, says that nobody can have chosen half a character.
    said = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["data"]["counts"]
    of_the_file = read_labelled(export.read_bytes(), "export.json").counts
    assert (sorted(of_the_file.values()), sorted(said.values())) == ([10, 20], [10, 20])

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


@pytest.fixture
def learnt(project: LabelStudioInMemory, redis: Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Lets Redis know the project, and its texts have vectors, but for the last one."""
    known, label_studio = Project(redis, 1), cast(Any, project)
    table = VectorTable(str(tmp_path / "vectors"), "encoder")
    known.register()
    project.import_tasks([{"text": " "}])
    config = describe(known, label_studio)
    assert config is not None
    reader = Reader(known, config, label_studio, [(table, WaitingTexts(redis, "encoder"))])
    reader.reconcile()
    while reader.read_new_tasks():
        pass
    reader.reconcile()
    texts = sorted(set(known.texts_of(range(1, 40)).values()))
    table.append(texts, np.random.default_rng(0).normal(size=(len(texts), 8)).astype(np.float16))
    known.add_audits([2, 35])
    monkeypatch.setenv("PREPAL_VECTORS", table.uri)
    monkeypatch.setenv("PREPAL_ENCODER", "encoder")


@pytest.mark.usefixtures("learnt")
def test_all_tasks_are_exported_with_what_is_believed_of_them(
    prepal: Callable[..., Result], project: LabelStudioInMemory, tmp_path: Path
) -> None:
    out = tmp_path / "all.json"
    project.meta[31] = {"source": "mail"}
    done = prepal("export", 1, "--all", "--out", out)
    assert done.exit_code == 0, done.output
    said = "30 annotated tasks and 11 others in"
    assert said in done.stderr
    assert "; 2 of these have no text or no vector yet, and no beliefs." in " ".join(done.stderr.split())
    tasks = json.loads(out.read_text(encoding="utf-8"))
    assert [task["id"] for task in tasks] == sorted(project.data)
    assert [task["data"] for task in tasks] == [project.data[task] for task in sorted(project.data)]
    meta = {task["id"]: task.get("meta") or {} for task in tasks}
    beliefs = {task: said["prepal_beliefs"] for task, said in meta.items() if "prepal_beliefs" in said}
    assert list(beliefs) == list(range(31, 40))
    assert all(list(one) == [COMPOSED, "te\na", "unused"] for one in beliefs.values())
    assert all(sum(one.values()) == pytest.approx(1, abs=1e-5) for one in beliefs.values())
    assert meta[31]["source"] == "mail"
    assert [task for task, said in meta.items() if "prepal_audit" in said] == [2, 35]
    first = out.read_bytes()
    assert prepal("export", 1, "--all", "--out", out).exit_code == 0
    assert out.read_bytes() == first
    # The config that it carries says that nobody can have chosen half a character, as that of the project does.
    data = read_labelled(first, "all.json")
    assert (sorted(data.counts.values()), len(data.unlabelled)) == ([10, 20], 10)


def test_who_only_exports_what_is_annotated_waits_for_no_vectors_or_classifiers(
    prepal: Callable[..., Result], tmp_path: Path
) -> None:
    del prepal  # what it serves is what is exported
    code = (
        "import sys; from prepal.cli.main import main\n"
        f"main(['export', '1', '--out', {str(tmp_path / 'all.json')!r}], standalone_mode=False)\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not {"lancedb", "prepal.learner.fitting", "sklearn"} & set(done.stdout.split())


@pytest.mark.usefixtures("redis")
def test_all_tasks_of_a_project_that_is_not_connected_are_not_exported(
    prepal: Callable[..., Result], tmp_path: Path
) -> None:
    done = prepal("export", 1, "--all", "--out", tmp_path / "all.json")
    assert done.exit_code == 1
    assert "Project 1 is not connected: run `prepal connect 1`." in done.stderr
    assert not list(tmp_path.iterdir())
