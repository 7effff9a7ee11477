"""Label Studio is answered in time, whatever the workers are doing."""

import statistics
import threading
import time

import httpx
from tests.helpers.api import LabelStudioApi
from tests.helpers.projects import ENCODER, LABEL_CONFIG, Loop, tickets

from prepal.machine.up import Installation
from prepal.queues.waiting import WaitingTexts

TASKS = 5000


def test_requests_are_answered_while_a_round_an_embed_job_and_an_import_run(
    installation: Installation, label_studio: LabelStudioApi
) -> None:
    texts, answers = tickets(TASKS, mark="busy")
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts[:2000]])
    loop.wait_until_ranked(2000)
    imported = threading.Thread(target=label_studio.import_tasks, args=(loop.id, [{"text": text} for text in texts]))
    label = {
        "action": "ANNOTATION_CREATED",
        "project": {"id": loop.id},
        "task": {"id": 1},
        "annotation": {"id": 1, "task": 0, "result": []},
    }
    setup = {"project": f"{loop.id}.1", "schema": LABEL_CONFIG}
    seconds: dict[str, list[float]] = {"/webhook": [], "/health": [], "/setup": []}
    waiting = WaitingTexts(loop.redis, ENCODER)
    imported.start()
    login = (installation.backend_user, installation.backend_password)
    with httpx.Client(base_url=installation.backend_url, auth=login, timeout=10) as client:
        end = time.monotonic() + 25
        while time.monotonic() < end:
            loop.known.add_fact()
            if not len(waiting):  # not begun yet, or on a quick machine done already
                time.sleep(0.1)
                continue
            for path, body in (("/webhook", label), ("/health", None), ("/setup", setup)):
                began = time.perf_counter()
                answer = client.get(path) if body is None else client.post(path, json=body)
                seconds[path].append(time.perf_counter() - began)
                assert answer.status_code == 200
            time.sleep(0.02)
    imported.join()
    for path, measured in seconds.items():
        assert len(measured) >= 100, "the embed worker was done before much was measured"
        p99 = statistics.quantiles(measured, n=100)[-1]
        print(
            f"{path}: median {1000 * statistics.median(measured):.0f} ms, 99th {1000 * p99:.0f} ms, n={len(measured)}"
        )
        assert p99 < 0.15
    assert len(answers) == TASKS


def test_2000_embedded_tasks_are_predicted_in_time(installation: Installation, label_studio: LabelStudioApi) -> None:
    texts, answers = tickets(2000, mark="predict")
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts])
    loop.wait_until_ranked(2000)
    for _ in range(8):
        loop.annotate_next(answers)
    loop.wait_for_round()
    tasks = label_studio.tasks(loop.id)
    body = {"project": f"{loop.id}.1", "label_config": LABEL_CONFIG, "tasks": tasks, "params": {}}
    began = time.perf_counter()
    login = (installation.backend_user, installation.backend_password)
    answer = httpx.post(f"{installation.backend_url}/predict", json=body, auth=login, timeout=100)
    took = time.perf_counter() - began
    results = answer.json()["results"]
    print(f"/predict of 2,000 tasks: {took:.2f} s")
    assert took < 3
    assert len(results) == 2000
    assert sum(bool(one["result"]) for one in results) == 1992 - len(loop.hidden())
    assert 0.05 < len(loop.hidden()) / 1992 < 0.15
