"""Sample tickets to fine-tune on, and a small encoder to fine-tune."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from prepal.demo.data import load_tickets
from prepal_workers.encoder.weights import DEFAULT_ENCODER, source

TICKETS = load_tickets()
TOPICS = sorted({str(ticket.topic) for ticket in TICKETS})
LEARNT, TESTED = TICKETS[:90], TICKETS[1000:1200]
# Options of the fine-tuning that is compared with one that was killed.
COMMAND = ("--epochs", "3", "--seed", "3")


@dataclass
class Run:
    """What `prepal finetune` gave.

    Attributes:
        folder: of the model.
        metrics: what `metrics.json` has.
        told: what was shown meanwhile, on one line.
    """

    folder: Path
    metrics: dict[str, Any]
    told: str


def labels_of(tickets: list[Any]) -> NDArray[np.int64]:
    return np.array([TOPICS.index(str(ticket.topic)) for ticket in tickets])


def write_encoder(folder: Path) -> None:
    """The default encoder's first layer, as a folder of sentence-transformers."""
    model = AutoModel.from_pretrained(source(DEFAULT_ENCODER))
    del model.encoder.layer[1:]
    model.config.num_hidden_layers = 1
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source(DEFAULT_ENCODER)).save_pretrained(folder)
    for part in ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json"):
        (folder / part).parent.mkdir(exist_ok=True)
        (folder / part).write_text((Path(source(DEFAULT_ENCODER)) / part).read_text())
    (folder / "2_Normalize").mkdir()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """A training gives the same again."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default encoder's first layer."""
    folder = tmp_path_factory.mktemp("encoder")
    write_encoder(folder)
    return folder
