"""The learning curve that the demo shows."""

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from prepal.demo.curve import CurvePoint, draw, learning_curve, random_curve, table

Texts = tuple[NDArray[np.float32], list[str]]


@pytest.fixture
def texts() -> Texts:
    """Vectors of 300 texts around three unit vectors, and their labels."""
    generator = np.random.default_rng(0)
    which = generator.integers(0, 3, 300)
    vectors = np.eye(8)[which] + generator.normal(0, 0.4, (300, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), [("red", "green", "blue")[at] for at in which]


def split(texts: Texts) -> tuple[Texts, Texts]:
    """200 texts of a pool, and 100 to test on."""
    vectors, labels = texts
    return (vectors[:200], labels[:200]), (vectors[200:], labels[200:])


def test_accuracy_rises_with_the_labels(texts: Texts) -> None:
    curve = learning_curve(*split(texts), range(200), [3, 200])
    assert [point.labels for point in curve] == [3, 200]
    assert curve[0].accuracy < curve[1].accuracy
    assert curve[1].accuracy > 0.85


def test_a_point_knows_only_the_labels_before_it(texts: Texts) -> None:
    (vectors, labels), test = split(texts)
    spoiled = (vectors, labels[:50] + ["red"] * 150)
    assert learning_curve(spoiled, test, range(200), [50]) == learning_curve((vectors, labels), test, range(200), [50])


def test_names_help_while_labels_are_few(texts: Texts) -> None:
    names = np.eye(8, dtype=np.float32)[[2, 1, 0]]  # blue, green, red
    (without,), (with_names,) = (learning_curve(*split(texts), range(200), [2], names=known) for known in (None, names))
    assert with_names.accuracy > without.accuracy + 0.1


def test_labels_of_one_class_answer_that_class_for_every_text(texts: Texts) -> None:
    _, labels = texts
    reds = [at for at, label in enumerate(labels) if label == "red"][:2]
    curve = learning_curve(texts, texts, reds, [1, 2])
    assert [point.accuracy for point in curve] == [pytest.approx(labels.count("red") / 300)] * 2


def test_the_random_curve_is_the_mean_over_its_seeds(texts: Texts) -> None:
    parts = (*split(texts), [5, 40])
    first, second, both = (random_curve(*parts, seeds=seeds) for seeds in ([1], [2], [1, 2]))
    assert both == random_curve(*parts, seeds=[1, 2])
    assert first != second
    for one, two, mean in zip(first, second, both, strict=True):
        assert mean.accuracy == pytest.approx((one.accuracy + two.accuracy) / 2)


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    draw([CurvePoint(10, 0.5), CurvePoint(60, 0.8)], [CurvePoint(10, 0.4), CurvePoint(60, 0.7)], path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_table_shows_both_curves_and_the_gain() -> None:
    shown = StringIO()
    Console(width=100, file=shown).print(table([CurvePoint(60, 0.8)], [CurvePoint(60, 0.725)]))
    assert shown.getvalue().splitlines()[-2].split() == ["│", "60", "│", "80.0%", "│", "72.5%", "│", "+7.5", "│"]
