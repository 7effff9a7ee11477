"""From what three annotators did in a real Label Studio to a model, and from the model back to Label Studio."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.labelled_sets import LabelledSet, labelled_sets
from tests.helpers.projects import Loop

from prepal.cli.main import main
from prepal.label_studio.tabs import is_fresh
from prepal.machine.up import Installation
from prepal_workers.labelled.data import LabelledData
from prepal_workers.labelled.fields import Text
from prepal_workers.labelled.read import read_labelled

KINDS = ("JSON", "JSON_MIN", "CSV", "TSV")
ANNOTATORS = 3
# Tasks more: one is skipped by everybody, one is submitted empty, the others are left alone.
MORE = 12


@pytest.fixture(scope="module")
def annotators(label_studio: LabelStudioApi) -> list[str | None]:
    return [None, *(label_studio.new_annotator(f"finetune-{n}@example.com") for n in range(1, ANNOTATORS))]


def label(label_studio: LabelStudioApi, annotators: list[str | None], labelled_set: LabelledSet) -> int:
    """A project of the set, all of it labelled by all annotators, and of tasks that nobody labelled; returns its id."""
    project = label_studio.create_project(labelled_set.label_config, maximum_annotations=ANNOTATORS)
    more = [{field: f"{text} Once more." for field, text in data.items()} for data in labelled_set.data[:MORE]]
    label_studio.import_tasks(project, [{**data, "source": "mail"} for data in labelled_set.data + more])
    tasks = [task["id"] for task in label_studio.tasks(project)]
    for task, answers in zip(tasks, labelled_set.answers(ANNOTATORS), strict=False):
        for token, chosen in zip(annotators, answers, strict=True):
            label_studio.annotate(task, *chosen, token=token, to_name=labelled_set.fields[0])
    for token in annotators:
        label_studio.annotate(tasks[-1], was_cancelled=True, token=token)
    label_studio.annotate(tasks[-2])
    return project


def training_set(data: LabelledData) -> list[tuple[Text, set[str]]]:
    """Every text with its labels, by the order of tasks."""
    names = np.array(data.label_names)
    return [(text, set(names[row])) for text, row in zip(data.texts, data.marks, strict=True)]


@pytest.mark.parametrize("labelled_set", labelled_sets(), ids=lambda labelled_set: labelled_set.name)
def test_all_four_exports_give_the_same_training_set(
    installation: Installation,
    label_studio: LabelStudioApi,
    annotators: list[str | None],
    labelled_set: LabelledSet,
) -> None:
    project = label(label_studio, annotators, labelled_set)
    admin = label_studio.session(installation.label_studio_token)
    texts = [text if isinstance(text, tuple) else text.strip() for text in labelled_set.texts]
    true = list(zip(texts, map(set, labelled_set.labels), strict=True))
    for kind in KINDS:
        answer = admin.get(f"/api/projects/{project}/export", params={"exportType": kind})
        data = read_labelled(answer.raise_for_status().content, kind)
        assert data.kind == kind
        assert data.multilabel == labelled_set.multiple
        assert data.disagreements == labelled_set.disputed
        assert training_set(data) == true
        assert list(data.label_names) == labelled_set.choices


def test_a_project_becomes_a_model_that_labels_the_rest(
    installation: Installation, label_studio: LabelStudioApi, annotators: list[str | None], tmp_path: Path
) -> None:
    labelled_set = labelled_sets()[0]
    project = label(label_studio, annotators, labelled_set)
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
    labelled = {task["id"] for task in label_studio.tasks(project)[: len(labelled_set.texts)]}
    assert len(made) >= MORE - 1
    assert not labelled & {prediction["task"] for prediction in made}
    for prediction in made:
        assert 0 < prediction["score"] <= 1
        assert prediction["result"][0]["value"]["choices"][0]


def test_all_tasks_are_exported_with_what_the_rounds_believe_and_learnt_from_as_an_export(
    installation: Installation, label_studio: LabelStudioApi, tmp_path: Path
) -> None:
    labelled_set = labelled_sets()[0]
    data, answers = labelled_set.data, list(labelled_set.answers(1))
    loop = Loop.of(installation, label_studio, data, labelled_set.label_config)
    tasks = [task["id"] for task in label_studio.tasks(loop.id)]
    label_studio.call("PATCH", f"/api/tasks/{tasks[-1]}/", json={"meta": {"batch": 7}})
    loop.wait_until_ranked(len(tasks))
    labelled, skipped = tasks[: len(tasks) // 2], tasks[len(tasks) // 2]
    for task, chosen in zip(labelled, answers, strict=False):
        label_studio.annotate(task, *chosen[0])
    label_studio.annotate(skipped, was_cancelled=True)
    loop.wait_for_round()
    # Tabs of second looks, and the order behind the head, are written after the round.
    wait_until(lambda: is_fresh(loop.known) and loop.known.fresh_round == loop.status()["rounds"])
    out = tmp_path / "all.json"
    predicted, facts = label_studio.predictions(loop.id), loop.known.facts
    told = loop.prepal("export", str(loop.id), "--all", "--out", str(out), "--home", str(installation.home)).stderr
    assert "no beliefs" not in told
    seen = ("id", "score", "result")
    assert [[row[name] for name in seen] for row in label_studio.predictions(loop.id)] == [
        [row[name] for name in seen] for row in predicted
    ]
    assert loop.known.facts == facts

    found = {task["id"]: task for task in json.loads(out.read_bytes())}
    assert [*found] == tasks
    assert [task["data"] for task in found.values()] == data
    meta = {task: one.get("meta") or {} for task, one in found.items()}
    assert meta[tasks[-1]]["batch"] == 7
    assert meta[tasks[0]]["prepal_label_config"] == loop.known.info.label_config
    assert {task for task, said in meta.items() if "prepal_audit" in said} == loop.known.audits() & set(tasks)
    beliefs = {task: said["prepal_beliefs"] for task, said in meta.items() if "prepal_beliefs" in said}
    assert [*beliefs] == tasks[len(labelled) :]
    ranking = loop.known.ranking()
    assert ranking is not None
    confidence = dict(zip(ranking.task_ids.tolist(), ranking.confidence.tolist(), strict=True))
    for task in beliefs.keys() & confidence.keys():
        assert set(beliefs[task]) == set(labelled_set.choices)
        assert max(beliefs[task].values()) == pytest.approx(confidence[task], abs=0.02)
    true = dict(zip(tasks, labelled_set.labels, strict=True))
    right = [max(said, key=lambda choice: said[choice]) in true[task] for task, said in beliefs.items()]
    assert np.mean(right) > 0.4

    data_of_file = read_labelled(out.read_bytes(), "all.json")
    assert (len(data_of_file.texts), len(data_of_file.unlabelled)) == (len(labelled), len(tasks) - len(labelled))
