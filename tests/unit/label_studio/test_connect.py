"""What is refused before anything is said to Label Studio."""

import pytest
import redis

from prepal.errors import PrepalError
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.connect import connect
from prepal.project import Project

NOWHERE = LabelStudio("http://127.0.0.1:1", "a-token")


@pytest.mark.parametrize(
    ("host", "why", "better"),
    [
        ("backend", "without a dot", "backend.internal"),
        ("prepal_backend", "without a dot", "prepal-backend.internal"),
        ("prepal_backend.internal", "with an underscore", "prepal-backend.internal"),
        ("backend.labelling1", "that ends with 'labelling1', which is not letters alone", "backend.internal"),
        ("backend.a", "that no host has", "backend.internal"),
        ("-.example.com", "that no host has", "backend.internal"),
    ],
)
def test_a_name_that_label_studio_sends_no_events_to_is_refused_with_a_better_one(
    host: str, why: str, better: str
) -> None:
    with pytest.raises(PrepalError) as error:
        connect(Project(redis.Redis(), 1), NOWHERE, f"http://{host}:9090/")
    assert str(error.value) == (
        f"Label Studio sends no events to {host!r}, a name {why}: give the backend another name, such as {better}, and "
        "set PREPAL_BACKEND_URL."
    )


@pytest.mark.parametrize(
    "url", ["http://localhost:9090", "http://[::1]:9090", "http://10.0.0.7:9090", "https://backend.svc/prepal"]
)
def test_other_names_are_for_label_studio_to_judge(url: str) -> None:
    with pytest.raises(PrepalError, match="does not answer"):
        connect(Project(redis.Redis(), 1), NOWHERE, url)
