"""Plays an annotator: takes the next task from Label Studio, answers it, submits, like a person in the browser."""

import time
from collections.abc import Mapping

from prepal.errors import PrepalError
from prepal.label_studio.client import LabelStudio

_CHOICES = {"from_name": "topic", "to_name": "text", "type": "choices"}


class Annotator:
    """One annotator of one project, who knows the answer to every text.

    Args:
        label_studio: as the annotator is signed in there.
        project: its id.
        answers: the topic by the text of every task.
    """

    def __init__(self, label_studio: LabelStudio, project: int, answers: Mapping[str, str]) -> None:
        self._label_studio = label_studio
        self._project = project
        self._answers = answers

    def annotate_next(self) -> str | None:
        """Annotate the task that Label Studio serves next; returns its text, None when no tasks are left.

        Raises:
            PrepalError: Label Studio does not answer, refuses, or serves a text without an answer.
        """
        began = time.monotonic()
        task = self._label_studio.next_task(self._project)
        if task is None:
            return None
        text = str(task["data"].get("text"))
        topic = self._answers.get(text)
        if topic is None:
            raise PrepalError(
                f"Task {task['id']} of project {self._project} has the text {text!r:.60}, to which the played "
                "annotator knows no answer: import the texts that it was given."
            )
        result = [{**_CHOICES, "value": {"choices": [topic]}}]
        self._label_studio.create_annotation(task["id"], {"result": result, "lead_time": time.monotonic() - began})
        return text
