"""docker/compose.yml, run for real by `make test-docker`: started, used, crashed, scaled, backed up and restored."""

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.api import wait_until
from tests.helpers.compose import DOCKER, Stack, docker, filled_in, service_of
from tests.helpers.projects import LABEL_CONFIG, tickets

pytestmark = pytest.mark.docker

TASKS, LABELS = 100, 30
SERVICES = ("backend", "learner", "embed", "adapt", "redis", "postgres", "label-studio")
# What annotators do not notice when it dies.
BEHIND_THE_SCENES = ("backend", "learner", "embed", "adapt", "redis")
OURS = {"backend": "prepal-backend:test", "embed": "prepal-worker:test"}
BASE = "python:3.11-slim-bookworm"
# Beside the base image's 130 MB, under 900 MB in all.
LARGEST_BACKEND_MB = 770


@dataclass
class Labelling:
    """A project in the stack, and who labels it."""

    stack: Stack
    project: int
    answers: dict[str, str]
    labels: dict[int, str] = field(default_factory=dict)

    def label(self, served: dict[str, Any]) -> None:
        topic = self.answers[served["data"]["text"]]
        self.stack.api.annotate(served["id"], topic)
        self.labels[served["id"]] = topic

    def served(self) -> dict[str, Any]:
        task = self.stack.api.next(self.project)
        assert task is not None, "Label Studio says that no task is left"
        return task

    def settled(self, timeout_s: float = 240) -> dict[str, Any]:
        """What the page shows once a round knows all labels."""

        def told() -> dict[str, Any] | None:
            page = self.stack.page(self.project)
            ready = page["up_to_date"] and page["labelled"] == len(self.labels) and page["embedded"] == TASKS
            return page if ready and page["round"]["labels"] == len(self.labels) else None

        found: dict[str, Any] = wait_until(told, timeout_s, 0.1)
        return found

    def label_in_order(self, count: int) -> None:
        """Label what is served, which is each time the first of the newest ranking."""
        for _ in range(count):
            expected = self.settled()["next"][0]["task"]
            served = self.served()
            assert served["id"] == expected
            self.label(served)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"PREPAL_RECONCILE_S": "15", "LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json"}
    stack = Stack(tmp_path_factory.mktemp("compose"), **settings)
    stack.compose("build")
    try:
        stack.up()
        yield stack
    finally:
        (stack.folder / "logs").write_text(stack.compose("logs", "--no-color", check=False))
        stack.down("--volumes")
        stack.close()


@pytest.fixture(scope="module")
def labelling(stack: Stack) -> Labelling:
    """A project of sample tickets, connected by a one-shot container and ranked."""
    texts, answers = tickets(TASKS, mark="compose")
    project = stack.api.create_project(LABEL_CONFIG, title="Tickets")
    stack.api.import_tasks(project, [{"text": text} for text in texts])
    assert "Connected the backend http://backend.internal:9090" in stack.prepal("connect", str(project))
    labelling = Labelling(stack, project, answers)

    def served_by_score() -> bool:
        version: str = stack.api.call("GET", f"/api/projects/{project}/")["model_version"]
        return version == "PRepAL" and len(stack.api.predictions(project)) == TASKS

    wait_until(served_by_score, 300, 0.5)
    return labelling


def test_nothing_starts_without_its_secrets(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.compose("config", "-q")
    for secret in stack.secrets:
        (tmp_path / "env").write_text(filled_in((DOCKER / ".env.example").read_text(), {**stack.secrets, secret: ""}))
        refused = subprocess.run([*stack.command, "config", "-q"], check=False, capture_output=True, text=True)
        assert refused.returncode
        assert "fill in .env" in refused.stderr
    stack.close()


def test_images_are_small_and_run_as_nobody_in_particular(stack: Stack) -> None:
    sizes = {}
    for image in (*OURS.values(), BASE):
        described = json.loads(docker("image", "inspect", image))[0]
        sizes[image] = described["Size"] / 1e6
        if image != BASE:
            assert described["Config"]["User"] == "prepal"
            assert described["Config"]["Healthcheck"]["Test"]
    print({image: f"{size:.0f} MB" for image, size in sizes.items()})
    assert sizes[OURS["backend"]] - sizes[BASE] < LARGEST_BACKEND_MB
    without_torch = "import sys; from importlib.util import find_spec; sys.exit(find_spec('torch') is not None)"
    stack.compose("run", "--rm", "-T", "--no-deps", "--entrypoint", "python", "backend", "-c", without_torch)


def test_the_doctor_finds_nothing_wrong(labelling: Labelling) -> None:
    labelling.settled()
    found = json.loads(labelling.stack.prepal("doctor", str(labelling.project), "--json", check=False))
    assert [line for line in found["findings"] if line["state"] in ("problem", "warning")] == []


def test_each_of_thirty_labels_reorders_what_is_served(labelling: Labelling) -> None:
    labelling.label_in_order(LABELS)
    page = labelling.settled()
    assert len(labelling.labels) == LABELS
    of_the_ranking = [entry["task"] for entry in page["next"]][:4]
    rows = {row["task"]: row["score"] for row in labelling.stack.api.predictions(labelling.project)}
    assert sorted(of_the_ranking, key=rows.__getitem__) == of_the_ranking
    assert page["next"][0]["url"].startswith(labelling.stack.label_studio_url)
    assert {label["choice"]: label["labelled"] for label in page["choices"]} == {
        choice: list(labelling.labels.values()).count(choice) for choice in {one["choice"] for one in page["choices"]}
    }


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_killed_comes_back_and_nothing_is_lost(labelling: Labelling, service: str) -> None:
    labelling.settled()
    labelling.stack.crash(service)
    if service in BEHIND_THE_SCENES:
        for _ in range(2):
            labelling.label(labelling.served())
    wait_until(labelling.stack.is_healthy, 300, 1)
    labelling.label_in_order(2)
    labelling.settled()


def test_everything_restarts_in_order(labelling: Labelling) -> None:
    labelling.stack.down()
    labelling.stack.up()
    labelling.label_in_order(1)


def test_more_embed_workers_share_the_texts(labelling: Labelling) -> None:
    labelling.stack.up("--scale", "embed=2")
    running = [one for one in labelling.stack.containers() if service_of(one) == "embed"]
    assert len(running) == 2
    lines = json.loads(labelling.stack.prepal("doctor", "--json", check=False))["findings"]
    assert next(line["what"] for line in lines if line["name"] == "embed worker") == "2 embed workers alive."
    labelling.stack.up("--scale", "embed=1")


def test_an_export_is_written_where_the_host_wants_it(labelling: Labelling, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    out = ("-v", f"{tmp_path}:/out", "backend", "export", str(labelling.project), "--out", "/out/labels.json")
    labelling.stack.compose("run", "--rm", "-T", *out)
    exported = json.loads((tmp_path / "labels.json").read_text())
    assert {task["id"] for task in exported} == set(labelling.labels)


def test_no_secret_is_told_anywhere(labelling: Labelling) -> None:
    stack = labelling.stack
    told = {
        "logs": stack.compose("logs", "--no-color").encode(),
        "status": stack.prepal("status", str(labelling.project), "--json").encode(),
        "doctor": stack.prepal("doctor", str(labelling.project), check=False).encode(),
        "processes": "".join(docker("top", one["Id"]) for one in stack.containers()).encode(),
        "Redis": subprocess.run(
            [*stack.command, "exec", "-T", "redis", "sh", "-c", "cat /data/appendonlydir/*"],
            check=True,
            capture_output=True,
        ).stdout,
    }
    for path in ("/", f"/projects/{labelling.project}", f"/projects/{labelling.project}.json", "/metrics"):
        told[path] = stack.backend.get(path, headers={"Accept": "text/html"}).raise_for_status().content
    assert b"labels" in told["status"]
    assert b"ANNOTATION" in told["logs"] or b"round" in told["logs"]
    assert f"prepal:project:{labelling.project}".encode() in told["Redis"]
    password = stack.secrets["BASIC_AUTH_PASS"]
    described = stack.api.call("GET", f"/api/projects/{labelling.project}/")
    hidden = {
        **stack.secrets,
        "Basic auth": base64.b64encode(f"prepal:{password}".encode()).decode(),
        "project token": described.get("token") or password,
    }
    for place, content in told.items():
        assert [name for name, secret in hidden.items() if secret.encode() in content] == [], place


def test_our_logs_are_objects_on_a_line_each(labelling: Labelling) -> None:
    for service in ("backend", "learner", "embed", "adapt"):
        raw = docker("logs", labelling.stack.container(service)["Id"])
        assert raw == ""
        done = subprocess.run(
            ["docker", "logs", labelling.stack.container(service)["Id"]], check=True, capture_output=True, text=True
        )
        lines = done.stderr.splitlines()
        assert lines
        for line in lines:
            assert {"level", "logger", "message", "timestamp"} <= set(json.loads(line))


def test_a_backup_brings_everything_back_into_an_empty_installation(labelling: Labelling, tmp_path: Path) -> None:
    stack, before = labelling.stack, labelling.settled()
    backup = stack.script("backup.sh", str(tmp_path))
    assert backup.returncode == 0, backup.stderr
    refused = stack.script("restore.sh", str(tmp_path))
    assert refused.returncode == 1
    assert "only an empty one is filled" in refused.stderr
    labelling_during = labelling.settled()
    assert labelling_during["labelled"] == before["labelled"]

    stack.down("--volumes")
    restored = stack.script("restore.sh", str(tmp_path))
    assert restored.returncode == 0, restored.stderr
    wait_until(stack.is_healthy, 600, 1)
    after = labelling.settled()
    same = ("labelled", "embedded", "tasks", "title", "choices", "accuracies")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    labelling.label_in_order(2)
    found = json.loads(stack.prepal("doctor", str(labelling.project), "--json", check=False))
    assert found["healthy"], found
