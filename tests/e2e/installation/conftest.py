"""A project with a label or two for the doctor to look at."""

import pytest
from tests.helpers.api import LabelStudioApi
from tests.helpers.projects import Loop, tickets
from tests.helpers.ward import Ward

from prepal.machine.up import Installation
from prepal.settings import Settings

TASKS = 30


@pytest.fixture(scope="module")
def ward(installation: Installation, label_studio: LabelStudioApi) -> Ward:
    texts, answers = tickets(TASKS, mark="doctor")
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts])
    loop.wait_until_ranked(TASKS)
    for _ in range(2):
        loop.annotate_next(answers)
    loop.api.annotate(loop.api.next(loop.id)["id"], was_cancelled=True)
    loop.wait_for_round()
    settings = Settings(
        label_studio_url=installation.label_studio_url,
        label_studio_api_key=installation.label_studio_token,
        redis_url=installation.redis_url,
        prepal_backend_url=installation.backend_url,
        basic_auth_user=installation.backend_user,
        basic_auth_pass=installation.backend_password,
        prepal_vectors=str(installation.home / "vectors"),
        prepal_adapt="off",
    )
    return Ward(loop, settings, loop.id)
