"""The one exception that people may read: a sentence with the thing, the value and the remedy."""

_MOST_QUOTED = 100


class PrepalError(Exception):
    """Something that the person at the keyboard, or the ops team, can mend."""


def cause(error: BaseException) -> str:
    """What a library says went wrong, as one line that fits into a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def shortened(text: object) -> str:
    """What a message can quote of something that others wrote."""
    said = str(text)
    return said if len(said) <= _MOST_QUOTED else f"{said[:_MOST_QUOTED]}…"
