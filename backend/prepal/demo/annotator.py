"""Plays an annotator: takes the next task from Label Studio, answers it, submits, like a person in the browser."""

import time
from collections.abc import Mapping

from prepal.errors import PrepalError
from prepal.label_studio.client import LabelStudio

_CHOICES = {"from_name": "topic", "to_name": "text", "type": "choices"}


def annotate_next(label_studio: LabelStudio, project: int, answers: Mapping[str, str]) -> str | None:
    """Annotate the task that Label Studio serves next; returns its text, None when no tasks are left.

    Args:
        label_studio: as the annotator is signed in there.
        project: its id.
        answers: the topic by the text of every task.

    Raises:
        PrepalError: Label Studio does not answer, refuses, or serves a text without an answer.
    """
    began = time.monotonic()
    task = label_studio.next_task(project)
    if task is None:
        return None
    text = str(task["data"].get("text"))
    if text not in answers:
        raise PrepalError(
            f"Task {task['id']} of project {project} has the text {text!r:.60}, to which the played annotator knows "
            "no answer: import the texts that it was given."
        )
    result = [{**_CHOICES, "value": {"choices": [answers[text]]}}]
    label_studio.create_annotation(task["id"], {"result": result, "lead_time": time.monotonic() - began})
    return text
