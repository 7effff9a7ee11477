"""People who skip: what nobody will serve them again does not stand in the way of what comes next."""

import os
from collections import Counter

import pytest
from tests.helpers.api import LabelStudioApi
from tests.helpers.projects import Loop, tickets

from prepal.machine.up import Installation

# CONTRIBUTING.md says how to have more.
LABELS = int(os.environ.get("PREPAL_TEST_LABELS", "80"))
# The choosy one skips about 15 % of the tasks: three of twenty.
SKIPPED = {2, 9, 15}


def test_with_two_annotators_of_whom_one_skips_every_served_task_is_of_the_newest_head(
    installation: Installation, label_studio: LabelStudioApi
) -> None:
    texts, answers = tickets(600, mark="skip")
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts])
    loop.wait_until_ranked(600)
    steady, choosy = (label_studio.new_annotator(f"{name}@example.com") for name in ("steady", "choosy"))
    skips = 0
    served: Counter[str] = Counter()
    labels, turn = 0, 0
    while labels < LABELS:
        token = (steady, choosy)[turn % 2]
        turn += 1
        loop.wait_for_round()
        record = loop.known.round
        assert record is not None
        task = label_studio.next(loop.id, token)
        assert task is not None
        served["head" if task["id"] in record.head else "beyond"] += 1
        if task["id"] in record.head_audit:
            assert [prediction["result"] for prediction in task["predictions"]] == [[]]
        if token == choosy and turn // 2 % 20 in SKIPPED:
            label_studio.annotate(task["id"], token=token, was_cancelled=True)
            skips += 1
        else:
            label_studio.annotate(task["id"], answers[task["data"]["text"]], token=token)
            labels += 1
    loop.wait_for_round()
    labelled = {a.task for a in loop.known.annotations().values() if not a.skipped}
    audits = len(labelled & loop.known.audits())
    print(f"served: {dict(served)}; {skips} skipped; {audits} of {len(labelled)} labels are of audit tasks")
    assert served["beyond"] == 0
    assert skips == pytest.approx(0.15 * turn / 2, abs=2)
    assert audits == pytest.approx(0.1 * LABELS, abs=max(2, 0.03 * LABELS))
    assert loop.status()["passed"]["tasks"] == skips
