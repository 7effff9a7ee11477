"""The progress bar of all commands that take long; a training leaves a line per epoch above it."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    # Imports transformers, which experiments do without.
    from prepal_workers.training.epochs import Epoch


class Bar:
    """Shows how far things are, each under a title.

    Args:
        console: where it is shown.
        title: what a training's steps are called.
        lines: whether each epoch leaves a line.
    """

    def __init__(self, console: Console, title: str = "training", *, lines: bool = True) -> None:
        columns = (
            *Progress.get_default_columns()[:2],
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True)
        self._title = title
        self._lines = lines
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, title: str, done: int, total: int) -> None:
        """How much of a thing is done; what is done whole is not shown any more."""
        if title not in self._tasks:
            self._tasks[title] = self._progress.add_task(title)
        self._progress.update(self._tasks[title], completed=done, total=total, visible=done < total)

    def read(self, done: int, total: int) -> None:
        """While texts are read without learning."""
        self.show("reading texts", done, total)

    def step(self, done: int, total: int) -> None:
        """After each step."""
        self.show(self._title, done, total)

    def epoch(self, epoch: "Epoch") -> None:
        """After each epoch."""
        if not self._lines:
            return
        line = f"epoch {epoch.number:2}  loss {epoch.loss:.3f}"
        if epoch.accuracy is not None:
            line += f"  accuracy {epoch.accuracy:.3f}  macro-F1 {epoch.macro_f1:.3f}"
        self._progress.console.print(f"{line}  {epoch.seconds:.0f} s  {epoch.tokens_per_second:,.0f} tokens/s")
