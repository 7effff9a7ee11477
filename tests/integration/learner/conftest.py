"""Installations with a healthy project and others, of which one may be sick."""

from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from tests.helpers.installation import WELL, Installation, Subject


@pytest.fixture
def install(redis: redis.Redis, redis_url: str, tmp_path: Path) -> Callable[..., Installation]:
    """Makes an installation with projects 1, 2, 3, … of so many tasks, and a healthy one."""

    def make(*tasks: int) -> Installation:
        return Installation(redis, redis_url, tmp_path, {**dict(enumerate(tasks, start=1)), WELL: 12})

    return make


@pytest.fixture
def here(install: Callable[..., Installation]) -> Installation:
    return install(12)


@pytest.fixture
def sick(here: Installation) -> Subject:
    return here.subjects[1]
