"""A text that is in many tasks is labelled once; annotations and predictions that are imported count at once."""

import json
from typing import Any

from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.projects import LABEL_CONFIG, Loop, tickets

from prepal.machine.up import Installation

COPIES = 5


def chosen(choice: str) -> list[dict[str, Any]]:
    """The result of an annotation or a prediction as people import it."""
    return [{"from_name": "topic", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}]


def test_a_label_counts_for_all_tasks_with_the_text_until_it_is_deleted(
    installation: Installation, label_studio: LabelStudioApi
) -> None:
    texts, answers = tickets(12, mark="twin")
    loop = Loop.of(installation, label_studio, [{"text": text} for text in [*texts[:4] * COPIES, *texts[4:]]])
    loop.wait_until_ranked(4 * COPIES + 8)
    annotations: dict[str, int] = {}
    for _ in texts:
        loop.wait_for_round()
        task = label_studio.next(loop.id)
        assert task is not None
        text = task["data"]["text"]
        assert text not in annotations
        annotations[text] = label_studio.annotate(task["id"], answers[text])
    loop.wait_for_round()
    found = loop.status()
    assert (found["labelled"], found["twins"]) == (12, {"labelled": 4 * (COPIES - 1), "contradicted": []})
    assert found["round"]["ranked"] == 0

    out = loop.installation.home / "twins.json"
    vectors = str(installation.home / "vectors")
    loop.prepal("export", str(loop.id), "--all", "--out", str(out), PREPAL_VECTORS=vectors)
    taken = {
        task["id"]: (task["data"]["text"], task["meta"]["prepal_twin_label"])
        for task in json.loads(out.read_text())
        if "prepal_twin_label" in (task.get("meta") or {})
    }
    assert len(taken) == 4 * (COPIES - 1)
    assert all(label == [answers[text]] for text, label in taken.values())

    label_studio.call("DELETE", f"/api/annotations/{annotations[texts[0]]}/")
    wait_until(lambda: (loop.status()["twins"]["labelled"], loop.is_up_to_date()) == (3 * (COPIES - 1), True))
    served = label_studio.next(loop.id)
    assert served is not None
    assert served["data"]["text"] == texts[0]


def test_tasks_that_are_imported_with_annotations_count_at_once(
    installation: Installation, label_studio: LabelStudioApi
) -> None:
    texts, answers = tickets(40, mark="imported")
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts[:20]])
    loop.wait_until_ranked(20)
    # No comparison of everything comes for an hour.
    loop.redis.set(loop.known.key("read-again"), 1, ex=3600)
    label_studio.call(
        "POST",
        f"/api/projects/{loop.id}/import",
        json=[{"data": {"text": text}, "annotations": [{"result": chosen(answers[text])}]} for text in texts[20:]],
    )
    wait_until(lambda: (record := loop.known.round) is not None and record.labels == 20, 60)
    loop.wait_until_ranked(40)
    assert loop.status()["labelled"] == 20


def test_predictions_that_somebody_imported_are_what_the_classifier_begins_from(
    installation: Installation, label_studio: LabelStudioApi
) -> None:
    texts, answers = tickets(60, mark="weak")
    project = label_studio.create_project(LABEL_CONFIG)
    label_studio.call(
        "POST",
        f"/api/projects/{project}/import",
        json=[
            {"data": {"text": text}, "predictions": [{"result": chosen(answers[text]), "model_version": "an oracle"}]}
            for text in texts
        ],
    )
    loop = Loop(installation, label_studio, project)
    loop.prepal("connect", str(project))
    loop.wait_until_ranked(60)
    wait_until(lambda: (record := loop.known.round) is not None and record.weak_labels == 60, 120)
    assert loop.status()["round"]["weak_labels"] == {"tasks": 60, "weight": 1.0}
    tasks, numbers, names = loop.known.weak_labels()
    said = {task: names[number] for task, number in zip(tasks.tolist(), numbers.tolist(), strict=True)}
    assert said == {task["id"]: answers[task["data"]["text"]] for task in label_studio.tasks(project)}
