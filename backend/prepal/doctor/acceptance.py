"""Whether people read before they accept what is marked."""

from prepal.doctor.case import Case, Check, Finding, ok, warning
from prepal.reports.status import acceptance_of, agreement_told
from prepal.reports.view import View


def acceptance(case: Case) -> Finding:
    """People do not agree with what is marked more often than with what is not."""
    found = acceptance_of(View(case.project))
    if found is None:
        return ok("Too few labels are known yet of tasks with a prediction in sight, or without one.")
    if found["accepts"]:
        return warning(
            f"{agreement_told(found)}.",
            "Ask annotators to read before they accept what is marked, and look at some of these labels again.",
        )
    return ok(f"{agreement_told(found)}.")


CHECKS = [Check("acceptance", acceptance, ("project", "Redis"))]
