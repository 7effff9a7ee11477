"""The bar of the texts that wait for the encoder."""

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class WaitingBar:
    """A bar of the texts that wait, where someone can see it."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def advance(self, texts: int, waiting: int) -> None:
        """Show that so many more texts are done, and how many wait."""
        if not sys.stderr.isatty():
            return
        if self._bar is None or self._task is None:
            self._bar = Progress(
                TextColumn("Embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                console=Console(stderr=True),
            )  # fmt: skip
            self._task = self._bar.add_task("embedding", total=None)
            self._bar.start()
        self._bar.advance(self._task, texts)
        self._bar.update(self._task, total=self._bar.tasks[0].completed + waiting)
        if not waiting:
            self.end()

    def end(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None
