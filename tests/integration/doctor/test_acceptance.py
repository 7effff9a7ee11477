"""People who accept whatever is marked are told of, and people who read are not."""

from pathlib import Path

import pytest
import redis
from tests.helpers.installation import CHOICES, Installation

from prepal.doctor.acceptance import acceptance
from prepal.doctor.case import Case

TASKS = 400
LABELS = 120


@pytest.mark.parametrize(("reads", "state"), [(False, "warning"), (True, "ok")])
def test_labels_that_are_whatever_was_marked_are_told_by_those_of_audit_tasks(
    redis: redis.Redis, redis_url: str, tmp_path: Path, reads: bool, state: str
) -> None:
    here = Installation(redis, redis_url, tmp_path, {7: TASKS}, audit_fraction=0.3)
    it = here.subjects[7]
    for number in range(LABELS):
        task = it.label_studio.next(1)
        assert task is not None
        shown = it.label_studio.predictions(task=task)[0]["result"]
        # Nothing in these texts tells their choice, so whoever reads agrees half of the time.
        choice = CHOICES[task * 7919 % 31 % 2]
        it.label(task, shown[0]["value"]["choices"][0] if shown and not reads else choice)
        if number % 5 == 0:
            here.work()
    here.work()
    case = Case(here.settings, 7)
    case.connection, case.label_studio = redis, it.label_studio
    found = acceptance(case)
    assert found.state == state, found.what
