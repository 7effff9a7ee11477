"""An encoder learns from labels, is judged by others, and is written only where it is better."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from prepal.learning.quality.folds import equal
from prepal_workers.adapt.adaptation import Known, NotAdaptableError, adapt
from prepal_workers.encoder.encoder import Encoder
from prepal_workers.training.recipe import Wishes

NAMES = ("Anna", "Boris", "Chen", "Dora", "Emil", "Fatima", "Goran", "Hana", "Igor", "Jane")
VERBS = ("paid", "called", "met", "saw", "helped", "asked", "thanked", "warned")
# Few steps, but enough for one layer.
QUICK = Wishes(epochs=12, learning_rate=1e-3)

See = Callable[[Sequence[str]], NDArray[np.float32]]


def sentences(count: int, seed: int) -> tuple[list[str], NDArray[np.int64]]:
    """Who did it: the one whose name comes first in the alphabet, or the other. No word tells, only their order."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(count):
        first, second = rng.choice(NAMES, 2, replace=False)
        texts.append(f"{first} {rng.choice(VERBS)} {second}.")
        labels.append(int(first < second))
    return texts, np.array(labels)


@pytest.fixture(scope="module")
def see(encoder: Path) -> See:
    base = Encoder(str(encoder), device="cpu")
    return lambda texts: base.encode(texts).astype(np.float32)


def known(texts: list[str], labels: NDArray[np.int64], audits: Sequence[int] = ()) -> Known:
    others, _ = sentences(300, 99)
    return Known(
        texts,
        labels,
        ("later", "earlier"),
        np.isin(np.arange(len(texts)), audits),
        equal([text.casefold() for text in texts]),
        others,
    )


def test_an_encoder_that_tells_what_words_do_not_is_written(encoder: Path, see: See, tmp_path: Path) -> None:
    texts, labels = sentences(160, 0)
    outcome = adapt(known(texts, labels), str(encoder), see, tmp_path / "out", wishes=QUICK)
    assert outcome.encoder is not None
    assert outcome.judged == len(outcome.learnt) == 160
    assert outcome.accuracy["adapted"] > outcome.accuracy["base"] + 0.1
    again = Encoder(str(tmp_path / "out"), device="cpu").encode(texts[:20])
    np.testing.assert_allclose(again, outcome.encoder.encode(texts[:20]), atol=2e-3)
    assert {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()} <= {
        ".json",
        ".txt",
        ".safetensors",
    }


def test_labels_that_mean_nothing_make_no_encoder(encoder: Path, see: See, tmp_path: Path) -> None:
    texts, labels = sentences(80, 1)
    shuffled = np.random.default_rng(1).permutation(labels)
    outcome = adapt(known(texts, shuffled), str(encoder), see, tmp_path / "out", wishes=QUICK)
    assert outcome.encoder is None
    assert not (tmp_path / "out").exists()
    assert outcome.judged
    assert set(outcome.accuracy) == {"base", "adapted"}


def test_audit_tasks_and_their_copies_teach_no_encoder(encoder: Path, see: See, tmp_path: Path) -> None:
    texts, labels = sentences(60, 2)
    texts, labels = [*texts, *(text.upper() for text in texts[:3])], np.append(labels, labels[:3])
    outcome = adapt(known(texts, labels, audits=[0, 1, 2, 10]), str(encoder), see, tmp_path / "out", wishes=QUICK)
    copies = {
        place for place, text in enumerate(texts) if text.casefold() in {texts[a].casefold() for a in (0, 1, 2, 10)}
    }
    assert {60, 61, 62} <= copies
    assert set(outcome.learnt) == set(range(63)) - copies


def test_one_choice_alone_is_nothing_to_learn(encoder: Path, see: See, tmp_path: Path) -> None:
    texts, labels = sentences(60, 3)
    with pytest.raises(NotAdaptableError, match="are the same"):
        adapt(known(texts, np.zeros_like(labels)), str(encoder), see, tmp_path / "out", wishes=QUICK)
