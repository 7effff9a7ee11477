"""The house that README.md and ARCHITECTURE.md show is the one that stands."""

import re

import pytest
from tests.helpers import ROOT
from tests.helpers.house import DOCUMENTS, PACKAGES, house, of

# What a screen shows, and what a line of it.
LINES, COLUMNS = 50, 140


@pytest.mark.parametrize(("document", "depth"), DOCUMENTS.items())
def test_documents_show_every_folder_as_it_says_what_it_is_for(document: str, depth: int) -> None:
    shown = of(document)
    assert shown == house(depth), "`python -m tests.helpers.house` writes it anew"
    assert len(shown.splitlines()) <= LINES
    assert max(map(len, shown.splitlines())) <= COLUMNS


def test_no_folder_is_left_out_and_none_holds_too_much() -> None:
    shown = house(9)
    for package in PACKAGES.values():
        for folder in {file.parent for file in package.rglob("*.py")}:
            assert f"{folder.name}/" in shown or not (folder / "__init__.py").exists()
            assert len([file for file in folder.glob("*.py") if file.stem != "__init__"]) <= 10, folder


@pytest.mark.parametrize("folder", ["backend", "workers", "benchmarks", "tests"])
def test_no_file_is_too_long_to_be_read_at_a_sitting(folder: str) -> None:
    lengths = {str(file): len(file.read_text("utf-8").splitlines()) for file in (ROOT / folder).rglob("*.py")}
    assert {file: length for file, length in lengths.items() if length > 350} == {}


@pytest.mark.parametrize(
    "document", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/operations.md", "docs/finetune.md"]
)
def test_every_file_that_a_document_names_is_there(document: str) -> None:
    named = set(re.findall(r"`(?:\S* )?([a-z_/0-9]+\.py)\b", (ROOT / document).read_text("utf-8")))
    roots = [ROOT, *PACKAGES.values()]
    assert {name for name in named if not any((root / name).is_file() for root in roots)} == set()
