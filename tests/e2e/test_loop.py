"""The loop on a real Label Studio: what is served next is what the newest classifier wants, in time, whoever asks."""

import os
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from api import LabelStudioApi, wait_until
from projects import LABEL_CONFIG, Loop, tickets
from sklearn.linear_model import LogisticRegression

from prepal.supervision import process_ids
from prepal.up import Installation

TASKS = 10_000
ANNOTATIONS = 100


@pytest.fixture(scope="module")
def answers() -> Mapping[str, str]:
    return tickets(TASKS)[1]


@pytest.fixture(scope="module")
def loop(installation: Installation, label_studio: LabelStudioApi, answers: Mapping[str, str]) -> Loop:
    loop = Loop.of(installation, label_studio, [{"text": text} for text in answers])
    loop.wait_until_ranked(TASKS)
    return loop


def smallest_margin(
    loop: Loop, texts: list[str], answers: Mapping[str, str], labelled: list[str]
) -> Mapping[str, float]:
    """Margins by another implementation, trained from nothing on all labels."""
    vectors = loop.vectors(texts).astype(np.float64)
    place = {text: at for at, text in enumerate(texts)}
    model = LogisticRegression(C=10, tol=1e-8, max_iter=5000)
    model.fit(vectors[[place[text] for text in labelled]], [answers[text] for text in labelled])
    probabilities = np.sort(model.predict_proba(vectors), axis=1)
    margins = probabilities[:, -1] - probabilities[:, -2]
    done = set(labelled)
    return {text: float(margins[at]) for text, at in place.items() if text not in done}


def test_after_each_of_100_annotations_the_first_of_the_newest_ranking_is_served_in_time(
    loop: Loop, answers: Mapping[str, str]
) -> None:
    texts = list(answers)
    labelled: list[str] = []
    seconds: list[float] = []
    for _ in range(ANNOTATIONS):
        task = loop.annotate_next(answers)
        labelled.append(task["data"]["text"])
        seconds.append(loop.wait_for_round())
        record = loop.known.round
        served = loop.api.next(loop.id)
        assert record is not None
        assert served is not None
        assert record.labels == len(labelled)
        assert served["id"] == record.head[0]
        if len({answers[text] for text in labelled}) > 1 and served["id"] not in record.head_audit:
            margins = smallest_margin(loop, texts, answers, labelled)
            assert margins[served["data"]["text"]] <= min(margins.values()) + 1e-5
    p95 = statistics.quantiles(seconds, n=20)[-1]
    print(f"saved to served by the new ranking: median {statistics.median(seconds):.3f} s, 95th percentile {p95:.3f} s")
    assert statistics.median(seconds) < 1.5
    assert p95 < 3


def test_the_share_of_audit_tasks_is_what_the_setting_says(loop: Loop) -> None:
    labelled = {annotation.task for annotation in loop.known.annotations().values()}
    assert len(labelled & loop.known.audits()) == pytest.approx(len(labelled) / 10, abs=1)
    accuracy = loop.status()["accuracy"]
    assert accuracy["low"] < accuracy["estimate"] < accuracy["high"]


def test_a_predicted_choice_with_its_confidence_comes_with_the_task(loop: Loop) -> None:
    served = loop.api.next(loop.id)
    assert served is not None
    (prediction,) = served["predictions"]
    (result,) = prediction["result"]
    assert result["value"]["choices"][0] in LABEL_CONFIG
    assert 0 < result["score"] <= 1


def test_three_annotators_never_get_the_same_task_nor_none_even_without_a_learner(
    installation: Installation, loop: Loop, answers: Mapping[str, str], label_studio: LabelStudioApi
) -> None:
    for number in range(40):
        stale = label_studio.new_annotator(f"gone{number}@example.com")
        assert label_studio.next(loop.id, stale) is not None
    annotators = [label_studio.new_annotator(f"annotator{number}@example.com") for number in range(3)]
    served: Counter[int] = Counter()
    failures: list[BaseException] = []
    stop = threading.Event()

    def work(token: str) -> None:
        try:
            while not stop.is_set():
                task = loop.annotate_next(answers, token)
                served[task["id"]] += 1
        except BaseException as error:
            failures.append(error)
            stop.set()

    learner = process_ids(installation.home)["learner"]
    threads = [threading.Thread(target=work, args=(token,)) for token in annotators]
    for thread in threads:
        thread.start()
    stop.wait(20)
    os.kill(learner, signal.SIGSTOP)
    try:
        stop.wait(60)
    finally:
        os.kill(learner, signal.SIGCONT)
    stop.wait(10)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert [task for task, times in served.items() if times > 1] == []
    assert len(served) > 100
    wait_until(loop.is_up_to_date, 60)
    record = loop.known.round
    assert record is not None
    assert record.labels == len({a.task for a in loop.known.annotations().values()})


def test_annotations_that_no_event_told_of_are_found_by_the_reconciler(
    loop: Loop, answers: Mapping[str, str], label_studio: LabelStudioApi
) -> None:
    before = set(loop.known.annotations())
    (hook,) = label_studio.call("GET", "/api/webhooks/", params={"project": loop.id})
    label_studio.call("PATCH", f"/api/webhooks/{hook['id']}/", json={"is_active": False})
    given = {loop.annotate_next(answers)["id"] for _ in range(50)}
    assert len(given) == 50
    label_studio.call("PATCH", f"/api/webhooks/{hook['id']}/", json={"is_active": True})
    began = time.monotonic()
    wait_until(lambda: len(loop.known.annotations()) == len(before) + 50, 180)
    assert given <= {annotation.task for annotation in loop.known.annotations().values()}
    print(f"found after {time.monotonic() - began:.0f} s")
    loop.wait_for_round()
