"""Whether people read before they accept what is marked, as labels tell that they gave with nothing in sight."""

from collections.abc import Mapping, Sequence
from typing import Any

from prepal.doctor.case import Case, Check, Finding, ok, warning
from prepal.labels.events import Annotation, read_annotation

# Fewer labels than these say little, and less than this above what the classifier can do may be chance.
_FEWEST, _MARGIN = 30, 0.05


def accepted(predictions: Sequence[Mapping[str, Any]], annotations: Sequence[Annotation]) -> list[bool]:
    """For each label of a task whose prediction was shown, whether it is what was shown."""
    shown = {
        int(row["task"]): read_annotation(row, int(row["task"])).choices for row in predictions if row.get("result")
    }
    return [
        all(set(annotation.choices.get(tag, [])) == set(chosen) for tag, chosen in shown[annotation.task].items())
        for annotation in annotations
        if annotation.task in shown and not annotation.skipped and not annotation.ground_truth
    ]


def acceptance(case: Case) -> Finding:
    """People do not agree with predictions more often than these are right."""
    record = case.project.round
    if record is None or not record.accuracy:
        return ok("No accuracy is known yet that agreement could be compared with.")
    agreed = accepted(case.predictions, list(case.project.annotations().values()))
    share = sum(agreed) / max(1, len(agreed))
    if len(agreed) >= _FEWEST and share > record.accuracy["high"] + _MARGIN:
        return warning(
            f"{100 * share:.0f} % of {len(agreed)} labels are what was marked before, but of audit tasks, on which "
            f"nothing is marked, the classifier knows {100 * record.accuracy['estimate']:.0f} % (at most "
            f"{100 * record.accuracy['high']:.0f} %).",
            "Ask annotators to read before they accept what is marked, and look at some of these labels again.",
        )
    return ok(f"{sum(agreed)} of {len(agreed)} labels are what was marked before, which is no more than can be.")


CHECKS = [Check("acceptance", acceptance, ("project", "Redis"))]
