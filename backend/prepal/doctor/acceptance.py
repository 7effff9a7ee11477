"""Whether people read before they accept what is marked."""

from prepal.doctor.case import Case, Check, Finding, ok, warning
from prepal.reports.status import acceptance_of, agreement_told
from prepal.reports.view import View


def acceptance(case: Case) -> Finding:
    """People do not agree with what is marked more often than with what is not."""
    questions = View(case.project).questions
    known = [(one.config, found) for one in questions if one.config and (found := acceptance_of(one))]
    if not known:
        return ok("Too few labels are known yet of tasks with a prediction in sight, or without one.")
    # What is accepted first.
    config, found = max(known, key=lambda one: bool(one[1]["accepts"]))
    told = f"{config.from_name!r}: {agreement_told(found)}." if len(questions) > 1 else f"{agreement_told(found)}."
    if found["accepts"]:
        remedy = "Ask annotators to read before they accept what is marked, and look at some of these labels again."
        return warning(told, remedy)
    return ok(told)


CHECKS = [Check("acceptance", acceptance, ("project", "Redis"))]
