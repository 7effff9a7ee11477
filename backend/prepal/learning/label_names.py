"""What the names of the choices say about a text before anyone has labelled one."""

import re

_WORD_BREAK = re.compile(r"[\s_\-/.:|&+]+|(?<=[a-z])(?=[A-Z])")


def name_text(name: str) -> str:
    """Return the words of a choice's name as a text that an encoder can read: `SCIENCE_TECH` is "science tech"."""
    words = [word for word in _WORD_BREAK.split(name) if word]
    return " ".join(words).lower()
