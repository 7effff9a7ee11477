"""What an encoder in a folder is called by: its path, and what is in it."""

import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prepal.errors import PrepalError
from prepal.vectors import VectorTable, encoders, table_name

HUB = ["sentence-transformers/all-MiniLM-L6-v2", "BAAI/bge-m3#windows", "word-counts", "name@3"]
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "tokenizer.json": b"tokens",
    "1_Pooling/config.json": b"{}",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As a model is saved."""
    for name, content in FILES.items():
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "model"


@pytest.mark.parametrize("name", HUB)
def test_a_name_of_the_hub_is_its_own_identity_and_keeps_its_table(name: str, tmp_path: Path) -> None:
    assert encoders.identity(name) == encoders.here(name) == name
    assert VectorTable(str(tmp_path), name).name == table_name(name)
    assert encoders.weights("BAAI/bge-m3#windows") == "BAAI/bge-m3"


@pytest.mark.parametrize("windows", ["", "#windows"])
def test_a_folder_is_called_by_its_path_and_its_content(folder: Path, windows: str) -> None:
    found = encoders.identity(f"{folder}{windows}")
    assert found.startswith(f"{folder}#")
    assert found.endswith(windows)
    assert encoders.weights(found) == str(folder)
    assert encoders.identity(found) == found == encoders.here(found)
    table = VectorTable(str(folder.parent), f"{folder}{windows}")
    assert (table.encoder, table.name) == (found, table_name(found))


@given(st.sampled_from(sorted(FILES)), st.binary(max_size=9), st.sampled_from(["in place", "beside", "cut", "gone"]))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_changes_in_a_file_makes_another_encoder(folder: Path, name: str, content: bytes, how: str) -> None:
    path = folder / name
    path.write_bytes(FILES[name])
    before, looked = encoders.identity(str(folder)), path.stat()
    match how:
        case "in place":
            path.write_bytes(content)
        case "beside":
            new = path.with_name("new")
            new.write_bytes(content)
            new.replace(path)
        case "cut":
            os.truncate(path, len(FILES[name]) - 1)
        case "gone":
            path.unlink()
    if path.exists():
        # As a copy that keeps times does.
        os.utime(path, ns=(looked.st_atime_ns, looked.st_mtime_ns))
    same = path.exists() and path.read_bytes() == FILES[name]
    assert (encoders.identity(str(folder)) == before) == same
    if not same:
        with pytest.raises(PrepalError, match="no longer holds the encoder"):
            encoders.here(before)
    assert encoders.identity(before) == before


def test_what_makes_no_vectors_makes_no_other_encoder(folder: Path) -> None:
    before = encoders.identity(str(folder))
    for name in ("README.md", ".gitattributes", "onnx/model.onnx", ".cache/huggingface/download.lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("something")
    assert encoders.identity(str(folder)) == before


def test_a_copy_at_the_same_place_is_the_same_encoder(folder: Path) -> None:
    before = encoders.identity(str(folder))
    shutil.copytree(folder, folder.with_name("copy"))
    assert encoders.identity(str(folder.with_name("copy"))).rpartition("#")[2] == before.rpartition("#")[2]
    shutil.rmtree(folder)
    assert encoders.identity(str(folder)) == str(folder)
    folder.with_name("copy").rename(folder)
    assert encoders.identity(str(folder)) == before


def test_files_that_lie_elsewhere_by_a_link_count(folder: Path, tmp_path: Path) -> None:
    (folder / "1_Pooling").rename(tmp_path / "pooling")
    (folder / "1_Pooling").symlink_to(tmp_path / "pooling")
    before = encoders.identity(str(folder))
    (tmp_path / "pooling" / "config.json").write_text("{ }")
    assert encoders.identity(str(folder)) != before


def test_nothing_is_read_twice_that_has_not_changed(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while not encoders.look(str(folder)).is_settled:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    encoders.identity(str(folder))
    before = encoders._remembered.cache_info()
    for _ in range(5):
        encoders.identity(str(folder))
    after = encoders._remembered.cache_info()
    assert (after.misses, after.hits) == (before.misses, before.hits + 5)
