"""The fingerprint of code changes with what decides a result, and with nothing else."""

import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.fingerprint import LEARNING, fingerprint

NAMES = ("ActiveLearner", "margin.STRATEGY")
Edit = Callable[[str, str, str], None]


@pytest.fixture
def learning(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LEARNING, tmp_path / "learning"))


@pytest.fixture
def edit(learning: Path) -> Edit:
    """Puts other text in place of the only place that matches a pattern."""

    def put(file: str, pattern: str, text: str) -> None:
        path = learning / file
        edited, places = re.subn(pattern, lambda _: text, path.read_text(encoding="utf-8"), flags=re.M | re.S)
        assert places == 1, f"{pattern} matches {places} times"
        path.write_text(edited, encoding="utf-8")

    return put


def move(learning: Path, function: str, file: str, to: str) -> None:
    """Move a function into a new module that has all imports of the old one, and import it from there."""
    source = (learning / file).read_text(encoding="utf-8")
    statement = next(part for part in ast.parse(source).body if getattr(part, "name", "") == function)
    moved = "".join(source.splitlines(keepends=True)[statement.lineno - 1 : statement.end_lineno])
    imports = "\n".join(re.findall(r"^(?:from|import) .*$", source, re.M))
    (learning / to).write_text(f"{imports}\n\n\n{moved}", encoding="utf-8")
    imported = f"from prepal.learning.{to.removesuffix('.py').replace('/', '.')} import {function}\n"
    (learning / file).write_text(source.replace(moved, imported), encoding="utf-8")


def test_it_depends_on_the_strategy() -> None:
    assert len({fingerprint(["ActiveLearner", f"{name}.STRATEGY"]) for name in ("margin", "entropy", "auto")}) == 3


@pytest.mark.parametrize(
    ("function", "file", "to"),
    [
        ("_unit", "classifiers/label_names.py", "numerics/unit.py"),
        ("best", "pool.py", "best.py"),
        ("closeness", "strategies/doubt/margin.py", "strategies/closeness.py"),
    ],
)
def test_a_definition_may_move(learning: Path, function: str, file: str, to: str) -> None:
    before = fingerprint(NAMES, learning)
    move(learning, function, file, to)
    assert f"def {function}(" not in (learning / file).read_text(encoding="utf-8")
    assert fingerprint(NAMES, learning) == before


def test_a_file_may_be_renamed(learning: Path) -> None:
    before = fingerprint(NAMES, learning)
    (learning / "classifiers/solver.py").rename(learning / "numerics/newton.py")
    for path in learning.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("classifiers.solver", "numerics.newton"), encoding="utf-8")
    assert fingerprint(NAMES, learning) == before


@pytest.mark.parametrize(
    ("file", "pattern", "text"),
    [
        ("active_learner.py", r'^""".*?"""', '"""Another docstring."""'),
        ("pool.py", r'"""Return vectors `\(n, d\)` in the space where distances count."""', '"""Map."""'),
        ("active_learner.py", r"# Names that count less.*?$", "# Another comment."),
        ("pool.py", r"scores: NDArray\[np.float32\], n: int\) -> NDArray\[np.int64\]", "scores, n)"),
        ("classifiers/labels.py", r"^Labels = .*?$", "Labels = NDArray[np.int64]"),
        ("strategies/variety/coreset.py", "nearest.argmax", "nearest.argmin"),
    ],
    ids=["module's docstring", "method's docstring", "comment", "annotations", "alias of a type", "another strategy"],
)
def test_what_decides_nothing_may_change(learning: Path, edit: Edit, file: str, pattern: str, text: str) -> None:
    before = fingerprint(NAMES, learning)
    edit(file, pattern, text)
    assert fingerprint(NAMES, learning) == before


@pytest.mark.parametrize(
    ("file", "pattern", "text"),
    [
        ("classifiers/prior.py", r"^SPREAD_POWER = 0.75", "SPREAD_POWER = 0.5"),
        ("strategies/doubt/margin.py", "return second - first", "return second + first"),
        ("classifiers/label_names.py", r"^import math$", "import cmath as math"),
        (
            "active_learner.py",
            r"classifiers.prior import Prior, spread_power",
            "classifiers.prior import Prior, Belief as spread_power",
        ),
        ("strategies/doubt/margin.py", r"^from prepal.learning.pool import", "from prepal.learning.numerics import"),
        ("pool.py", r"    multilabel: bool = True", "    multilabel: bool = False"),
    ],
    ids=["constant", "operator", "library", "imported name", "module without it", "default"],
)
def test_what_decides_a_result_counts(learning: Path, edit: Edit, file: str, pattern: str, text: str) -> None:
    before = fingerprint(NAMES, learning)
    edit(file, pattern, text)
    assert fingerprint(NAMES, learning) != before


def test_two_constants_of_one_name_that_swap_values_count(learning: Path, edit: Edit) -> None:
    names = ["contrastive.STRATEGY", "typiclust.STRATEGY"]
    before = fingerprint(names, learning)
    edit("strategies/variety/contrastive.py", r"^_NEIGHBOURS = 10  # the paper's", "_NEIGHBOURS = 20")
    edit("strategies/variety/typiclust.py", r"^_NEIGHBOURS = 20", "_NEIGHBOURS = 10")
    assert fingerprint(names, learning) != before


def test_a_name_of_no_definition_or_of_several_is_refused() -> None:
    with pytest.raises(ValueError, match="'closest' must be one definition"):
        fingerprint(["closest"])
    with pytest.raises(ValueError, match="'STRATEGY' must be one definition"):
        fingerprint(["STRATEGY"])
