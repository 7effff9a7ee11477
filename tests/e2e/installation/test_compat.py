"""Other releases of Label Studio, each really started: connected, ranked, labelled, skipped, examined and left again.

`make test-compat` makes their environments and names the releases; nothing else runs this.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from tests.helpers import ROOT, free_port
from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.projects import Loop, tickets

from prepal.machine.up import LABEL_STUDIO_SETTINGS, running
from prepal.project import MODEL_VERSION
from prepal.settings import Settings

RELEASES = os.environ.get("PREPAL_TEST_LABEL_STUDIOS", "").split()
TASKS, LABELS = 30, 5
TOKEN = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def release(version: str, folder: Path) -> Iterator[str]:
    """A Label Studio of somebody else's, of this release; yields its address."""
    folder.mkdir()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        **LABEL_STUDIO_SETTINGS,
        "LABEL_STUDIO_PASSWORD": "secret-pass-1",
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
    }
    command = [str(ROOT / f".venv-label-studio-{version}" / "bin" / "label-studio"), "start", "--no-browser"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--internal-host", "127.0.0.1", "--port", str(port)], env=environment, stdout=log, stderr=log
        )

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()[-2000:]
        try:
            return httpx.get(f"{url}/api/version", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, 600, 1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.compat
@pytest.mark.parametrize("version", RELEASES)
def test_a_release_is_served_from_connect_to_disconnect(version: str, tmp_path: Path) -> None:
    with release(version, tmp_path / "label-studio") as url, closing(LabelStudioApi(url, TOKEN)) as api:
        settings = Settings(label_studio_url=url, label_studio_api_key=TOKEN, prepal_adapt="off")
        with running(tmp_path / "home", settings, progress=print) as installation:
            assert str(api.call("GET", "/api/version")["release"]).startswith(version)
            texts, answers = tickets(TASKS, mark="compat")
            loop = Loop.of(installation, api, [{"text": text} for text in texts])
            loop.wait_until_ranked(TASKS)
            for _ in range(LABELS):
                loop.annotate_next(answers)
                loop.wait_for_round()
            skipped = served(loop)
            api.annotate(skipped, was_cancelled=True)
            loop.wait_for_round()
            assert served(loop) != skipped
            assert {row["model_version"] for row in api.predictions(loop.id)} == {MODEL_VERSION}
            assert sum(bool(row["result"]) for row in api.predictions(loop.id)) > TASKS / 2
            assert loop.status()["labelled"] == LABELS
            examined = loop.prepal("doctor", str(loop.id), PREPAL_VECTORS=str(installation.home / "vectors"))
            assert f"Label Studio is {version}" in examined.stdout
            loop.prepal("disconnect", str(loop.id), "--predictions")
            assert api.predictions(loop.id) == []
            assert sum(task["is_labeled"] for task in api.tasks(loop.id)) == LABELS


def served(loop: Loop) -> int:
    """The task that Label Studio serves, which is the newest round's first."""
    task = loop.api.next(loop.id)
    assert task is not None
    assert task["id"] == loop.status()["next"][0]
    return int(task["id"])
