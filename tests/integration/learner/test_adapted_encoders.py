"""A ranking that comes to rest on an encoder that learnt from the labels: at once and as a whole."""

from pathlib import Path

import numpy as np
import pytest
import redis
from tests.helpers.adapted import check, ranked, restart, rounds, six_labelled, told, waiting
from tests.helpers.installation import BASE, Installation, Subject

from prepal.label_studio import sync
from prepal.learner import jobs
from prepal.queues import locks
from prepal.queues.requests import SYNC, queue, request_round
from prepal.queues.waiting import WaitingTexts
from prepal.vectors import AdaptedEncoders, VectorTable


@pytest.fixture
def here(redis: redis.Redis, redis_url: str, tmp_path: Path) -> Installation:
    return six_labelled(redis, redis_url, tmp_path)


@pytest.fixture
def it(here: Installation) -> Subject:
    return here.subjects[1]


# -- the switch ----------------------------------------------------------------------------------------------


def test_a_ranking_rests_on_an_adapted_encoder_once_all_texts_have_its_vectors_and_from_one_round_on(
    here: Installation, it: Subject
) -> None:
    here.stuck = {name := here.adapt(it)}
    here.work()
    assert waiting(here, name) == 30
    before = rounds(it)
    while (left := waiting(here, name)) > 10:
        here.stuck = set()
        here.embed(most=7)
        here.stuck = {name}
        here.work()
        assert waiting(here, name) == left - 7
        assert it.project.encoder == BASE
        texts = list(it.project.texts_of(it.tasks).values())
        there = 30 - len(VectorTable(here.settings.prepal_vectors, name).missing(texts))
        assert told(here, it)["adaptation"]["filling"] == {"embedded": there, "tasks": 30}
        check(here, it)
    # Vectors on which the ranking does not rest are no news.
    assert rounds(it) == before
    here.stuck = set()
    here.embed()
    jobs.round(1)
    assert it.project.encoder == name
    assert rounds(it) == before + 1
    memory = here.learner.memories.of(1)
    assert memory.learnt[2] == name
    here.work()
    check(here, it)
    it.check()
    assert told(here, it)["adaptation"]["filling"] is None


def test_the_last_text_holds_nothing_up_where_it_cannot_be_embedded(here: Installation, it: Subject) -> None:
    here.stuck = {name := here.adapt(it)}
    here.work()
    waits = WaitingTexts(here.connection, name)
    odd = it.project.texts_of([it.tasks[-1]])[it.tasks[-1]]
    texts = sorted(waits.ids() - {odd})
    VectorTable(here.settings.prepal_vectors, name).append(texts, np.ones((len(texts), 8), np.float16))
    waits.finish(texts, {})
    here.work()
    assert it.project.encoder == BASE
    waits.finish([odd], {odd: "too odd"})
    here.work()
    assert it.project.encoder == name
    ranking = it.project.ranking()
    assert ranking is not None
    assert it.tasks[-1] not in ranking.task_ids
    # It can be served all the same, and is found again by whatever embeds it.
    it.check()
    restart(here, prepal_adapt="off")
    here.work()
    check(here, it)
    it.check()


def test_a_text_whose_vector_came_while_the_last_page_was_read_holds_nothing_up(
    here: Installation, it: Subject
) -> None:
    name = here.adapt(it)
    for job in ("reconcile", "read"):
        getattr(jobs, job)(1)
    here.embed()
    jobs.round(1)
    assert it.project.has_unread_tasks
    assert it.project.encoder == BASE
    record = it.project.round
    assert record is not None
    assert record.facts == it.project.facts
    jobs.read(1)
    jobs.round(1)
    assert it.project.encoder == name


def test_a_task_whose_vector_comes_during_the_very_round_that_switches_is_ranked(
    here: Installation, it: Subject
) -> None:
    name = here.adapt(it)
    for job in ("reconcile", "read", "read"):
        getattr(jobs, job)(1)
    here.embed()
    new: list[int] = []

    def meanwhile(_: str) -> None:
        if not new:
            new.extend(it.label_studio.import_tasks([{"text": "new"}]))
            jobs.read(1)
            here.embed()

    here.stuck = {BASE}
    it.label_studio.before_call = meanwhile
    jobs.round(1)
    assert it.project.encoder == name
    assert new
    here.work()
    check(here, it)
    assert set(new) <= set(ranked(it))


def test_new_tasks_are_ranked_while_an_adapted_encoder_fills_and_afterwards(here: Installation, it: Subject) -> None:
    here.stuck = {name := here.adapt(it)}
    here.work()
    first = it.label_studio.import_tasks([{"text": "new"}])
    here.compare()
    assert it.project.encoder == BASE
    check(here, it)
    assert set(first) <= set(ranked(it))
    here.stuck = set()
    here.work()
    assert it.project.encoder == name
    # Now the other way round: the ranking does not wait for the vectors of the encoder that it does not rest on.
    here.stuck = {BASE}
    second = it.label_studio.import_tasks([{"text": "newer"}])
    here.compare()
    assert set(second) <= set(ranked(it))
    check(here, it)
    here.stuck = set()
    here.work()
    texts = [it.project.texts_of(first + second)[task] for task in first + second]
    for each in (BASE, name):
        assert VectorTable(here.settings.prepal_vectors, each).missing(texts) == []


def test_an_encoder_with_which_nobody_embeds_keeps_no_new_task_from_being_ranked(
    here: Installation, it: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "MOST_WAITING", 5)
    here.stuck = {name := here.adapt(it)}
    here.work()
    assert waiting(here, name) >= 5
    for number in range(3):
        (new,) = it.label_studio.import_tasks([{"text": f"new {number}"}])
        here.compare()
        assert new in ranked(it)
    assert it.project.encoder == BASE
    here.stuck = set()
    here.work()
    assert it.project.encoder == name
    check(here, it)


def test_no_more_is_read_again_than_is_embedded_soon(
    here: Installation, it: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.helpers.label_studio_in_memory._PAGE", 8)
    monkeypatch.setattr(sync, "MOST_WAITING", 32)
    here.stuck = {name := here.adapt(it)}
    jobs.reconcile(1)
    for _ in range(3):
        jobs.read(1)
    assert waiting(here, name) == 8
    assert it.project.has_unread_tasks
    (new,) = it.label_studio.import_tasks([{"text": "new"}])
    jobs.read(1)
    assert it.project.last_task == new
    here.stuck = set()
    here.work()
    assert it.project.encoder == name
    check(here, it)


def test_reading_again_goes_on_where_it_was_while_new_tasks_come_first(
    here: Installation, it: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.helpers.label_studio_in_memory._PAGE", 8)
    here.stuck = {name := here.adapt(it)}
    jobs.reconcile(1)
    jobs.read(1)
    assert it.project.read_until == it.tasks[7]
    new = it.label_studio.import_tasks([{"text": f"new {number}"} for number in range(10)])
    jobs.read(1)
    assert it.project.read_until == it.tasks[7]
    assert it.project.last_task == new[7]
    here.work()
    assert it.project.read_until == new[-1]
    assert waiting(here, name) == len(it.tasks)
    assert set(new) <= set(ranked(it))


# -- what is wanted becomes another one -----------------------------------------------------------------------


def test_an_encoder_that_is_replaced_before_it_is_filled_is_let_go(here: Installation, it: Subject) -> None:
    here.stuck = {first := here.adapt(it)}
    here.work()
    assert waiting(here, first)
    it.label(it.tasks[10], "A")
    here.stuck |= {second := here.adapt(it)}
    here.work()
    assert waiting(here, first) == 0
    assert it.project.adapted_encoders() == [second]
    store = AdaptedEncoders(here.settings.prepal_vectors)
    assert store.names() == [second]
    assert it.project.encoder == BASE
    here.stuck = set()
    here.work()
    assert it.project.encoder == second
    check(here, it)
    # The next one fills while the ranking rests on this one, which embeds new tasks meanwhile.
    here.stuck = {third := here.adapt(it)}
    here.work()
    (new,) = it.label_studio.import_tasks([{"text": "new"}])
    here.compare()
    assert new in ranked(it)
    assert it.project.encoder == second
    assert set(it.project.adapted_encoders()) == {second, third}
    here.stuck = set()
    here.work()
    assert it.project.encoder == third
    here.compare()
    assert it.project.adapted_encoders() == [third]
    assert store.names() == [third]
    assert len(VectorTable(here.settings.prepal_vectors, second)) == 0
    check(here, it)


def test_without_adapting_the_ranking_goes_back_to_the_encoder_of_the_settings_and_with_it_returns(
    here: Installation, it: Subject
) -> None:
    name = here.adapt(it)
    here.work()
    assert it.project.encoder == name
    here.stuck = {BASE}
    (late,) = it.label_studio.import_tasks([{"text": "late"}])
    here.compare()
    restart(here, prepal_adapt="off")
    here.work()
    # One text has no vector of that encoder yet.
    assert it.project.encoder == name
    here.stuck = set()
    here.work()
    assert it.project.encoder == BASE
    assert late in ranked(it)
    assert told(here, it)["encoder"] == BASE
    here.stuck = {name}
    WaitingTexts(here.connection, name).add({"left": "over"}, 1)
    it.label_studio.import_tasks([{"text": "later"}])
    here.compare()
    assert waiting(here, name) == 0
    assert len(it.project.learnt_by(name)) == 6
    here.stuck = set()
    restart(here, prepal_adapt="auto")
    here.work()
    assert it.project.encoder == name
    check(here, it)


def test_another_encoder_in_the_settings_replaces_the_adapted_ones(here: Installation, it: Subject) -> None:
    first = here.adapt(it)
    here.work()
    assert it.project.encoder == first
    here.stuck = {second := here.adapt(it)}
    here.work()
    assert waiting(here, second)
    here.stuck |= {"another"}
    restart(here, prepal_encoder="another")
    here.work()
    assert waiting(here, "another")
    assert waiting(here, second) == 0
    assert it.project.encoder == first
    check(here, it)
    here.stuck = set()
    here.work()
    assert it.project.encoder == "another"
    check(here, it)
    # An encoder that learnt from the same labels, of this base.
    third = here.adapt(it)
    here.work()
    assert it.project.encoder == third
    check(here, it)


def test_an_encoder_that_was_noted_by_a_process_that_then_ended_is_filled_all_the_same(
    here: Installation, it: Subject
) -> None:
    name = here.adapt(it)
    here.connection.delete(*here.connection.keys("prepal:requested:*"))
    queue(here.connection, SYNC).empty()
    restart(here)
    here.work()
    assert it.project.encoder == name
    check(here, it)


def test_what_an_encoder_learnt_from_stays_known_when_it_is_noted_while_others_are_let_go(
    here: Installation, it: Subject
) -> None:
    targets = [table.encoder for table, _ in here.learner.targets(it.project)]
    name = here.adapt(it)
    here.learner.let_go(it.project, targets)
    assert len(it.project.learnt_by(name)) == 6


def test_an_encoder_is_not_let_go_while_a_round_may_just_have_come_to_rest_on_it(
    here: Installation, it: Subject
) -> None:
    first = here.adapt(it)
    for job in ("reconcile", "read", "read"):
        getattr(jobs, job)(1)
    here.embed()
    # A round that has decided for the first one, when the second is noted and Label Studio is compared.
    with locks.held(here.connection, "prepal:lock:1", 0.0) as mine:
        assert mine
        here.stuck = {second := here.adapt(it)}
        jobs.reconcile(1)
        it.project.encoder = first
    assert set(it.project.adapted_encoders()) == {first, second}
    request_round(here.connection, 1)
    here.work()
    assert it.project.encoder == first
    check(here, it)
    here.stuck = set()
    here.work()
    assert it.project.encoder == second
    check(here, it)
