"""All that is remembered of one Label Studio project: a copy, in Redis, that Label Studio can always rebuild."""

from prepal.project.focus import Focus
from prepal.project.mending import mend, readable
from prepal.project.project import Project, all_projects
from prepal.project.states import MODEL_VERSION, Adaptation, Compared, Info, Ranking, RoundRecord, Trouble

__all__ = [
    "MODEL_VERSION",
    "Adaptation",
    "Compared",
    "Focus",
    "Info",
    "Project",
    "Ranking",
    "RoundRecord",
    "Trouble",
    "all_projects",
    "mend",
    "readable",
]
