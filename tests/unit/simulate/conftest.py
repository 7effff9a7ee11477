"""A small dataset whose vectors tell its labels apart."""

from typing import Any

import numpy as np
import pytest

from prepal_workers.simulate.dataset import Dataset, Labelled
from prepal_workers.simulate.vectors import Vectors

KINDS = 3


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(0)

    def part(size: int) -> Labelled:
        labels = rng.integers(KINDS, size=size)
        return Labelled([f"text {number}" for number in range(size)], labels)

    return Dataset("blobs", ["a", "b", "c"], False, part(200), part(50))


@pytest.fixture
def vectors(dataset: Dataset) -> dict[str, Vectors]:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(KINDS, 8))

    def of(labels: Any) -> Any:
        return (centres[labels] + 0.7 * rng.normal(size=(len(labels), 8))).astype(np.float32)

    return {"blobs": Vectors(of(dataset.train.labels), of(dataset.test.labels), centres.astype(np.float32))}
