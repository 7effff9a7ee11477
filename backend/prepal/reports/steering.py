"""What is told of the order of the queue: the focus, and why each of the next tasks comes next."""

import time
from typing import Any

from prepal.reports.view import View

# A text is between two choices where one is hardly likelier than the other; where a text may have several, where one
# may as well be there as not. Others that doubt chose stand for texts near them, and are not doubted themselves.
_TORN, _AS_WELL = 0.5, 0.25


def focus_told(view: View) -> dict[str, Any] | None:
    """The focus that was asked for last, as JSON, with a sentence on it; None where nobody ever asked for one."""
    focus = view.project.focus
    if not focus.at:
        return None
    left = focus.left(len(view.answered))
    by = f"{focus.by} at {_clock(focus.at)}"
    if focus.is_on:
        length = f"for {focus.until} labels, of which {left} are left" if focus.until else "until somebody ends it"
        told = f"First come {focus.what}, as asked for by {by}, {length}."
    elif focus.over_at:
        what = f"The focus on {focus.what}, asked for by {by}, has had its {focus.until} labels"
        told = f"{what} at {_clock(focus.over_at)}: the ordinary order is served."
    else:
        told = f"The ordinary order is served: the focus was ended by {by}."
    return {
        "is_on": focus.is_on,
        "kind": focus.kind,
        "value": focus.value,
        "by": focus.by,
        "at": focus.at,
        "labels": focus.until or None,
        "left": left,
        "told": told,
    }


def reasons_of(view: View, tasks: list[int]) -> list[dict[str, Any]]:
    """Why each of the first tasks of the ranking comes next: what put it there, and that in words.

    What put it there is `audit`, `focus`, `doubt`, `coverage`, `random`, `strategy`, or, behind the head, `order`.
    """
    record = view.record
    head = record.head if record else []
    slots = dict(zip(head, record.slots, strict=False)) if record else {}
    likely = dict(zip(head, record.likely, strict=False)) if record else {}
    # A release before this one did not say what put the others there.
    slots = {task: slots.get(task, "strategy") for task in head}
    slots |= dict.fromkeys(record.head_audit if record else [], "audit")
    behind = "random" if view.predictions is None else "order"
    found = []
    for task in tasks:
        slot = slots.get(task, behind)
        found.append({"task": task, "reason": slot.partition(":")[0], "why": _why(view, slot, likely.get(task, {}))})
    return found


def _why(view: View, slot: str, likely: dict[str, float]) -> str:
    kind, _, what = slot.partition(": ")
    match kind:
        case "audit":
            return "a check at random, by which the accuracy is measured"
        case "focus":
            return f"asked for: {what}"
        case "coverage":
            return "typical of texts that no labelled one is like yet"
        case "random":
            return "drawn at random, as nothing is predicted yet"
        case "order":
            return "behind those above, the least sure first and what somebody passed last"
        case "doubt":
            return _doubt(likely, multiple=view.config is not None and view.config.multiple)
    return f"chosen by the strategy {view.record.strategy if view.record else ''}"


def _doubt(likely: dict[str, float], *, multiple: bool) -> str:
    named = [f"{choice} ({100 * share:.0f} %)" for choice, share in likely.items()]
    shares = [*likely.values(), 0.0, 0.0]
    if multiple and abs(shares[0] - 0.5) <= _AS_WELL:
        return f"unsure of {' and '.join(named)}"
    if not multiple and len(named) > 1 and shares[0] - shares[1] <= _TORN:
        return f"between {' and '.join(named)}"
    return "like many texts that are doubted, though not doubted so much itself"


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
