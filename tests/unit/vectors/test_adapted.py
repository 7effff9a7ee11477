"""Adapted encoders in the vector cache: whole or not there, whoever stores them, is killed, or damages them."""

import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import lancedb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prepal.errors import PrepalError
from prepal.vectors import AdaptedEncoders, LostEncoderError, encoders, files_table

BASE = "/models/mine#0123456789abcdef#windows"
PIECE = 4 * 2**20
NAMES = st.from_regex(
    r"([a-z0-9]_?[A-Z]{0,3}/){0,2}[a-z0-9][a-z0-9_.-]{0,5}\.(json|txt|model|safetensors)", fullmatch=True
)


def save(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def some_files(seed: int = 0, size: int = 2 * PIECE + 5) -> dict[str, bytes]:
    """What an encoder consists of: weights in several pieces, and small files."""
    weights = random.Random(seed).randbytes(size)
    return {"model.safetensors": weights, "config.json": b"{}", "1_Pooling/config.json": b'{"a": 1}', "vocab.txt": b""}


@pytest.fixture
def store(tmp_path: Path) -> AdaptedEncoders:
    return AdaptedEncoders(str(tmp_path / "vectors"))


def test_an_encoder_comes_back_as_it_was_whatever_the_sizes_of_its_files(
    store: AdaptedEncoders, tmp_path: Path
) -> None:
    sizes = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 7]
    files = {f"{size}/part.safetensors": random.Random(size).randbytes(size) for size in sizes}
    identity = store.put(save(tmp_path / "saved", files), BASE, 7, 100)
    assert encoders.base_of(identity) == BASE
    assert re.fullmatch(re.escape(BASE) + r"@7-100-[0-9a-f]{16}", identity)
    store.fetch(identity, tmp_path / "fetched")
    assert read(tmp_path / "fetched") == files
    assert sum(sizes) < store.size() < sum(sizes) + 100_000


@settings(deadline=None, max_examples=25)
@given(st.dictionaries(NAMES, st.binary(max_size=200), max_size=5))
def test_any_files_that_an_encoder_may_have_come_back(
    tmp_path_factory: pytest.TempPathFactory, some: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    # No name of a file is that of a folder.
    files = {name: content for name, content in some.items() if not any(o.startswith(name + "/") for o in some)}
    files["weights.safetensors"] = b"w"
    store = AdaptedEncoders(str(folder / "vectors"))
    identity = store.put(save(folder / "saved", files), "some/base", 1, 2)
    (folder / "fetched").mkdir()
    store.fetch(identity, folder / "fetched")
    assert read(folder / "fetched") == files


def test_the_same_files_are_one_encoder_and_other_ones_another(store: AdaptedEncoders, tmp_path: Path) -> None:
    first, second = save(tmp_path / "first", some_files(1)), save(tmp_path / "second", some_files(2))
    identity = store.put(first, BASE, 7, 100)
    size = store.size()
    assert store.put(first, BASE, 7, 100) == identity
    assert (store.names(), store.size()) == ([identity], size)
    others = {store.put(second, BASE, 7, 100), store.put(first, BASE, 8, 100), store.put(first, "other", 7, 100)}
    assert store.names() == sorted({identity, *others})
    assert len(others) == 3
    store.delete(identity)
    store.delete(identity)
    assert store.names() == sorted(others)
    with pytest.raises(LostEncoderError, match=f"The adapted encoder {re.escape(identity)} is not in the vector cache"):
        store.fetch(identity, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_a_store_that_is_not_there_is_empty_and_is_not_made_by_reading(store: AdaptedEncoders, tmp_path: Path) -> None:
    assert (store.names(), store.tables(), store.size()) == ([], [], 0)
    store.delete(f"{BASE}@1-2-0123456789abcdef")
    with pytest.raises(LostEncoderError):
        store.fetch(f"{BASE}@1-2-0123456789abcdef", tmp_path / "fetched")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "modeling.py", ".gitattributes", ".hidden.json", "a/.b/c.json", "model.safetensors.py"],
)
def test_other_files_than_an_encoders_are_refused(store: AdaptedEncoders, tmp_path: Path, name: str) -> None:
    folder = save(tmp_path / "saved", {**some_files(size=9), name: b"x"})
    with pytest.raises(PrepalError, match=rf"cannot be stored with its file {re.escape(name)}: leave only .json"):
        store.put(folder, BASE, 7, 100)
    assert store.tables() == []


def test_a_folder_without_weights_is_refused(store: AdaptedEncoders, tmp_path: Path) -> None:
    for folder in (save(tmp_path / "saved", {"config.json": b"{}"}), tmp_path / "nowhere"):
        with pytest.raises(PrepalError, match=f"The folder {folder} has no .safetensors file"):
            store.put(folder, BASE, 7, 100)


def test_nothing_is_written_over_other_files(store: AdaptedEncoders, tmp_path: Path) -> None:
    identity = store.put(save(tmp_path / "saved", some_files(size=9)), BASE, 7, 100)
    mine = save(tmp_path / "mine", {"letter.txt": b"dear"})
    with pytest.raises(PrepalError, match=f"{mine} cannot be written"):
        store.fetch(identity, mine)
    assert read(mine) == {"letter.txt": b"dear"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "saved", "vectors"]


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_a_damaged_encoder_is_never_handed_out(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    store = AdaptedEncoders(str(folder / "vectors"))
    files = some_files(size=PIECE + 9)
    identity = store.put(save(folder / "saved", files), BASE, 7, 100)
    table = lancedb.connect(str(folder / "vectors")).open_table(files_table(identity))
    rows = table.to_arrow()
    place = data.draw(st.integers(0, len(rows) - 1))
    damaged = rows.to_pylist()
    row = damaged[place]
    kind = data.draw(st.sampled_from(["flipped", "shortened", "moved", "renamed", "led outside", "gone", "more"]))
    if kind == "flipped" and row["content"]:
        content = bytearray(row["content"])
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        row["content"] = bytes(content)
    elif kind == "shortened" and row["content"]:
        row["content"] = row["content"][:-1]
    elif kind == "moved":
        # Where nothing is moved on, nothing changes.
        row["offset"] += data.draw(st.sampled_from([-(2**40), -1, *([1, PIECE] if row["content"] else [])]))
    elif kind == "renamed":
        row["file"] = "renamed.json"
    elif kind == "led outside":
        row["file"] = data.draw(
            st.sampled_from(["../escaped.json", "/tmp/escaped.json", "a/../../escaped.json", "x.py"])
        )
    elif kind == "more":
        damaged.append({**row, "file": "another.txt"})
    else:
        damaged.pop(place)
    lancedb.connect(str(folder / "vectors")).create_table(
        table.name, pa.Table.from_pylist(damaged, rows.schema), mode="overwrite"
    )
    with pytest.raises(LostEncoderError, match=r"is damaged: `prepal vectors --prune`"):
        store.fetch(identity, folder / "fetched")
    assert sorted(path.name for path in folder.iterdir()) == ["saved", "vectors"]
    store.delete(identity)
    assert store.put(folder / "saved", BASE, 7, 100) == identity
    store.fetch(identity, folder / "fetched")
    assert read(folder / "fetched") == files


def test_a_byte_that_flips_on_disk_and_a_file_that_is_gone_are_damage(store: AdaptedEncoders, tmp_path: Path) -> None:
    files = some_files()
    identity = store.put(save(tmp_path / "saved", files), BASE, 7, 100)
    (stored,) = (tmp_path / "vectors").rglob("data/*.lance")
    whole = stored.read_bytes()
    place = whole.index(files["model.safetensors"][100:200])
    for bit in range(8):
        stored.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        with pytest.raises(LostEncoderError, match="is damaged"):
            AdaptedEncoders(str(tmp_path / "vectors")).fetch(identity, tmp_path / "fetched")
    stored.unlink()
    with pytest.raises(LostEncoderError, match="is damaged"):
        AdaptedEncoders(str(tmp_path / "vectors")).fetch(identity, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    # It is told no more, can be deleted, and is stored again like one that was never there.
    assert (store.names(), len(store.tables())) == ([], 1)
    assert store.size() > 0
    assert store.put(tmp_path / "saved", BASE, 7, 100) == identity
    store.fetch(identity, tmp_path / "fetched")
    assert read(tmp_path / "fetched") == files


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_who_stores_the_same_at_the_same_time_stores_one(tmp_path: Path, scheme: str) -> None:
    folder, uri = save(tmp_path / "saved", some_files()), f"{scheme}{tmp_path}/vectors"
    barrier = Barrier(4)

    def put(_: int) -> str:
        barrier.wait()
        return AdaptedEncoders(uri).put(folder, BASE, 7, 100)

    with ThreadPoolExecutor(4) as threads:
        identities = set(threads.map(put, range(4)))
    store = AdaptedEncoders(uri)
    assert {*store.names()} == identities
    (table,) = store.tables()
    assert lancedb.connect(uri).open_table(table).count_rows() == 6
    store.fetch(*identities, tmp_path / "fetched")
    assert read(tmp_path / "fetched") == some_files()


PUTTER = """
import sys
from pathlib import Path
from prepal.vectors import AdaptedEncoders

store = AdaptedEncoders(sys.argv[1])
store.names()
print("ready", flush=True)
sys.stdin.readline()
store.put(Path(sys.argv[2]), sys.argv[3], 7, 100)
"""


def test_who_is_killed_while_storing_leaves_all_or_nothing(store: AdaptedEncoders, tmp_path: Path) -> None:
    files, uri = some_files(size=60_000_000), tmp_path / "vectors"
    folder = save(tmp_path / "saved", files)
    unfinished = 0
    # Killed when so many bytes are on disk.
    for number, written in enumerate((0, 10_000_000, 40_000_000)):
        command = [sys.executable, "-c", PUTTER, str(uri), str(folder), f"base-{number}"]
        putter = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert putter.stdin is not None
            assert putter.stdout is not None
            putter.stdout.readline()
            before = {*uri.rglob("*")}
            putter.stdin.write(b"\n")
            putter.stdin.flush()
            while putter.poll() is None and (not (new := {*uri.rglob("*")} - before) or _bytes(new) < written):
                time.sleep(0.001)
            putter.send_signal(signal.SIGKILL)
        finally:
            putter.kill()
            putter.communicate()
        for place, identity in enumerate(store.names()):
            fetched = tmp_path / f"fetched-{number}-{place}"
            store.fetch(identity, fetched)
            assert read(fetched) == files
        unfinished += len(store.tables()) > len(store.names())
    assert unfinished
    # What was left unfinished stands in nobody's way, and can be told and deleted.
    identities = [store.put(folder, f"base-{number}", 7, 100) for number in range(3)]
    assert store.names() == sorted(identities)
    for table in store.tables():
        store.drop(table)
    assert store.tables() == []


def _bytes(paths: set[Path]) -> int:
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total
