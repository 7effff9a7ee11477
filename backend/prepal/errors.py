"""The one exception that people may read: a sentence with the thing, the value and the remedy."""


class PrepalError(Exception):
    """Something that the person at the keyboard, or the ops team, can mend."""
