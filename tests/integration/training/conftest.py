"""What trainings of a test session have in common."""

from pathlib import Path

import pytest
import torch
from tests.helpers.finetuned import write_encoder


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default encoder's first layer."""
    folder = tmp_path_factory.mktemp("encoder")
    write_encoder(folder)
    return folder
