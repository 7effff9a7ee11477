"""A project as it stands in Redis, each part read once for all that is told of it."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from prepal.labels import label_config
from prepal.labels.events import Annotation
from prepal.labels.label_config import LabelConfig
from prepal.labels.settle import settle
from prepal.project import Project, Ranking


class View:
    """What every report tells from; what takes long at a large project is read when it is first asked for.

    Args:
        project: what is remembered of it, or of one of its questions.
        question: that question; None: the first one.
    """

    def __init__(self, project: Project, question: LabelConfig | None = None) -> None:
        self.project = project
        self._question = question
        # The facts first: what came while the rest was read is then seen to be news.
        self.facts, self.info = project.facts, project.info
        # Of the newest finished round.
        self.record = project.round
        # Why the project cannot be served; "" while it can.
        self.problem = project.left or self.info.problem
        self.troubles = project.troubles()

    @property
    def facts_behind(self) -> int:
        """How many facts no finished round knows of."""
        return max(0, self.facts - (self.record.facts if self.record else 0))

    @cached_property
    def config(self) -> LabelConfig | None:
        """The label config; None where it cannot be served."""
        return self._question or label_config.parse_or_none(self.info.label_config)

    @cached_property
    def questions(self) -> "list[View]":
        """The same of each question, this one first."""
        others = self.config.others if self.config else ()
        return [self, *(self._of(question) for question in others)]

    def _of(self, question: LabelConfig) -> "View":
        view = View(self.project.of(question), question)
        view.annotations = self.annotations
        return view

    @cached_property
    def answered(self) -> set[int]:
        """The tasks that have a label for any of the questions."""
        return {task for view in self.questions for task in view.labels}

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
