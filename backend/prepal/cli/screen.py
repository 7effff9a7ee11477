"""What people see of a command; rich is loaded when there is something to show."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from prepal.doctor.case import Finding
    from prepal.doctor.upkeep import Stored


@cache
def messages() -> "Console":
    """Where a command tells how far it is: standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def show_findings(treated: Sequence[str], findings: "Sequence[Finding]") -> None:
    """Show what the doctor did and found, a line each, coloured by its state where that can be seen."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    styles = {"ok": "green", "warning": "yellow", "problem": "bold red", "skipped": "dim"}
    for sentence in treated:
        console.print(f"--fix: {sentence}", markup=False, soft_wrap=True)
    for finding in findings:
        name = f"{finding.name} ({finding.project})" if finding.project else finding.name
        line = Text.assemble((f"{finding.state:8}", styles[finding.state]), f"{name}: {finding.what}")
        if finding.remedy:
            line.append(f" {finding.remedy}", "bold")
        console.print(line, soft_wrap=True)


def show_status(report: dict[str, Any]) -> None:
    """Show a project's report as a table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = {
        "problem": report["problem"],
        "troubles": "\n".join(trouble["told"] for trouble in report["troubles"]),
        "tasks": report["tasks"],
        "embedded": f"{report['embedded']} (waiting: {report['waiting']})",
        "not embeddable": ", ".join(f"{count} × {reason}" for reason, count in report["not_embeddable"].items()),
        "labelled": _labelled(report["labelled"], report["twins"]["labelled"]),
        "passed": _passed(report["passed"]),
        "rounds": f"{report['rounds']} ({'up to date' if report['up_to_date'] else 'another one follows'})",
        **_questions(report["questions"]),
        "people": "\n".join(_people(report["people"])),
        "strategy": report["strategy"],
        "focus": report["focus"] and report["focus"]["told"],
        "next": "\n".join(f"{one['task']}: {one['why']}" for one in report["next_why"]),
        "notes": "\n".join(report["notes"]),
    }
    title = f"Project {report['project']}: {report['title']}"
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in rows.items():
        if value not in (None, ""):
            # Names of choices and words of people may look like markup.
            table.add_row(name, Text(str(value)))
    Console().print(table)


def _questions(questions: Sequence[dict[str, Any]]) -> dict[str, str | None]:
    """Rows on each question; where there are several, with its name."""
    rows: dict[str, str | None] = {}
    for question in questions:
        of = f"{question['question']}: " if len(questions) > 1 else ""
        accuracy, advice = question["accuracy"], question["advice"]
        if of:
            rows[f"{of}labelled"] = str(question["labelled"])
        rows[f"{of}accuracy"] = accuracy and (
            f"{accuracy['estimate']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f}, "
            f"by {accuracy['audit_tasks']} audit tasks and by how sure it is)"
        )
        rows[f"{of}advice"] = advice and f"{advice['word']}: {advice['reason']}"
        rows[f"{of}how much longer"] = question["forecast"] and question["forecast"]["told"]
        rows[f"{of}suspected labels"] = ", ".join(map(str, question["suspected"]))
    return rows


def _people(people: dict[str, Any]) -> Iterator[str]:
    """A line for each annotator, and one for every two whose agreement is known."""
    names = {one["annotator"]: one["name"] or f"annotator {one['annotator']}" for one in people["annotators"]}
    for one in people["annotators"]:
        took = "" if one["seconds"] is None else f", {one['seconds']:.1f} s each"
        kinds = {"shown": "what is shown", "hidden": "what is hidden", "truth": "ground truth"}
        agrees = [f"{one[kind]['agreed']:.0%} as {name}" for kind, name in kinds.items() if one[kind]]
        yield f"{names[one['annotator']]}: {', '.join([str(one['annotations']) + ' labels' + took, *agrees])}"
    for pair in people["agreement"]:
        kappa = "" if pair["kappa"] is None else f", kappa {pair['kappa']:.2f}"
        both = " and ".join(names[of] for of in pair["people"])
        yield f"{both}: {pair['agreed']:.0%} of {pair['tasks']} the same{kappa}"


def _labelled(count: int, twins: int) -> str:
    return f"{count} (and {twins} with the same text as one of these)" if twins else str(count)


def _passed(passed: dict[str, int]) -> str:
    """How many tasks were skipped, postponed or submitted empty; "" if none was."""
    if not passed["tasks"]:
        return ""
    return (
        f"{passed['tasks']} (left to others: {passed['left_to_others']}, to nobody: {passed['left_to_nobody']}; audit "
        f"tasks among them, for which others were drawn: {passed['audit_tasks']})"
    )


def show_vectors(uri: str, stored: "Sequence[Stored]") -> None:
    """Show the tables of a vector cache, a row each."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "encoder", "texts", "of no project", "MB", "projects", title=f"Vector cache {uri}", title_justify="left"
    )
    for one in stored:
        name = one.encoder or f"{one.table} (no project's)"
        users = ", ".join(map(str, one.projects))
        table.add_row(name, f"{one.rows:,}", f"{one.unused:,}", f"{one.bytes / 1e6:,.1f}", users)
    Console().print(table)
