"""`finetune` and `predict` read the same words of whatever file, and refuse in one sentence what has none."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from prepal.cli.main import main
from prepal_workers.final_model.predict import Predictor

CHOICES = '<Choices name="topic" toName="t"><Choice value="food"/><Choice value="rooms"/></Choices>'
CONFIG = f'<View><HyperText name="t" value="$page"/>{CHOICES}</View>'
WORDS = {"food": "The soup was cold and the bread was old", "rooms": "A loud room with a broken window and no key"}


def page(number: int, topic: str) -> str:
    return f"<html><style>p {{margin: {number}px}}</style><p>{WORDS[topic]},&nbsp;{'so ' * number}we left.</p></html>"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a target storage."""
    folder = tmp_path_factory.mktemp("files") / "target"
    folder.mkdir()
    for number in range(1, 13):
        topic = ("food", "rooms")[number % 2]
        result = [{"from_name": "topic", "to_name": "t", "type": "choices", "value": {"choices": [topic]}}]
        task = {"id": number, "data": {"page": page(number, topic), "note": "a note that is not a text at all"}}
        stored = {"id": 100 + number, "result": result, "task": task, "completed_by": {"id": 1}, "was_cancelled": False}
        (folder / str(100 + number)).write_text(json.dumps(stored))
    (folder / ".hidden").write_bytes(b"\xff\xff")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def finetune(*arguments: object) -> Result:
    return run("finetune", *arguments, "--model", "word-counts")


@pytest.mark.parametrize("how", ["config", "text", "nothing"])
def test_words_go_in_and_come_out_without_their_markup(how: str, target: Path, tmp_path: Path) -> None:
    config = tmp_path / "label_config.xml"
    config.write_text(CONFIG, encoding="utf-16")
    options: dict[str, tuple[Any, ...]] = {"config": ("--config", config), "text": ("--text", "page"), "nothing": ()}
    done = finetune(target, *options[how], "--out", tmp_path / "model")
    assert done.exit_code == 0, done.output
    said = json.loads((tmp_path / "model" / "metrics.json").read_text())["data"]
    assert said["counts"] == {"food": 6, "rooms": 6}
    predictor = Predictor(tmp_path / "model")
    read = f"{WORDS['food']}, so so we left."
    assert predictor.texts([{"page": page(2, "food")}, {"data": {"page": page(2, "food")}}], "x") == [read, read]

    rest = tmp_path / "rest.csv"
    rest.write_text(f'sep=;\r\nid;page\r\n1;"{page(2, "rooms")}"\r\n2;{WORDS["rooms"]}\r\n', encoding="utf-16")
    done = run("predict", tmp_path / "model", "--input", rest, "--out", tmp_path / "out.jsonl")
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["predicted"] for row in rows] == ["rooms", "rooms"]

    rest.write_text("text\nA room\n")
    done = run("predict", tmp_path / "model", "--input", rest, "--out", tmp_path / "other.jsonl")
    assert (done.exit_code, "which the model learnt from: name its fields so (found: text)." in done.stderr) == (
        1,
        True,
    )


def test_what_is_no_text_ends_in_one_sentence(target: Path, tmp_path: Path) -> None:
    book = tmp_path / "book.xlsx"
    book.write_bytes(b"PK\x03\x04 [Content_Types].xml xl/workbook.xml")
    config = tmp_path / "label_config.xml"
    config.write_text("<View/>")
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, says in {
        (book,): "book.xlsx is an Excel workbook: save the sheet as 'CSV UTF-8'.",
        (target, "--text", "pages"): "has the field 'pages': there are note, page; name one of these.",
        (target, "--choice", "tone"): "has no choices of the tag 'tone' (found: topic): name one of these.",
        (target, "--config", config): "The label config has no Choices",
        (empty,): "has no files: give an export, or the folder of a target storage.",
    }.items():
        done = finetune(*arguments, "--out", tmp_path / "model")
        assert (done.exit_code, says in " ".join(done.stderr.split())) == (1, True), done.output
        assert "Traceback" not in done.output
    assert finetune("--project", 1, "--config", config, "--out", tmp_path / "model").exit_code == 2
