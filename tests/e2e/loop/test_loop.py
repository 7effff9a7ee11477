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
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.projects import LABEL_CONFIG, Loop, tickets

from prepal.labels import label_config
from prepal.learner.memory.words import lexical_vectors
from prepal.learning.classifiers.label_names import name_text, name_weights
from prepal.machine.supervision import process_ids
from prepal.machine.up import Installation

TASKS = 10_000
ANNOTATIONS = 100
# The default strategy chooses every so many-th text for what it covers, doubtful or not.
COVER_EVERY = 4


@pytest.fixture(scope="module")
def answers() -> Mapping[str, str]:
    return tickets(TASKS)[1]


@pytest.fixture(scope="module")
def loop(installation: Installation, label_studio: LabelStudioApi, answers: Mapping[str, str]) -> Loop:
    loop = Loop.of(installation, label_studio, [{"text": text} for text in answers])
    loop.wait_until_ranked(TASKS)
    return loop


class Reference:
    """The classifier by another implementation: its prior by eigenvalues, its fit by L-BFGS from nothing."""

    def __init__(self, loop: Loop, texts: list[str]) -> None:
        config = label_config.parse(LABEL_CONFIG)
        self.choices = config.choices
        names = [name_text(w) for w in config.words]
        in_order = [task["data"]["text"] for task in sorted(loop.api.tasks(loop.id), key=lambda task: int(task["id"]))]
        _, words, words_of_names = lexical_vectors(in_order, texts, names)
        self.vectors = np.hstack([loop.vectors(texts), words]).astype(np.float64)
        self.names = np.hstack([loop.vectors(names), words_of_names])
        variances, directions = np.linalg.eigh(np.cov(self.vectors.T, bias=True))
        mapped = (
            (self.vectors - self.vectors.mean(axis=0))
            @ directions
            * np.maximum(variances, 0) ** min(0.75, 2 / len(self.choices) ** 0.5)
        )
        self.mapped = mapped / np.sqrt((mapped**2).sum(axis=1).mean())

    def margins(self, places: list[int], labels: list[str]) -> tuple[NDArray[np.float64], float]:
        """Margin of every text after labels for the texts at these places, and how much the names count."""
        # What names mean rests on the task of each choice that was labelled first, too.
        first = {self.choices.index(label): at for at, label in reversed(list(zip(places, labels, strict=True)))}
        examples = [first[choice] for choice in sorted(first)]
        texts = np.concatenate([self.vectors[examples], np.delete(self.vectors, examples, axis=0)])
        names = name_weights(texts.astype(np.float32), self.names, np.array(sorted(first), np.int64))
        offsets = self.vectors @ names[:-1] + names[-1]
        x, y = self.mapped[places], np.array(labels)[:, None] == np.array(self.choices)
        shape = (x.shape[1] + 1, len(self.choices))
        penalty = np.full((shape[0], 1), 1.0)
        penalty[-1] = 10.0

        def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            w, u = flat[:-1].reshape(shape), flat[-1]
            logits = (1 + u / 2) * offsets[places] + x @ w[:-1] + w[-1]
            residual = softmax(logits, axis=1) - y
            value = 10 * (logsumexp(logits, axis=1) - logits[y]).sum() + ((penalty * w**2).sum() + u**2) / 2
            gradient = 10 * np.vstack([x.T @ residual, residual.sum(axis=0)]) + penalty * w
            return value, np.append(gradient, 10 * (residual * offsets[places]).sum() / 2 + u)

        found = minimize(loss, np.zeros(shape[0] * shape[1] + 1), jac=True, method="L-BFGS-B", options={"ftol": 1e-13})
        w, name_weight = found.x[:-1].reshape(shape), 1 + found.x[-1] / 2
        probabilities = np.sort(softmax(name_weight * offsets + self.mapped @ w[:-1] + w[-1], axis=1), axis=1)
        return np.asarray(probabilities[:, -1] - probabilities[:, -2]), float(name_weight)


def test_the_names_of_the_choices_predict_before_anyone_has_labelled(loop: Loop, answers: Mapping[str, str]) -> None:
    wait_until(loop.is_up_to_date, 60)
    ranking = loop.known.ranking()
    assert ranking is not None
    first = next(task for task in ranking.task_ids.tolist() if task not in loop.hidden())
    (prediction,) = loop.api.call("GET", f"/api/tasks/{first}/")["predictions"]
    assert prediction["result"][0]["value"]["choices"][0] in LABEL_CONFIG
    served = loop.api.next(loop.id)
    assert served is not None
    assert [bool(shown["result"]) for shown in served["predictions"]] == [served["id"] not in loop.hidden()]
    choices = label_config.parse(LABEL_CONFIG).choices
    surest = zip(ranking.task_ids[-100:].tolist(), ranking.chosen[-100:].argmax(axis=1).tolist(), strict=True)
    topics = {loop.api.call("GET", f"/api/tasks/{task}/")["data"]["text"]: choices[at] for task, at in surest}
    right = statistics.mean(answers[text] == topic for text, topic in topics.items())
    print(f"of the 100 surest predictions by the names alone {right:.0%} are right")
    assert right > 0.5


def test_after_each_of_100_annotations_the_first_of_the_newest_ranking_is_served_in_time(
    loop: Loop, answers: Mapping[str, str]
) -> None:
    texts = list(answers)
    place = {text: at for at, text in enumerate(texts)}
    text_of = {task["id"]: task["data"]["text"] for task in loop.api.tasks(loop.id)}
    reference = Reference(loop, texts)
    labelled: list[str] = []
    seconds: list[float] = []
    surer: list[float] = []  # of each task that was chosen by doubt, the share of all that are surer than it
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
        places = [place[text] for text in labelled]
        margins, name_weight = reference.margins(places, [answers[text] for text in labelled])
        assert record.name_weight == pytest.approx(name_weight, abs=0.02)
        free = np.delete(margins, places)
        for number, task in enumerate((task for task in record.head if task not in record.head_audit), len(labelled)):
            if number % COVER_EVERY:
                surer.append(float((free > margins[place[text_of[task]]]).mean()))
    # The ranking is by a classifier of all labels: who is as doubtful as what it chose is rare.
    print(f"what was chosen by doubt is more doubtful than {statistics.median(surer):.0%} of all, in the median")
    assert statistics.median(surer) > 0.8
    p95 = statistics.quantiles(seconds, n=20)[-1]
    print(f"saved to served by the new ranking: median {statistics.median(seconds):.3f} s, 95th percentile {p95:.3f} s")
    assert statistics.median(seconds) < 1.5
    assert p95 < 3


def test_the_share_of_audit_tasks_is_what_the_setting_says(loop: Loop) -> None:
    labelled = {annotation.task for annotation in loop.known.annotations().values()}
    assert len(labelled & loop.known.audits()) == pytest.approx(len(labelled) / 10, abs=1)
    accuracy = wait_until(lambda: loop.status()["accuracy"], 60, 1)
    # Where every audit task was predicted rightly, the estimate is the interval's upper end.
    assert 0 < accuracy["low"] < accuracy["estimate"]
    assert accuracy["estimate"] < accuracy["high"] <= 1 or accuracy["estimate"] == accuracy["high"] == 1


def test_a_predicted_choice_with_its_confidence_comes_with_every_task_that_is_no_check(
    loop: Loop, answers: Mapping[str, str]
) -> None:
    shown: Counter[bool] = Counter()
    for _ in range(20):
        served = loop.api.next(loop.id)
        assert served is not None
        (prediction,) = served["predictions"]
        hidden = served["id"] in loop.hidden()
        shown[hidden] += 1
        # Who checks the classifier must not read what it thinks; nor does a prediction tell which tasks are checks.
        assert hidden or served["id"] not in loop.known.audits()
        assert len(prediction["result"]) == (0 if hidden else 1)
        for result in prediction["result"]:
            assert result["value"]["choices"][0] in LABEL_CONFIG
            assert 0 < result["score"] <= 1
        loop.annotate_next(answers)
        loop.wait_for_round()
    assert shown[False] > shown[True] > 0


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
