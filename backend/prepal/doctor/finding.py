"""What a check says: how it stands, and what would mend it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    state: State
    what: str
    """One sentence on how it is."""
    remedy: str = ""
    """One sentence on what to do about it."""
    fix: Callable[[], object] | None = None
    """Does it, where that is safe."""
    name: str = ""
    project: int | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether anything is to be done."""
        return self.state in ("warning", "problem")


def ok(what: str) -> Finding:
    """All is as it should be."""
    return Finding("ok", what)


def warning(what: str, remedy: str, fix: Callable[[], object] | None = None) -> Finding:
    """Work goes on, though not as well as it could."""
    return Finding("warning", what, remedy, fix)


def problem(what: str, remedy: str, fix: Callable[[], object] | None = None) -> Finding:
    """Active learning does not work, or labels may be lost."""
    return Finding("problem", what, remedy, fix)


def skipped(why: str) -> Finding:
    """It could not be looked at."""
    return Finding("skipped", why)
