"""A project that the doctor looks at, and faults that are planted in it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from prepal.doctor.case import Finding
from prepal.doctor.examination import check, examine
from prepal.settings import Settings
from tests.helpers.api import wait_until
from tests.helpers.projects import Loop


@dataclass(frozen=True)
class Ward:
    """A project, and the settings with which the doctor looks at it."""

    loop: Loop
    settings: Settings
    project: int

    def look(self, name: str, **settings: Any) -> Finding:
        return check(self.settings.model_copy(update=settings), self.project, name)

    def wrong(self, **settings: Any) -> list[Finding]:
        found = examine(self.settings.model_copy(update=settings), self.project)
        return [finding for finding in found if finding.is_wrong]

    def patch(self, **changes: Any) -> None:
        self.loop.api.call("PATCH", f"/api/projects/{self.project}/", json=changes)

    def described(self) -> dict[str, Any]:
        found: dict[str, Any] = self.loop.api.call("GET", f"/api/projects/{self.project}/")
        return found

    def webhook(self) -> dict[str, Any]:
        hooks = self.loop.api.call("GET", "/api/webhooks/", params={"project": self.project})
        return next(hook for hook in hooks if hook["url"] == f"{self.settings.prepal_backend_url}/webhook")

    def backend(self) -> dict[str, Any]:
        backends = self.loop.api.call("GET", "/api/ml", params={"project": self.project})
        return next(backend for backend in backends if backend["url"] == self.settings.prepal_backend_url)


@contextmanager
def nothing(_: Ward) -> Iterator[None]:
    yield


@dataclass(frozen=True)
class Fault:
    """Something that is wrong: how it comes about, which check tells, and what its remedy says."""

    name: str
    remedy: str
    plant: Callable[[Ward], AbstractContextManager[None]] = nothing
    settings: dict[str, Any] = field(default_factory=dict)
    """Environment of the doctor."""
    fixed: bool = False
    """Whether `--fix` mends it; if not, the end of `plant` is the remedy."""
    state: str = "problem"


def webhook_with(**changes: Any) -> Callable[[Ward], AbstractContextManager[None]]:
    """A changed webhook; Label Studio forgets the events of one when they are not sent along."""

    @contextmanager
    def plant(ward: Ward) -> Iterator[None]:
        hook = ward.webhook()
        body = {"url": hook["url"], "actions": hook["actions"], **changes}
        ward.loop.api.call("PATCH", f"/api/webhooks/{hook['id']}/", json=body)
        yield

    return plant


def found_and_mended(ward: Ward, fault: Fault) -> None:
    """The reconciler may mend some faults before they are looked at: those are planted again."""
    for attempt in range(3):
        with fault.plant(ward):
            finding = ward.look(fault.name, **fault.settings)
            if finding.state == "ok" and fault.fixed and attempt < 2:
                continue
            assert finding.state == fault.state
            assert fault.remedy in finding.remedy
            assert "hidden" not in finding.what + finding.remedy
            assert (finding.fix is not None) == fault.fixed
            if finding.fix is not None:
                finding.fix()
                wait_until(lambda: ward.look(fault.name).state == "ok", 30, 0.2)
        return
