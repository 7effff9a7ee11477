"""What stands for a choice: a name, or in a tree of choices a path of names."""

from collections.abc import Iterator, Sequence

# What Label Studio calls the values of results of Choices and of a Taxonomy.
CHOICE_KINDS = ("choices", "taxonomy")
# No tree that people choose from is deeper.
DEEPEST = 50
# Longer ones are no names of tags or choices.
_LONGEST_NAME = 1000


def written(path: Sequence[str]) -> str:
    """The one name of a path: `Complaint > Other`; no two paths have the same, whatever is in their names."""
    return " > ".join(name.replace("\\", "\\\\").replace(">", "\\>") for name in path)


def as_name(value: object) -> str | None:
    """What can be the name of a tag or a choice."""
    return value if isinstance(value, str) and len(value) <= _LONGEST_NAME else None


def names_of(values: Sequence[object], kind: str) -> Iterator[str]:
    """The one name of each thing that was chosen; what is neither a name nor a path of names is left out.

    Args:
        values: as Label Studio has them, in events and in exports.
        kind: one of CHOICE_KINDS.
    """
    paths = [_path(value) for value in values]
    # Of Choices one has a tick, too, as soon as all below it have: what was chosen are these.
    ticked = {path[:n] for path in paths for n in range(1, len(path))} if kind == "choices" else set()
    for value, path in zip(values, paths, strict=True):
        if path and path not in ticked:
            yield written(path) if isinstance(value, list) else path[0]


def _path(value: object) -> tuple[str, ...]:
    """A path of names, or a name alone; empty where it is neither."""
    parts = value if isinstance(value, list) else [value]
    # Imported annotations may have a number where the config has its digits.
    names = [as_name(str(part) if isinstance(part, int | float) else part) for part in parts[: DEEPEST + 1]]
    path = tuple(name for name in names if name is not None)
    return path if len(path) == len(parts) <= DEEPEST else ()
