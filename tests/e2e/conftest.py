"""A whole installation on a real Label Studio, one per session and database, and a client that plays its users."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.api import LabelStudioApi
from tests.helpers.postgres import throw_away_postgres

from prepal.machine.up import Installation, running
from prepal.settings import Settings

NO_SKIP = "PREPAL_TEST_NO_SKIP"


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """Nobody's own Label Studio or Redis is touched, and models come from installed packages."""
    with pytest.MonkeyPatch.context() as environment:
        for name in Settings.model_fields:
            environment.delenv(name.upper(), raising=False)
        environment.setenv("HF_HUB_OFFLINE", "1")
        environment.setenv("PREPAL_RECONCILE_S", "30")
        # What is measured rests on the encoder's own vectors; loop/test_adapting.py has an installation of its own.
        environment.setenv("PREPAL_ADAPT", "off")
        yield


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Everything that `prepal up` starts, with Label Studio on sqlite."""
    with running(_home(tmp_path_factory), Settings(prepal_adapt="off"), progress=print) as started:
        yield started


@pytest.fixture(scope="session")
def postgres_installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The same with Label Studio on PostgreSQL."""
    with (
        throw_away_postgres() as database,
        running(
            _home(tmp_path_factory), Settings(prepal_adapt="off"), label_studio_env=database, progress=print
        ) as started,
    ):
        yield started


@pytest.fixture(scope="session")
def label_studio(installation: Installation) -> Iterator[LabelStudioApi]:
    yield from _api(installation)


@pytest.fixture(scope="session")
def postgres_label_studio(postgres_installation: Installation) -> Iterator[LabelStudioApi]:
    yield from _api(postgres_installation)


def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("installation") / "home"


def _api(installation: Installation) -> Iterator[LabelStudioApi]:
    api = LabelStudioApi(installation.label_studio_url, installation.label_studio_token)
    yield api
    api.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where PREPAL_TEST_NO_SKIP is set, a skipped test fails the run."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = len(reporter.stats.get("skipped", [])) if reporter else 0
    if skipped and os.environ.get(NO_SKIP):
        reporter.write_line(f"\n{skipped} skipped, and {NO_SKIP} is set: a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
