"""The encoder follows the labels in a whole installation, while somebody labels and whoever is killed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.projects import Loop

from prepal.machine.supervision import process_ids
from prepal.machine.up import Installation, running
from prepal.project import Project
from prepal.settings import Settings
from prepal.vectors import AdaptedEncoders, VectorTable, encoders, text_id

TASKS, LABELS, KILLS = 400, 60, 20
LABEL_CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="topic" toName="text"><Choice value="person"/>'
    '<Choice value="time"/><Choice value="place"/><Choice value="number"/></Choices></View>'
)
# What is asked for is said in many ways, and what it is about, which vectors are mostly of, in more.
FORMS = {
    "person": ("Who built {}?", "What is the name of the man that built {}?", "Whom does {} belong to?"),
    "time": ("When was {} built?", "In which year did {} open?", "How old is {}?"),
    "place": ("Where is {}?", "In which town is {}?", "How do I get to {}?"),
    "number": ("How many people visit {}?", "What does {} cost?", "How high is {}?"),
}
THINGS = ("the harbour", "the old bridge", "the museum", "the station", "the hospital", "the theatre", "the school")
MORE = ("in the north", "of the king", "by the river", "with the red roof", "that burned down", "near the park")


@pytest.fixture(scope="module")
def adapting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("PREPAL_ADAPT")
        with running(tmp_path_factory.mktemp("adapting") / "home", Settings(), progress=print) as started:
            yield started


def questions(count: int) -> dict[str, str]:
    """Different questions, and what each asks for."""
    rng, found = np.random.default_rng(0), {}
    while len(found) < count:
        asked = str(rng.choice(list(FORMS)))
        found[str(rng.choice(FORMS[asked])).format(f"{rng.choice(THINGS)} {rng.choice(MORE)}")] = asked
    return found


def right(loop: Loop, answers: Mapping[str, str], labelled: Collection[int]) -> float:
    """How many of the predictions that annotators would see of tasks without a label are right."""
    asked = {
        task["id"]: answers[task["data"]["text"]] for task in loop.api.tasks(loop.id) if task["id"] not in labelled
    }
    shown = {one["task"]: one["result"] for one in loop.api.predictions(loop.id)}
    said = {task: shown[task][0]["value"]["choices"][0] for task in asked if shown.get(task)}
    return float(np.mean([said[task] == asked[task] for task in said]))


def test_the_encoder_follows_the_labels(adapting: Installation) -> None:
    # Whoever people wait for comes first where the processor is short.
    nice = {name: psutil.Process(pid).nice() for name, pid in process_ids(adapting.home).items()}
    assert nice["adapt"] > nice["embed"] > nice["learner"] == nice["label-studio"] == nice["backend"]
    api, answers = LabelStudioApi(adapting.label_studio_url, adapting.label_studio_token), questions(TASKS)
    loop = Loop.of(adapting, api, [{"text": text} for text in answers], LABEL_CONFIG)
    loop.wait_until_ranked(TASKS)
    served = [loop.annotate_next(answers)["id"] for _ in range(LABELS)]
    loop.wait_for_round()
    before = right(loop, answers, served)

    # Whoever trains is killed in the middle, and its successor begins anew.
    wait_until(lambda: "training" in loop.known.adapting, 300)
    os.kill(process_ids(adapting.home)["adapt"], signal.SIGKILL)
    imported: list[str] = []
    times: list[float] = []

    def is_ranked_by_it() -> bool:
        # Somebody goes on meanwhile, and texts come in.
        if len(imported) < 5:
            imported.append(f"Who painted {THINGS[len(imported)]} yesterday?")
            api.import_tasks(loop.id, [{"text": imported[-1]}])
        began = time.perf_counter()
        task = api.next(loop.id)
        times.append(time.perf_counter() - began)
        assert task is not None
        assert task["id"] not in served
        return encoders.is_adapted(loop.known.encoder or "")

    wait_until(is_ranked_by_it, 600, 2)
    loop.wait_for_round()
    loop.wait_until_ranked(TASKS + len(imported))
    answers.update(dict.fromkeys(imported, "person"))
    assert right(loop, answers, served) > before
    assert max(times) < 5

    identity = loop.known.adapted
    vectors = str(adapting.home / "vectors")
    assert AdaptedEncoders(vectors).names() == [identity]
    for encoder in (encoders.base_of(identity), identity):
        found, _ = VectorTable(vectors, encoder).find([text_id(text) for text in answers])
        assert found.all()
    told = loop.status()
    assert told["encoder"] == identity
    assert told["adaptation"]["accuracy"]["after"] > told["adaptation"]["accuracy"]["before"]
    assert any("rests on an encoder that learnt from" in note for note in told["notes"])
    assert told["adaptation"]["training"] is None
    checked = loop.prepal("doctor", str(loop.id), PREPAL_VECTORS=vectors)
    assert "The adapt worker is alive." in checked.stdout
    api.close()


@pytest.mark.soak
def test_after_many_kills_the_ranking_rests_on_a_whole_encoder(adapting: Installation, tmp_path: Path) -> None:
    """Two adapt workers, the embed worker and the learner are killed at any moment of trainings and switches."""
    api, answers = LabelStudioApi(adapting.label_studio_url, adapting.label_studio_token), questions(TASKS)
    loop = Loop.of(adapting, api, [{"text": text} for text in answers], LABEL_CONFIG)
    loop.wait_until_ranked(TASKS)
    vectors, known, draw = str(adapting.home / "vectors"), loop.known, random.Random(0)
    served = [loop.annotate_next(answers)["id"] for _ in range(LABELS)]
    second, switched, hit = another_worker(loop, vectors), 0, {"adapt": 0, "second": 0, "embed": 0, "learner": 0}
    try:
        while sum(hit.values()) < KILLS:
            wait_for_a_moment(known, draw.randrange(30))
            if encoders.is_adapted(known.encoder or ""):
                switched += 1
                # As after a backup without it: the ranking goes back to the base, and another one is trained.
                known.lose_adapted()
            who = draw.choice(["adapt", "adapt", "second", "second", "embed", "learner"])
            hit[who] += 1
            os.kill(second.pid if who == "second" else running_now(adapting, who), signal.SIGKILL)
            if who == "second":
                second.wait()
                second = another_worker(loop, vectors)
            for name in AdaptedEncoders(vectors).names():
                # Whole, or not there: its hash is checked.
                AdaptedEncoders(vectors).fetch(name, tmp_path / f"{sum(hit.values())} {name.replace('/', ' ')}")
            task = loop.annotate_next(answers)
            assert task["id"] not in served
            served.append(task["id"])
            known.end_trouble("adapt")
            print(f"{hit}, {switched} switches, {known.adapting or 'nobody trains'}", flush=True)
        wait_until(lambda: encoders.is_adapted(known.encoder or ""), 300, 1)
        loop.wait_for_round()
    finally:
        second.kill()
        second.wait()
    identity = known.adapted
    assert known.encoder == identity
    assert identity in AdaptedEncoders(vectors).names()
    found, _ = VectorTable(vectors, identity).find([text_id(text) for text in answers])
    assert found.all()
    assert len(known.annotations()) == len(served)
    wait_until(lambda: len(known.adapted_encoders()) == 1, 120, 1)
    api.close()


def wait_for_a_moment(known: Project, changes: int) -> None:
    """Wait until a training, or the switch after it, has told of so many changes, or has come to its end."""
    told: set[tuple[str, str, str | None]] = set()

    def is_there() -> bool:
        told.add((known.adapting, known.adapted, known.encoder))
        return encoders.is_adapted(known.encoder or "") or (bool(known.adapting) and len(told) > changes)

    wait_until(is_there, 300, 0.05)


def running_now(installation: Installation, who: str) -> int:
    """The process of this name, which may just be begun anew."""
    wait_until(lambda: who in process_ids(installation.home), 60)
    return process_ids(installation.home)[who]


def another_worker(loop: Loop, vectors: str) -> "subprocess.Popen[bytes]":
    environment = {**loop.environment, "PREPAL_VECTORS": vectors}
    return subprocess.Popen([sys.executable, "-m", "prepal.cli", "worker", "adapt"], env=environment)
