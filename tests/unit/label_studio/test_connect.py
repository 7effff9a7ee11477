"""What is refused before anything is said to Label Studio."""

import pytest
import redis

from prepal.errors import PrepalError
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.connect import connect
from prepal.project import Project

NOWHERE = LabelStudio("http://127.0.0.1:1", "a-token")


def test_a_name_that_label_studio_sends_no_events_to_is_refused_with_a_better_one() -> None:
    with pytest.raises(PrepalError, match=r"no events to 'backend', a name without a dot.* such as backend\.internal"):
        connect(Project(redis.Redis(), 1), NOWHERE, "http://backend:9090/")


@pytest.mark.parametrize("url", ["http://localhost:9090", "http://[::1]:9090", "http://10.0.0.7:9090", "https://a.b"])
def test_other_names_are_for_label_studio_to_judge(url: str) -> None:
    with pytest.raises(PrepalError, match="does not answer"):
        connect(Project(redis.Redis(), 1), NOWHERE, url)
