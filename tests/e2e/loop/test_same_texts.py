"""A text that is in many tasks is labelled once, and what is imported with a label counts at once."""

import json
from typing import Any

from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.projects import Loop, tickets

from prepal.machine.up import Installation

COPIES = 5


def with_annotation(text: str, choice: str) -> dict[str, Any]:
    """A task as people import it who have labels already."""
    chosen = {"from_name": "topic", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}
    return {"data": {"text": text}, "annotations": [{"result": [chosen]}]}


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
        json=[with_annotation(text, answers[text]) for text in texts[20:]],
    )
    wait_until(lambda: (record := loop.known.round) is not None and record.labels == 20, 60)
    loop.wait_until_ranked(40)
    assert loop.status()["labelled"] == 20
