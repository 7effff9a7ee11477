"""The strategies of scikit-activeml and small-text, set up as their users would, on vectors that are there already.

Both get scikit-learn's logistic regression with C = 10, and float32, the smallest type that neither of them copies into
a larger one.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression

from benchmarks.choosing.contestants.contestant import Chooser, Contestant, Places
from benchmarks.texts import Texts

SCIKIT_ACTIVEML, SMALL_TEXT = "scikit-activeml", "small-text"

_COMMITTEE = 10  # scikit-learn's default size of a bagged ensemble

LEFT_OUT = {
    f"{SCIKIT_ACTIVEML} UncertaintySampling expected average precision": (
        "refuses to begin without labels, and takes minutes for 1,000 texts"
    ),
    f"{SCIKIT_ACTIVEML} ExpectedModelChangeMaximization, ExpectedModelOutputChange, ExpectedModelVarianceReduction, "
    "GreedySamplingTarget, GreedySamplingX, KLDivergenceMaximization, RegressionTreeBasedAL": "for regression",
    f"{SCIKIT_ACTIVEML} SubSamplingWrapper, ParallelUtilityEstimationWrapper; {SMALL_TEXT} SubsamplingQueryStrategy": (
        "run another strategy on a part of the pool, or in parallel"
    ),
    f"{SMALL_TEXT} BALD": "needs a network with dropout",
    f"{SMALL_TEXT} CategoryVectorInconsistencyAndRanking": "for several choices per text",
}
"""What cannot run on vectors of texts with a single choice each, and why."""


def contestants() -> list[Contestant]:
    """Return every strategy that might run; which are too slow or fail is found by trying."""
    return [
        *(Contestant(SCIKIT_ACTIVEML, name) for name in _SCIKIT_ACTIVEML),
        *(Contestant(SMALL_TEXT, name) for name in _SMALL_TEXT),
    ]


def enter(contestant: Contestant, texts: Texts, seed: int) -> Chooser:
    """Return what goes through one experiment."""
    if contestant.library == SCIKIT_ACTIVEML:
        strategy, more = _SCIKIT_ACTIVEML[contestant.strategy](texts.n_classes, seed)
        return ScikitActiveml(texts, strategy, more)
    return SmallText(texts, _SMALL_TEXT[contestant.strategy](texts.n_classes), seed)


def logistic_regression() -> LogisticRegression:
    """Return the classifier that both get."""
    return LogisticRegression(C=10, max_iter=1000)


class ScikitActiveml:
    """Its query fits the classifier and ranks, and chooses the first batch too."""

    def __init__(self, texts: Texts, strategy: Any, more: dict[str, Any]) -> None:  # noqa: ANN401
        self._vectors = texts.vectors.astype(np.float32, copy=False)
        self._labels = np.full(len(self._vectors), np.nan)
        self._strategy = strategy
        self._more = more

    def choose(self, labelled: Places, labels: NDArray[np.int64], n: int) -> Places:
        """See `Chooser`."""
        self._labels[labelled] = labels
        return np.asarray(self._strategy.query(self._vectors, self._labels, batch_size=n, **self._more), np.int64)


Made = tuple[Any, dict[str, Any]]  # a strategy, and what its query takes beyond vectors and labels


def _classifier(n_classes: int, seed: int, estimator: Any) -> Any:  # noqa: ANN401
    from skactiveml.classifier import SklearnClassifier

    return SklearnClassifier(estimator, classes=range(n_classes), random_state=seed)


def _scikit_activeml(name: str, argument: str = "clf", **settings: object) -> Callable[[int, int], Made]:
    """A strategy whose query takes a classifier as `argument`, or none if that is empty."""

    def make(n_classes: int, seed: int) -> Made:
        from skactiveml import pool

        more = {argument: _classifier(n_classes, seed, logistic_regression())} if argument else {}
        return getattr(pool, name)(random_state=seed, **settings), more

    return make


def _committee(name: str, **settings: object) -> Callable[[int, int], Made]:
    """A strategy whose query takes classifiers of which each saw other labels."""

    def make(n_classes: int, seed: int) -> Made:
        from skactiveml import pool

        # One wrapper for each: within a single ensemble it mistakes classes when labels of some are missing.
        members = [
            _classifier(n_classes, seed, BaggingClassifier(logistic_regression(), n_estimators=1, random_state=member))
            for member in range(seed * _COMMITTEE, (seed + 1) * _COMMITTEE)
        ]
        return getattr(pool, name)(random_state=seed, **settings), {"ensemble": members}

    return make


def _four_ds(n_classes: int, seed: int) -> Made:
    from skactiveml.classifier import MixtureModelClassifier
    from skactiveml.pool import FourDs

    return FourDs(random_state=seed), {"clf": MixtureModelClassifier(classes=range(n_classes), random_state=seed)}


def _of_classes(name: str, argument: str) -> Callable[[int, int], Made]:
    """A strategy that is told the classes itself, as the argument of that name."""

    def make(n_classes: int, seed: int) -> Made:
        from skactiveml import pool

        classes: object = n_classes if argument == "n_classes" else list(range(n_classes))
        return getattr(pool, name)(random_state=seed, **{argument: classes}), {}

    return make


_SCIKIT_ACTIVEML: dict[str, Callable[[int, int], Made]] = {
    "RandomSampling": _scikit_activeml("RandomSampling", ""),
    "UncertaintySampling margin": _scikit_activeml("UncertaintySampling", method="margin_sampling"),
    "UncertaintySampling entropy": _scikit_activeml("UncertaintySampling", method="entropy"),
    "UncertaintySampling least confident": _scikit_activeml("UncertaintySampling", method="least_confident"),
    "EpistemicUncertaintySampling": _scikit_activeml("EpistemicUncertaintySampling"),
    "QueryByCommittee KL divergence": _committee("QueryByCommittee", method="KL_divergence"),
    "QueryByCommittee vote entropy": _committee("QueryByCommittee", method="vote_entropy"),
    "QueryByCommittee variation ratios": _committee("QueryByCommittee", method="variation_ratios"),
    "GreedyBALD": _committee("GreedyBALD"),
    "BatchBALD": _committee("BatchBALD"),
    "CoreSet": _scikit_activeml("CoreSet", ""),
    "Badge": _scikit_activeml("Badge"),
    "TypiClust": _scikit_activeml("TypiClust", ""),
    "DropQuery": _scikit_activeml("DropQuery"),
    "ProbCover": _of_classes("ProbCover", "n_classes"),
    "MaxHerding": _scikit_activeml("MaxHerding", ""),
    "ContrastiveAL": _scikit_activeml("ContrastiveAL"),
    "Clue": _scikit_activeml("Clue", "estimator"),
    "Falcun": _scikit_activeml("Falcun"),
    "DiscriminativeAL": _scikit_activeml("DiscriminativeAL", "discriminator"),
    "ProbabilisticAL": _scikit_activeml("ProbabilisticAL", metric="rbf"),
    "FourDs": _four_ds,
    "Quire": _of_classes("Quire", "classes"),
    "CostEmbeddingAL": _of_classes("CostEmbeddingAL", "classes"),
    "MonteCarloEER": _scikit_activeml("MonteCarloEER"),
    "ValueOfInformationEER": _scikit_activeml("ValueOfInformationEER"),
}


class SmallText:
    """What its PoolBasedActiveLearner does in update and query; its own random start comes first."""

    def __init__(self, texts: Texts, strategy: Any, seed: int) -> None:  # noqa: ANN401
        from small_text import SklearnDataset

        vectors = texts.vectors.astype(np.float32, copy=False)
        unlabelled = np.full(len(vectors), -1)
        self._dataset = SklearnDataset(vectors, unlabelled, target_labels=np.arange(texts.n_classes))
        self._n_classes = texts.n_classes
        self._strategy = strategy
        np.random.seed(seed)  # noqa: NPY002 - the only seed it has

    def choose(self, labelled: Places, labels: NDArray[np.int64], n: int) -> Places:
        """See `Chooser`."""
        from small_text import random_initialization

        if not len(labelled):
            return np.asarray(random_initialization(self._dataset, n_samples=n), np.int64)
        free = np.ones(len(self._dataset), bool)
        free[labelled] = False
        pool = np.flatnonzero(free)
        train = self._dataset[labelled].clone()
        train.y = labels
        classifier = _embedding_classifier(self._n_classes)
        if len(np.unique(labels)) < 2:  # scikit-learn learns nothing from these
            return np.random.choice(pool, n, replace=False)  # noqa: NPY002
        classifier.fit(train)
        return np.asarray(self._strategy.query(classifier, self._dataset, pool, labelled, labels, n=n), np.int64)


def _embedding_classifier(n_classes: int) -> Any:  # noqa: ANN401
    from small_text import EmbeddingMixin, SklearnClassifier

    class EmbeddingClassifier(SklearnClassifier, EmbeddingMixin):  # type: ignore[misc]
        """The vectors are the embeddings."""

        def embed(self, data_set: Any, return_proba: bool = False, **_: object) -> Any:  # noqa: ANN401
            return (data_set.x, self.predict_proba(data_set)) if return_proba else data_set.x

    return EmbeddingClassifier(logistic_regression(), n_classes)


def _small_text(name: str, **settings: object) -> Callable[[int], Any]:
    def make(_: int) -> Any:  # noqa: ANN401
        import small_text

        return getattr(small_text, name)(**settings)

    return make


def _around_breaking_ties(name: str) -> Callable[[int], Any]:
    def make(_: int) -> Any:  # noqa: ANN401
        import small_text

        return getattr(small_text, name)(small_text.BreakingTies())

    return make


def _discriminative(_: int) -> Any:  # noqa: ANN401
    from small_text import DiscriminativeActiveLearning, SklearnClassifierFactory

    # As many steps as the batches of the experiments have texts: the discriminator is fitted anew after each.
    return DiscriminativeActiveLearning(SklearnClassifierFactory(logistic_regression(), 2), num_iterations=10)


_SMALL_TEXT: dict[str, Callable[[int], Any]] = {
    "RandomSampling": _small_text("RandomSampling"),
    "BreakingTies": _small_text("BreakingTies"),
    "LeastConfidence": _small_text("LeastConfidence"),
    "PredictionEntropy": _small_text("PredictionEntropy"),
    "GreedyCoreset": _small_text("GreedyCoreset"),
    "LightweightCoreset": _small_text("LightweightCoreset"),
    "EmbeddingKMeans": _small_text("EmbeddingKMeans"),
    "ContrastiveActiveLearning": _small_text("ContrastiveActiveLearning", pbar=None),
    "DiscriminativeActiveLearning": _discriminative,
    "AnchorSubsampling": _around_breaking_ties("AnchorSubsampling"),
    "SEALS": _around_breaking_ties("SEALS"),
}
