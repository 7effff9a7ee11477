"""From what three annotators did in a real Label Studio to a model, and from the model back to Label Studio."""

from pathlib import Path

import pytest
from api import LabelStudioApi
from click.testing import CliRunner
from projects import LABEL_CONFIG, tickets

from prepal.cli import main
from prepal.up import Installation
from prepal_workers.read_labelled import read_labelled

LABELLED, ALL = 30, 42


@pytest.fixture(scope="module")
def project(label_studio: LabelStudioApi) -> int:
    """30 of 42 tickets labelled by three annotators, who disagree on every tenth; one more skipped, one left empty."""
    texts, topics = tickets(ALL, mark="finetune")
    names = sorted(set(topics.values()))
    number = label_studio.create_project(LABEL_CONFIG, maximum_annotations=3)
    label_studio.import_tasks(number, [{"text": text, "source": "mail"} for text in texts])
    annotators = [None, *(label_studio.new_annotator(f"finetune-{n}@example.com") for n in (1, 2))]
    tasks = label_studio.tasks(number)
    for place, task in enumerate(tasks[:LABELLED]):
        topic = topics[task["data"]["text"]]
        for token in annotators:
            disputed = place % 10 == 0 and token is None
            chosen = next(name for name in names if name != topic) if disputed else topic
            label_studio.annotate(task["id"], chosen, token=token)
    label_studio.annotate(tasks[LABELLED]["id"], was_cancelled=True)
    label_studio.annotate(tasks[LABELLED + 1]["id"])
    return number


def test_all_four_exports_give_the_same_training_set(
    installation: Installation, label_studio: LabelStudioApi, project: int
) -> None:
    _, topics = tickets(ALL, mark="finetune")
    for kind in ("JSON", "JSON_MIN", "CSV", "TSV"):
        admin = label_studio.session(installation.label_studio_token)
        answer = admin.get(f"/api/projects/{project}/export", params={"exportType": kind})
        data = read_labelled(answer.raise_for_status().content, kind)
        assert data.kind == kind
        assert len(data.texts) == LABELLED
        assert {text: data.label_names[label] for text, label in zip(data.texts, data.labels, strict=True)} == {
            text: topics[str(text)] for text in data.texts
        }
        assert data.disagreements == LABELLED // 10


def test_a_project_becomes_a_model_that_labels_the_rest(
    installation: Installation, label_studio: LabelStudioApi, project: int, tmp_path: Path
) -> None:
    environment = {
        "LABEL_STUDIO_URL": installation.label_studio_url,
        "LABEL_STUDIO_API_KEY": installation.label_studio_token,
        "REDIS_URL": installation.redis_url,
    }
    model = ["--model", "sentence-transformers/all-MiniLM-L6-v2", "--out", str(tmp_path / "model"), "--epochs", "2"]
    for command in (
        ["finetune", "--project", str(project), *model],
        ["predict", str(tmp_path / "model"), "--project", str(project), "--threshold", "0.9"],
        ["predict", str(tmp_path / "model"), "--project", str(project)],
    ):
        told = CliRunner().invoke(main, command, env=environment)
        assert told.exit_code == 0, told.output
    assert "0 texts labelled" in told.stderr
    made = [p for p in label_studio.predictions(project) if p["model_version"].startswith("PRepAL fine-tuned")]
    labelled = {task["id"] for task in label_studio.tasks(project)[:LABELLED]}
    assert len(made) >= ALL - LABELLED - 1
    assert not labelled & {prediction["task"] for prediction in made}
    for prediction in made:
        assert 0 < prediction["score"] <= 1
        assert prediction["result"][0]["value"]["choices"][0]
