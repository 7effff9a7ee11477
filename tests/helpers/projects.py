"""Projects for the end-to-end tests: sample tickets, as many as wanted, connected and ranked."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray

from prepal.demo.data import load_tickets
from prepal.label_studio.order import without_prediction
from prepal.machine.up import Installation
from prepal.project import Project
from prepal.settings import Settings
from prepal.vectors import VectorTable, text_id
from tests.helpers import ROOT
from tests.helpers.api import LabelStudioApi, wait_until

LABEL_CONFIG = (ROOT / "label_config.xml").read_text()
ENCODER = str(Settings.model_fields["prepal_encoder"].default)


def tickets(count: int, mark: str = "") -> tuple[list[str], dict[str, str]]:
    """`count` different texts, and the topic of each."""
    texts: dict[str, str] = {}
    known = load_tickets()
    for number in range(count):
        ticket, copy = known[number % len(known)], number // len(known)
        texts[f"{ticket.text} {mark}{copy}" if copy or mark else ticket.text] = str(ticket.topic)
    return list(texts), texts


class Loop:
    """One project in a running installation, seen as its users and its ops team see it."""

    def __init__(self, installation: Installation, api: LabelStudioApi, project: int) -> None:
        self.installation = installation
        self.api = api
        self.id = project
        self.redis = redis.Redis.from_url(installation.redis_url)
        self.known = Project(self.redis, project)
        self.environment = {
            **os.environ,
            "LABEL_STUDIO_URL": installation.label_studio_url,
            "LABEL_STUDIO_API_KEY": installation.label_studio_token,
            "REDIS_URL": installation.redis_url,
            "PREPAL_BACKEND_URL": installation.backend_url,
            "BASIC_AUTH_USER": installation.backend_user,
            "BASIC_AUTH_PASS": installation.backend_password,
        }

    @classmethod
    def of(
        cls,
        installation: Installation,
        api: LabelStudioApi,
        data: list[dict[str, Any]],
        label_config: str = LABEL_CONFIG,
        **settings: Any,
    ) -> "Loop":
        """A new project with these tasks, connected by the command line."""
        project = api.create_project(label_config, **settings)
        loop = cls(installation, api, project)
        api.import_tasks(project, data)
        loop.prepal("connect", str(project))
        return loop

    def prepal(self, *arguments: str, check: bool = True, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of ours against this installation."""
        done = subprocess.run(
            [sys.executable, "-m", "prepal.cli", *arguments],
            env={**self.environment, **environment},
            check=False,
            capture_output=True,
            text=True,
        )
        assert not check or not done.returncode, f"prepal {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def status(self) -> dict[str, Any]:
        """What `prepal status --json` says."""
        found: dict[str, Any] = json.loads(self.prepal("status", str(self.id), "--json").stdout)
        return found

    def is_up_to_date(self) -> bool:
        """The same that `status` says, read from where it reads it, and faster."""
        facts, record = self.known.facts, self.known.round
        return record is not None and record.facts == facts

    def wait_for_round(self, timeout_s: float = 60) -> float:
        """Wait until a round knows everything; returns the seconds that it took."""
        began = time.perf_counter()
        wait_until(self.is_up_to_date, timeout_s, 0.01)
        return time.perf_counter() - began

    def wait_until_ranked(self, count: int, timeout_s: float = 300) -> None:
        """Wait until so many tasks are ranked or labelled, also by twins, and all without a label have a prediction."""

        def ranked() -> bool:
            record = self.known.round
            known = 0 if record is None else record.ranked + record.labels + record.twins
            return known >= count and self.is_up_to_date() and not without_prediction(self.known)

        wait_until(ranked, timeout_s, 0.2)

    def hidden(self) -> set[int]:
        """Tasks whose predictions nobody may see: they are labelled as checks, or would be."""
        ranking = self.known.ranking()
        assert ranking is not None
        assert ranking.hidden is not None
        return set(ranking.task_ids[ranking.hidden].tolist())

    def vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors of texts, from the cache."""
        table = VectorTable(str(self.installation.home / "vectors"), ENCODER)
        found, vectors = table.find([text_id(text.strip()) for text in texts])
        assert found.all()
        return vectors.astype(np.float32)

    def annotate_next(self, answers: Mapping[str, str], token: str | None = None) -> dict[str, Any]:
        """Label the task that Label Studio serves; returns the task."""
        task = self.api.next(self.id, token)
        assert task is not None, "Label Studio says that no task is left"
        self.api.annotate(task["id"], answers[task["data"]["text"]], token=token)
        return task
