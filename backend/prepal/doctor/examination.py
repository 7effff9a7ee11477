"""The examination: all checks in their order, one of them, and the remedies."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import redis

from prepal.doctor import acceptance, connection, language, processes, ranking, servers
from prepal.doctor.case import Case, Check, Finding, problem, skipped
from prepal.errors import PrepalError
from prepal.project import all_projects
from prepal.settings import Settings

log = logging.getLogger(__name__)

_INSTALLATION = [*servers.CHECKS, *processes.CHECKS]
_PROJECT = [*connection.CHECKS, *language.CHECKS, *ranking.CHECKS, *acceptance.CHECKS]
# What is asked of the learner, such as a round, takes it less than this.
_MENDED_S = 60.0
_LOOK_AGAIN_S = 0.5


def examine(settings: Settings, number: int | None = None) -> list[Finding]:
    """Look at the installation and at one project, or at all that PRepAL knows."""
    case = Case(settings, number or 0)
    findings = _look(case, _INSTALLATION, [])
    no_redis = any(finding.name == "Redis" and finding.state == "problem" for finding in findings)
    known = [] if number or no_redis else [project.id for project in all_projects(case.connection)]
    for one in [number] if number else known:
        findings += _look(Case(settings, one), _PROJECT, findings[: len(_INSTALLATION)])
    return findings


def check(settings: Settings, number: int, name: str) -> Finding:
    """Make one check alone, after those that it needs."""
    checks = [*_INSTALLATION, *_PROJECT]
    wanted = {name}
    for one in reversed(checks):
        if one.name in wanted:
            wanted.update(one.needs)
    found = _look(Case(settings, number), [one for one in checks if one.name in wanted], [])
    return next(finding for finding in found if finding.name == name)


def mend(findings: Iterable[Finding], look_again: Callable[[], list[Finding]]) -> tuple[list[str], list[Finding]]:
    """Do the remedies that are safe, then look again until they have told.

    Returns:
        A sentence for each finding that was treated; what is found afterwards.
    """
    treated = [(finding, finding.fix) for finding in findings if finding.is_wrong and finding.fix]
    failures = dict.fromkeys((fix for _, fix in treated), "")
    for fix in failures:
        try:
            fix()
        except (PrepalError, redis.RedisError) as error:
            failures[fix] = f"could not be treated ({error})"
    said = [f"{finding.name}: {failures[fix] or 'treated'}" for finding, fix in treated]
    keys = {(finding.project, finding.name) for finding, fix in treated if not failures[fix]}
    end = time.monotonic() + _MENDED_S
    while True:
        found = look_again()
        still = any(finding.is_wrong and (finding.project, finding.name) in keys for finding in found)
        if not still or time.monotonic() > end:
            return said, found
        time.sleep(_LOOK_AGAIN_S)


def _look(case: Case, checks: Sequence[Check], before: Collection[Finding]) -> list[Finding]:
    """Make the checks in their order; one whose needs did not turn out well is skipped."""
    failed = {finding.name for finding in before if finding.state in ("problem", "skipped")}
    findings = []
    for one in checks:
        in_the_way = next((need for need in one.needs if need in failed), None)
        finding = skipped(f"Not looked at because of {in_the_way!r}.") if in_the_way else _careful(one, case)
        if finding.state in ("problem", "skipped"):
            failed.add(one.name)
        of_project = case.number if one in _PROJECT else None
        findings.append(replace(finding, name=one.name, project=of_project))
    return findings


def _careful(one: Check, case: Case) -> Finding:
    """A finding, also when an answer is nothing that the check understands: the others are still to be made."""
    try:
        return one.look(case)
    except PrepalError as error:
        return problem(str(error), "Mend what it says, and look again.")
    except Exception as error:
        log.debug("the check %r failed", one.name, exc_info=error)
        return problem(f"The check failed ({type(error).__name__}).", "Run it again with LOG_LEVEL=DEBUG to see why.")
