"""What people are told of an encoder that learnt from their labels."""

from pathlib import Path

import pytest
import redis
from tests.helpers.adapted import six_labelled, told
from tests.helpers.installation import BASE, Installation, Subject

from prepal.doctor.case import Case
from prepal.doctor.ranking import encoder
from prepal.project import Adaptation
from prepal.queues.waiting import WaitingTexts
from prepal.reports import metrics
from prepal.server.app import create_app
from prepal.vectors import text_ids


@pytest.fixture
def here(redis: redis.Redis, redis_url: str, tmp_path: Path) -> Installation:
    return six_labelled(redis, redis_url, tmp_path)


@pytest.fixture
def it(here: Installation) -> Subject:
    return here.subjects[1]


def test_what_came_of_an_adaptation_is_told(here: Installation, it: Subject) -> None:
    assert told(here, it)["adaptation"] is None
    here.stuck = {name := here.adapt(it)}
    here.work()
    found = told(here, it)
    assert found["encoder"] == name
    assert (found["embedded"], found["waiting"]) == (0, 30)
    assert found["adaptation"]["accuracy"] == {"before": 0.73, "after": 0.91}
    assert (
        "An encoder that learnt from 6 labels is better: accuracy 73% → 91% on 40 labels that it had not seen; the "
        "ranking rests on it once all texts have its vectors: 0 of 30 tasks have them."
    ) in found["notes"]
    assert "prepal_waiting_texts 30.0" in measured(here)
    assert 'prepal_adapted_labels{project="1"} 0.0' in measured(here)
    here.stuck = set()
    here.work()
    found = told(here, it)
    assert (found["embedded"], found["waiting"]) == (30, 0)
    (note,) = found["notes"]
    assert note.startswith("The ranking rests on an encoder that learnt from 6 labels since 20")
    assert note.endswith(" UTC: accuracy 73% → 91% on 40 labels that it had not seen.")
    assert 'prepal_adapted_labels{project="1"} 6.0' in measured(here)
    assert 'prepal_adaptation_finished_timestamp_seconds{project="1"}' in measured(here)
    nothing = Adaptation(BASE, 12, 1e9, 60.0, "", 40, {"base": 0.91, "adapted": 0.9}, note="it was no better")
    it.project.note_adaptation(nothing, text_ids([]))
    found = told(here, it)
    assert found["encoder"] == name
    assert found["adaptation"]["encoder"] is None
    assert found["notes"] == [
        "The ranking rests on an encoder that learnt from 6 labels.",
        "An encoder that learns from 12 labels is not used: it was no better.",
    ]


def test_the_doctor_looks_at_what_an_adapted_encoder_embeds(here: Installation, it: Subject) -> None:
    def found() -> tuple[str, str]:
        finding = encoder(Case(here.settings, 1))
        return finding.state, finding.what

    assert found() == ("ok", "30 of 30 texts are embedded.")
    here.stuck = {name := here.adapt(it)}
    assert found() == ("warning", f"30 texts have no vector of the encoder {name} and do not wait for one.")
    here.work()
    assert found() == ("ok", "0 of 30 texts are embedded.")
    here.stuck = set()
    here.work()
    assert found() == ("ok", "30 of 30 texts are embedded.")
    here.stuck = {BASE}
    it.label_studio.import_tasks([{"text": "new"}])
    here.compare()
    assert found() == ("ok", "31 of 31 texts are embedded.")


def test_a_text_that_an_annotator_looks_at_is_embedded_first_by_the_encoder_that_the_ranking_rests_on(
    here: Installation, it: Subject
) -> None:
    name = here.adapt(it)
    here.work()
    here.stuck = {BASE, name}
    new = it.label_studio.import_tasks([{"text": f"new {number}"} for number in range(3)])
    here.compare()
    tasks = [{"id": new[1]}]
    assert create_app(here.settings).test_client().post("/predict", json={"project": "1.1", "tasks": tasks}).json
    text = it.project.texts_of(new)[new[1]]
    first = WaitingTexts(here.connection, name).queue.get_jobs()[:2]
    assert [job.args for job in first] == [[BASE, [text]], [name, [text]]]


def measured(here: Installation) -> str:
    return metrics.render(here.connection, here.waiting).decode()
