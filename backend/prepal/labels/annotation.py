"""What one annotator said of one task."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Annotation:
    """One annotation, as far as it bears on a label."""

    task: int
    annotator: int
    updated_at: str
    skipped: bool
    ground_truth: bool
    choices: dict[str, list[str]]
    """Chosen values by control tag."""
