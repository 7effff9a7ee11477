"""A check that fails is a finding, whatever goes wrong in it, and those behind it are made."""

import pytest

from prepal.doctor.case import Case, Check, Finding, ok
from prepal.doctor.examination import _look
from prepal.errors import PrepalError
from prepal.labels.text_fields import UnembeddableError
from prepal.settings import Settings


@pytest.mark.parametrize("error", [PrepalError, UnembeddableError, RuntimeError, RecursionError, OSError])
def test_whatever_goes_wrong_in_a_check_is_found(error: type[Exception]) -> None:
    def fail(_: Case) -> Finding:
        raise error("odd")

    checks = [Check("first", fail), Check("second", lambda _: ok("Right.")), Check("third", fail, ("second",))]
    found = _look(Case(Settings(), 1), checks, [])
    assert [finding.state for finding in found] == ["problem", "ok", "problem"]
    assert all(finding.what and finding.name for finding in found)
