"""The played annotator answers what Label Studio serves, and says which text it has no answer to."""

from collections.abc import Mapping
from typing import Any

import pytest

from prepal.demo.run import annotate_next
from prepal.errors import PrepalError


class Served:
    """A Label Studio that serves each text once."""

    def __init__(self, *texts: str) -> None:
        self.tasks = [{"id": place, "data": {"text": text}} for place, text in enumerate(texts, start=1)]
        self.annotations: dict[int, Any] = {}

    def next_task(self, project: int) -> dict[str, Any] | None:
        assert project == 7
        return next((task for task in self.tasks if task["id"] not in self.annotations), None)

    def create_annotation(self, task: int, annotation: Mapping[str, Any]) -> None:
        self.annotations[task] = annotation


def test_each_task_gets_the_topic_of_its_text_until_none_is_left() -> None:
    served: Any = Served("one", "two")
    assert [annotate_next(served, 7, {"one": "x", "two": "y"}) for _ in range(3)] == ["one", "two", None]
    assert [a["result"][0]["value"]["choices"] for a in served.annotations.values()] == [["x"], ["y"]]
    assert all(a["lead_time"] >= 0 for a in served.annotations.values())


def test_a_text_without_an_answer_is_told_with_its_task() -> None:
    served: Any = Served("one")
    with pytest.raises(PrepalError, match="Task 1 of project 7 has the text 'one', to which the played annotator"):
        annotate_next(served, 7, {})
