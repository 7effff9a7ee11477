"""Whatever a task holds, and whatever happens to it, nothing stops and everything is counted."""

import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.helpers.api import LabelStudioApi, wait_until
from tests.helpers.projects import LABEL_CONFIG, Loop, tickets

from prepal.machine.up import Installation

MULTIPLE = LABEL_CONFIG.replace('choice="single"', 'choice="multiple"')
PAIRS = """<View><Text name="text" value="$question"/><HyperText name="h" value="$answer"/>
<Choices name="topic" toName="text"><Choice value="yes"/><Choice value="no"/></Choices></View>"""


def test_odd_texts_neither_stop_a_worker_nor_get_lost(installation: Installation, label_studio: LabelStudioApi) -> None:
    texts, answers = tickets(40, mark="odd")
    odd: list[dict[str, Any]] = [
        {"text": "<script>alert(1)</script>"},
        {"text": "x" * 100_000},
        {"text": "word " * 20_000},
        {"text": "🙂🙃 \u202e right to left \x07"},
        {"text": 12345},
        {"text": ["a", "list"]},
        {"text": ""},
        {"text": "   "},
        {"text": None},
        {"other": "no text here"},
    ]
    # Label Studio checks what is imported against the label config, if there is one.
    project = label_studio.create_project("<View></View>")
    label_studio.import_tasks(project, [*({"text": text} for text in texts), *odd])
    label_studio.call("PATCH", f"/api/projects/{project}/", json={"label_config": LABEL_CONFIG})
    loop = Loop(installation, label_studio, project)
    loop.prepal("connect", str(project))
    loop.wait_until_ranked(len(texts) + 6)
    found = loop.status()
    assert found["tasks"] == found["known"] == 50
    assert found["embedded"] == 46
    assert found["waiting"] == 0
    assert found["not_embeddable"] == {
        "empty text": 2,
        "the field 'text' is null": 1,
        "the config reads $text, the task has 'other': rename one of them": 1,
    }
    for _ in range(5):
        task = loop.api.next(loop.id)
        assert task is not None
        loop.api.annotate(task["id"], answers.get(str(task["data"].get("text")), "Billing"))
        loop.wait_for_round()
    wait_until(lambda: len(loop.known.predictions) == 50)


def test_a_label_that_changes_or_goes_is_followed(installation: Installation, label_studio: LabelStudioApi) -> None:
    texts, _ = tickets(60, mark="change")
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts])
    loop.wait_until_ranked(60)

    def labels() -> int:
        loop.wait_for_round()
        record = loop.known.round
        assert record is not None
        return record.labels

    tasks = label_studio.tasks(loop.id)
    first = label_studio.annotate(tasks[0]["id"], "Billing")
    label_studio.annotate(tasks[1]["id"], "Shipping")
    assert labels() == 2
    (annotation,) = (a for a in loop.known.annotations().values() if a.task == tasks[0]["id"])
    assert annotation.choices == {"topic": ["Billing"]}
    result = label_studio.call("GET", f"/api/annotations/{first}/")["result"]
    result[0]["value"]["choices"] = ["Cancellation"]
    label_studio.update_annotation(first, result=result)
    wait_until(lambda: loop.known.annotations()[first].choices == {"topic": ["Cancellation"]})
    assert labels() == 2
    label_studio.annotate(tasks[2]["id"], was_cancelled=True)
    assert labels() == 2
    label_studio.delete_annotation(first)
    wait_until(lambda: first not in loop.known.annotations())
    assert labels() == 1
    label_studio.call("DELETE", f"/api/tasks/{tasks[1]['id']}/")
    wait_until(lambda: loop.known.task_count() == 59)
    assert labels() == 0
    label_studio.import_tasks(loop.id, [{"text": "One more, about my invoice"}])
    wait_until(lambda: loop.known.task_count() == 60)
    # Nobody else is at work who could be given the task that was skipped.
    loop.wait_until_ranked(59)
    assert loop.status()["passed"] == {"tasks": 1, "left_to_others": 0, "left_to_nobody": 1, "audit_tasks": 0}


def test_several_choices_several_fields_and_several_annotators(
    installation: Installation, label_studio: LabelStudioApi
) -> None:
    texts, answers = tickets(60, mark="multi")
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts], MULTIPLE, maximum_annotations=2)
    loop.wait_until_ranked(60)
    second = label_studio.new_annotator("second@example.com")
    for task in label_studio.tasks(loop.id)[:12]:
        topic = answers[task["data"]["text"]]
        label_studio.annotate(task["id"], topic, "Praise and feedback")
        label_studio.annotate(task["id"], topic, token=second)
    loop.wait_for_round()
    record = loop.known.round
    assert record is not None
    assert record.labels == 12
    assert record.classifier

    pairs = [{"question": f"Is it {n}?", "answer": f"<p>It is <b>{n}</b></p>"} for n in range(30)]
    other = Loop.of(installation, label_studio, pairs, PAIRS)
    other.wait_until_ranked(30)
    for number, task in enumerate(label_studio.tasks(other.id)[:4]):
        label_studio.annotate(task["id"], ["yes", "no"][number % 2])
    other.wait_for_round()
    other.wait_until_ranked(30)
    assert {p["result"][0]["value"]["choices"][0] for p in label_studio.predictions(other.id) if p["result"]} <= {
        "yes",
        "no",
    }
    assert not set(other.known.annotations()) & set(loop.known.annotations())


def test_a_label_config_that_changes_is_followed(installation: Installation, label_studio: LabelStudioApi) -> None:
    texts, answers = tickets(60, mark="config")
    data = [{"text": text, "more": f"{text} and more"} for text in texts]
    loop = Loop.of(installation, label_studio, data)
    loop.wait_until_ranked(60)
    for _ in range(6):
        loop.annotate_next(answers)
    loop.wait_for_round()
    label_studio.call(
        "PATCH",
        f"/api/projects/{loop.id}/",
        json={
            "label_config": LABEL_CONFIG.replace("$text", "$more").replace(
                "</Choices>", '<Choice value="Other"/></Choices>'
            )
        },
    )
    wait_until(lambda: "$more" in loop.known.info.label_config)
    loop.wait_until_ranked(60)
    record = loop.known.round
    assert record is not None
    assert record.labels == 6
    assert loop.vectors([f"{texts[0]} and more"]).shape == (1, 384)


def test_what_cannot_be_served_is_refused_in_one_sentence(
    installation: Installation, label_studio: LabelStudioApi
) -> None:
    config = '<View><Text name="text" value="$text"/><Labels name="l" toName="text"><Label value="A"/></Labels></View>'
    project = label_studio.create_project(config)
    loop = Loop(installation, label_studio, project)
    refused = loop.prepal("connect", str(project), check=False)
    sentence = (
        "Error: The label config has Labels, but no Choices: PRepAL serves Choices and Taxonomy, single or "
        "multiple, over Text, HyperText, Paragraphs and Chat.\n"
    )
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", sentence)
    gone = loop.prepal("connect", "999999", check=False)
    assert gone.returncode == 1
    assert gone.stderr.count("\n") == 1
    assert "404" in gone.stderr


def test_a_backend_that_is_slow_at_first_is_connected(installation: Installation, label_studio: LabelStudioApi) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            # Label Studio waits for three seconds.
            time.sleep(3.5 if len(asked) == 1 else 0)
            self._answer()

        def _answer(self) -> None:
            with contextlib.suppress(ConnectionError):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"model_version": "", "status": "UP"}')

        def log_message(self, *_: object) -> None:
            pass

    loop = Loop(installation, label_studio, label_studio.create_project(LABEL_CONFIG))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        connected = loop.prepal("connect", str(loop.id), PREPAL_BACKEND_URL=url)
        server.shutdown()
    assert asked[:2] == ["/setup", "/setup"]
    assert "timed out" in connected.stderr
    assert url in connected.stdout
    loop.prepal("disconnect", str(loop.id), PREPAL_BACKEND_URL=url)


def test_start_training_and_retrieve_predictions_do_what_their_buttons_say(
    installation: Installation, label_studio: LabelStudioApi
) -> None:
    texts, answers = tickets(60, mark="buttons")
    loop = Loop.of(installation, label_studio, [{"text": text} for text in texts])
    loop.wait_until_ranked(60)
    for _ in range(6):
        loop.annotate_next(answers)
    loop.wait_for_round()
    before = loop.known.round
    assert before is not None
    (backend,) = label_studio.call("GET", "/api/ml", params={"project": loop.id})
    label_studio.call("POST", f"/api/ml/{backend['id']}/train", json={})
    wait_until(lambda: loop.known.round != before and loop.is_up_to_date())

    for prediction in label_studio.predictions(loop.id):
        label_studio.call("DELETE", f"/api/predictions/{prediction['id']}/")
    label_studio.call(
        "POST",
        "/api/dm/actions",
        params={"id": "retrieve_tasks_predictions", "project": loop.id},
        json={"selectedItems": {"all": True, "excluded": []}, "project": str(loop.id)},
    )
    unlabelled = {task["id"] for task in label_studio.tasks(loop.id) if not task["is_labeled"]}
    # Reordering goes on meanwhile and may have made some anew before Label Studio did: the tasks count, not the rows.
    wait_until(lambda: {p["task"] for p in label_studio.predictions(loop.id)} >= unlabelled)
    shown = {p["task"] for p in label_studio.predictions(loop.id) if p["result"]}
    assert shown & unlabelled == unlabelled - loop.hidden()
    loop.annotate_next(answers)
    loop.wait_for_round()
    served = loop.api.next(loop.id)
    record = loop.known.round
    assert served is not None
    assert record is not None
    assert served["id"] == record.head[0]
