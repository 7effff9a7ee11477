"""Whatever is published, and whatever fails on the way: what Label Studio serves begins with the newest ranking."""

from contextlib import suppress
from random import Random
from typing import Any

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.helpers.in_memory.published_project import CHOICES, Killed, PublishedProject

from prepal.label_studio.api import UnavailableError
from prepal.label_studio.publish import Entry, Published
from prepal.project import MODEL_VERSION

STEPS = st.one_of(
    st.tuples(st.just("publish"), st.integers(0, 1), st.integers(1, 12)),
    st.tuples(st.just("fail"), st.integers(0, 1), st.integers(0, 12)),
    st.tuples(st.just("kill"), st.integers(0, 1), st.integers(0, 12)),
    st.tuples(st.just("stop"), st.integers(0, 1), st.integers(0, 3)),
    st.tuples(st.just("label"), st.just(0), st.integers(1, 4)),
    st.tuples(st.just("delete task"), st.just(0), st.just(0)),
    st.tuples(st.just("delete prediction"), st.just(0), st.integers(1, 3)),
    st.tuples(st.just("double"), st.just(0), st.integers(0, 1)),
    st.tuples(st.just("scores"), st.just(0), st.integers(1, 5)),
    st.tuples(st.just("restore"), st.just(0), st.just(0)),
    st.tuples(st.just("put last"), st.integers(0, 1), st.integers(1, 3)),
    st.tuples(st.just("forget"), st.integers(0, 1), st.just(0)),
)


@given(st.lists(STEPS, max_size=15), st.integers(0, 2**32))
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_after_every_publication_what_is_served_begins_with_it(
    redis: redis.Redis, steps: list[tuple[str, int, int]], seed: int
) -> None:
    world, random = PublishedProject(redis), Random(seed)
    world.make_tail()
    backup = world.label_studio.backup()
    for name, process, count in [*steps, ("publish", 0, 6)]:
        head = random.sample(sorted(world.pool), min(len(world.pool), 6))
        entries = [Entry(t, (random.randrange(3),), random.random(), random.random() < 0.8) for t in head]
        if name in ("fail", "kill"):
            world.fail_at(count, UnavailableError("502") if name == "fail" else Killed())
            with suppress(UnavailableError, Killed):
                world.publish(entries, process)
            world.mend()
            if name == "kill":
                world.published[process] = Published()
        elif name == "stop":
            answers = iter([*[False] * count, *[True] * 9])
            world.publish(entries, process, answers.__next__)
        elif name == "put last":
            world.publisher.put_last(
                random.sample(sorted(world.pool), min(count, len(world.pool))), world.published[process]
            )
        elif name == "forget":
            world.published[process] = Published()
        elif name != "publish":
            changes_of_others(world, random, backup, name, count)
            world.fail_at(random.randint(0, 5), UnavailableError("500"))
            with suppress(UnavailableError):
                world.verify(process)
            world.mend()
            world.verify(process)
        if name == "publish":
            world.publish(entries, process)
            assert world.order()[: len(head)] == head
            shown = [world.label_studio.shown(entry.task) for entry in entries]
            assert shown == [[CHOICES[entry.chosen[0]]] if entry.shown else [] for entry in entries]


def changes_of_others(world: PublishedProject, random: Random, backup: dict[str, Any], name: str, count: int) -> None:
    """Something happens in Label Studio that nobody tells of."""
    tasks = random.sample(sorted(world.pool), min(count, len(world.pool)))
    if name == "label" and len(world.pool) > 8:
        world.pool.difference_update(tasks)
    elif name == "delete task" and len(world.pool) > 8:
        task = random.choice(sorted(world.pool))
        world.pool.remove(task)
        world.label_studio.delete_task(task)
    elif name == "restore":
        world.label_studio.restore(backup)
        world.pool &= world.label_studio.data.keys()
    for task in tasks:
        rows = world.label_studio.predictions(task=task)
        if name == "delete prediction":
            for row in rows:
                world.label_studio.delete_prediction(row["id"])
        elif name == "scores" and rows:
            score = random.choice([None, 0, 0.3, True, random.uniform(0.5, 1), 2])
            world.label_studio.update_prediction(rows[0]["id"], {"score": score})
        elif name == "double":
            row = {"task": task, "score": random.choice([0.0, 0.8, 0.95]), "model_version": MODEL_VERSION, "result": []}
            world.label_studio.create_prediction(row)
