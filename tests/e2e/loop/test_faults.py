"""Whatever is killed in mid-work: nothing is lost, nothing is done twice, and nobody has to ask."""

import os
import signal
import threading

import pytest
from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.projects import ENCODER, Loop, tickets

from prepal.machine.supervision import process_ids
from prepal.machine.up import Installation
from prepal.vectors import VectorTable

TASKS = 5000


def test_every_process_is_killed_in_mid_work_and_all_is_right_again(
    installation: Installation, label_studio: LabelStudioApi
) -> None:
    texts, answers = tickets(TASKS, mark="fault")
    table = VectorTable(str(installation.home / "vectors"), ENCODER)
    rows_before = len(table)
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts])

    def embedded() -> int:
        return len(table) - rows_before

    # One after another, each while texts are being embedded and labels come in.
    wait_until(lambda: embedded() > 200, 120)
    stop = threading.Event()
    failures: list[BaseException] = []

    def annotate() -> None:
        try:
            while not stop.is_set():
                loop.annotate_next(answers)
                stop.wait(0.2)
        except BaseException as error:
            failures.append(error)

    annotator = threading.Thread(target=annotate)
    annotator.start()
    for name in ("embed", "learner", "backend", "redis"):
        at = embedded()
        wait_until(lambda at=at: embedded() >= min(at + 300, TASKS), 180)
        assert embedded() < TASKS, f"all was embedded before {name} could be killed in mid-work"
        os.kill(process_ids(installation.home)[name], signal.SIGKILL)
    wait_until(lambda: embedded() >= TASKS, 300)
    stop.set()
    annotator.join()
    assert not failures

    loop.wait_until_ranked(TASKS)
    assert embedded() == TASKS
    in_label_studio = {
        annotation["id"]
        for task in label_studio.call("GET", f"/api/projects/{loop.id}/export", params={"exportType": "JSON"})
        for annotation in task["annotations"]
    }
    wait_until(lambda: set(loop.known.annotations()) == in_label_studio, 180)
    loop.wait_for_round()
    record = loop.known.round
    assert record is not None
    assert record.labels == len(in_label_studio) > 20
    served = loop.api.next(loop.id)
    assert served is not None
    assert served["id"] == record.head[0]


@pytest.mark.parametrize("name", ["learner", "backend", "redis"])
def test_a_label_given_while_something_is_dead_counts_when_it_is_back(
    installation: Installation, label_studio: LabelStudioApi, name: str
) -> None:
    texts, answers = tickets(100, mark=f"dead {name}")
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts])
    loop.wait_until_ranked(100)
    os.kill(process_ids(installation.home)[name], signal.SIGKILL)
    for _ in range(3):
        loop.annotate_next(answers)

    def three_labels() -> bool:
        record = loop.known.round
        return record is not None and record.labels == 3 and loop.is_up_to_date()

    wait_until(three_labels, 200)
    served = loop.api.next(loop.id)
    record = loop.known.round
    assert served is not None
    assert record is not None
    assert served["id"] == record.head[0]
