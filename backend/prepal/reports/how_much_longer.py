"""How many labels more the next accuracy takes, for people."""

from typing import Any

from prepal.project import RoundRecord


def how_much_longer(record: RoundRecord | None, labelled: int) -> dict[str, Any] | None:
    """Return the newest forecast, with the labels that are left to it, and a sentence; None where nothing is foretold.

    Args:
        record: the newest finished round.
        labelled: how many tasks have a label now.
    """
    if record is None or record.forecast is None:
        return None
    goal, high = record.forecast["goal"], record.forecast["high"]
    about, least = (max(0, record.forecast[end] - labelled) for end in ("about", "low"))
    most = None if high is None else max(0, high - labelled)
    if most is not None:
        between = f"between {_round(least)} and {_round(most)}"
    elif least:
        between = f"{_round(least)} or more"
    else:
        between = "nobody can say yet whether none or many"
    told = f"About {_round(about)} more labels for {f'{goal:.1%}'.replace('.0%', '%').replace('%', ' %')}: {between}."
    return {**record.forecast, "more": {"about": about, "low": least, "high": most}, "told": told}


def _round(labels: int) -> str:
    """Two digits, as no more is known."""
    return f"{float(f'{labels:.1e}'):,.0f}"
