"""A project as it stands in Redis, each part read once for all that is told of it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from prepal.labels import label_config
from prepal.labels.events import Annotation
from prepal.labels.label_config import LabelConfig
from prepal.labels.settle import settle
from prepal.project import Info, Project, Ranking, RoundRecord, Trouble


@dataclass(frozen=True)
class View:
    """What every report tells from; what takes long at a large project is read when it is first asked for."""

    project: Project
    facts: int
    info: Info
    record: RoundRecord | None
    """Of the newest finished round."""
    problem: str
    """Why the project cannot be served; "" while it can."""
    troubles: list[Trouble]

    @classmethod
    def of(cls, project: Project) -> "View":
        """Read what costs little at any size of the project."""
        # The facts first: what came while the rest was read is then seen to be news.
        facts, info, record = project.facts, project.info, project.round
        return cls(project, facts, info, record, project.left or info.problem, project.troubles())

    @cached_property
    def config(self) -> LabelConfig | None:
        """The label config; None where it cannot be served."""
        return label_config.parse_or_none(self.info.label_config)

    @cached_property
    def annotations(self) -> dict[int, Annotation]:
        """All annotations, by id."""
        return self.project.annotations()

    @cached_property
    def labels(self) -> dict[int, NDArray[np.bool_]]:
        """The label of every task that has one, a row (k,) over the choices."""
        return {} if self.config is None else settle(self.annotations, self.config)

    @cached_property
    def ranking(self) -> Ranking | None:
        """The newest finished round's ranking."""
        return self.project.ranking()

    @cached_property
    def predictions(self) -> Ranking | None:
        """The ranking, if a classifier made it, of the choices that there are now."""
        config, ranking = self.config, self.ranking
        if config is None or ranking is None or not ranking.predicts:
            return None
        return ranking if config.understands(ranking.meaning, ranking.chosen.shape[1]) else None

    @cached_property
    def accuracies(self) -> list[dict[str, float]]:
        """All estimates of the accuracy, the oldest first."""
        return self.project.accuracies()
