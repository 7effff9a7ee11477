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


def test_accuracy_rises_with_the_labels(texts: Texts) -> None:
    vectors, labels = texts
    curve = learning_curve(vectors[:200], labels[:200], vectors[200:], labels[200:], [3, 200])
    assert [point.labels for point in curve] == [3, 200]
    assert curve[0].accuracy < curve[1].accuracy
    assert curve[1].accuracy > 0.85


def test_a_point_knows_only_the_labels_before_it(texts: Texts) -> None:
    vectors, labels = texts
    spoiled = labels[:50] + ["red"] * 150
    clean = learning_curve(vectors[:200], labels[:200], vectors[200:], labels[200:], [50])
    assert learning_curve(vectors[:200], spoiled, vectors[200:], labels[200:], [50]) == clean


def test_labels_of_one_class_answer_that_class_for_every_text(texts: Texts) -> None:
    vectors, labels = texts
    curve = learning_curve(vectors[:2], ["red", "red"], vectors, labels, [1, 2])
    assert [point.accuracy for point in curve] == [pytest.approx(labels.count("red") / 300)] * 2


def test_the_random_curve_is_the_mean_over_its_seeds(texts: Texts) -> None:
    vectors, labels = texts
    parts = (vectors[:200], labels[:200], vectors[200:], labels[200:], [5, 40])
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
