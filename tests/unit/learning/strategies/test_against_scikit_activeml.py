"""The strategies against those of the same name in scikit-activeml."""

from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from skactiveml import pool as theirs
from skactiveml.base import SkactivemlClassifier
from skactiveml.pool._badge import _d_2
from skactiveml.pool._typi_clust import _typicality as their_typicality

from prepal.learning import strategies
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.pool import Pool
from prepal.learning.strategies.doubt.batch_bald import joint_picks
from prepal.learning.strategies.doubt.posterior import sample_predictions
from prepal.learning.strategies.variety.dropquery import _disagreement
from prepal.learning.strategies.variety.typiclust import _typicality

SEEDS = range(4)
K = 4


class OurClassifier(SkactivemlClassifier):
    """Ours, fitted already, as scikit-activeml wants a classifier."""

    def __init__(self, model: LogisticRegression) -> None:
        super().__init__(classes=list(range(model.n_classes)))
        self.model = model
        self.classes_ = np.arange(model.n_classes)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: ARG002, N803
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        return self.model.predict_proba(np.asarray(X, np.float32)).astype(np.float64)

    def predict(self, X: Any) -> NDArray[np.int64]:  # noqa: N803
        return self.predict_proba(X).argmax(axis=1)


def make_pool(size: int, labels: int, seed: int, d: int = 8) -> Pool:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(size + labels, d)).astype(np.float32)
    kinds = (vectors @ rng.normal(size=(d, K)) + rng.gumbel(size=(size + labels, K))).argmax(axis=1)
    kinds[size : size + K] = range(K)
    model = LogisticRegression(K, C=1.0).fit(vectors[size:], kinds[size:])
    return Pool(
        vectors[:size], model.predict_proba(vectors[:size]), vectors[size:], kinds[size:], False, classifier=model
    )


def without_labels(pool: Pool) -> Pool:
    return Pool(pool.vectors, None, pool.labelled_vectors[:0], pool.labelled[:0], multilabel=False)


def as_theirs(pool: Pool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All vectors, the pool's first, and all labels, of which those that are missing are NaN."""
    vectors = np.concatenate([pool.vectors, pool.labelled_vectors]).astype(np.float64)
    return vectors, np.concatenate([np.full(len(pool), np.nan), pool.labelled])


def query(strategy: Any, pool: Pool, n: int, **more: Any) -> Any:
    if pool.classifier is not None and "ensemble" not in more:
        assert isinstance(pool.classifier, LogisticRegression)
        more = {"clf": OurClassifier(pool.classifier), "fit_clf": False, **more}
    return strategy.query(*as_theirs(pool), batch_size=n, **more)


def ours(name: str, pool: Pool, n: int, rng: int | np.random.Generator = 0) -> NDArray[np.int64]:
    return strategies.get(name).select(pool, n, np.random.default_rng(rng))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("name", "method"),
    [("entropy", "entropy"), ("margin", "margin_sampling"), ("least_confidence", "least_confident")],
)
def test_scores_pick_the_same_texts_in_the_same_order(name: str, method: str, seed: int) -> None:
    pool = make_pool(150, 30, seed)
    expected = query(theirs.UncertaintySampling(method=method, random_state=0), pool, 40)
    np.testing.assert_array_equal(ours(name, pool, 40), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_coreset_picks_the_same_texts_in_the_same_order(seed: int) -> None:
    pool = make_pool(150, 10, seed)
    expected = theirs.CoreSet(random_state=0).query(*as_theirs(pool), batch_size=40)
    np.testing.assert_array_equal(ours("coreset", pool, 40), expected)


def test_coreset_without_a_label_covers_as_well() -> None:
    pools = [without_labels(make_pool(150, K, seed)) for seed in range(12)]
    radius = np.empty((len(pools), 2))
    for place, pool in enumerate(pools):
        picks = (
            ours("coreset", pool, 15, place),
            theirs.CoreSet(random_state=place).query(*as_theirs(pool), batch_size=15),
        )
        radius[place] = [cdist(pool.vectors, pool.vectors[p]).min(axis=1).max() for p in picks]
    assert radius[:, 0].mean() == pytest.approx(radius[:, 1].mean(), rel=0.03)


@pytest.mark.parametrize("seed", SEEDS)
def test_contrastive_picks_the_same_texts_in_the_same_order(seed: int) -> None:
    pool = make_pool(150, 40, seed)
    strategy = theirs.ContrastiveAL(nearest_neighbors_dict={"n_neighbors": 10}, random_state=0)
    np.testing.assert_array_equal(ours("contrastive", pool, 40), query(strategy, pool, 40))


def gradients(pool: Pool) -> NDArray[np.float64]:
    assert pool.probabilities is not None
    residuals = pool.probabilities - np.eye(K)[pool.probabilities.argmax(axis=1)]
    return (residuals[:, :, None] * pool.vectors[:, None]).reshape(len(pool), -1)


@pytest.mark.parametrize("seed", SEEDS)
def test_badge_picks_the_same_texts_given_the_same_draws(seed: int) -> None:
    # scikit-activeml goes on from the squared length of each gradient, as if one of zero had been picked before the
    # first; the authors do not. So its distances are used, but from the first pick on.
    pool = make_pool(150, 30, seed)
    points = gradients(pool)
    rng = np.random.RandomState(np.random.MT19937(seed))
    expected = list(query(theirs.Badge(random_state=0), pool, 1))
    distances = np.full(len(pool), np.inf)
    while len(expected) < 30:
        distances = _d_2(points, expected[-1:], distances)
        expected.append(rng.choice(len(pool), p=distances / distances.sum()))
    rng = np.random.Generator(np.random.MT19937(seed))
    np.testing.assert_array_equal(strategies.get("badge").select(pool, 30, rng), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_batch_bald_picks_the_same_texts_in_the_same_order(seed: int) -> None:
    pool = make_pool(120, 40, seed)
    members = np.stack(sample_predictions(pool, np.random.default_rng(seed))).astype(np.float64)
    # So many draws that scikit-activeml counts all combinations, as ours does up to 1,024: five texts of four choices.
    joint = theirs.batch_bald(members.copy(), 6, n_MC_samples=K**6, random_state=0)
    np.testing.assert_array_equal(ours("batch_bald", pool, 6, seed), np.nanargmax(joint, axis=1))


def test_bald_picks_the_same_texts_in_the_same_order() -> None:
    for seed in SEEDS:
        pool = make_pool(120, 40, seed)
        members = np.stack(sample_predictions(pool, np.random.default_rng(seed))).astype(np.float64)
        scores = theirs.batch_bald(members, 1)[0]
        np.testing.assert_array_equal(ours("bald", pool, 20, seed), np.argsort(-scores)[:20])


def joint_information(predictions: NDArray[np.float64]) -> float:
    """Of all texts' labels together, counted exactly."""
    joint = np.ones((len(predictions), 1))
    for text in predictions.swapaxes(0, 1):
        joint = (joint[:, :, None] * text[:, None]).reshape(len(joint), -1)
    mean = joint.mean(axis=0)
    return float((predictions * np.log(predictions)).sum(axis=2).mean(axis=0).sum() - (mean * np.log(mean)).sum())


def test_batch_bald_tells_as_much_where_combinations_are_drawn() -> None:
    told = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        logits = 0.5 * np.einsum("ml,ltk->mtk", rng.normal(size=(10, 3)), rng.normal(size=(3, 60, 3)))
        predictions = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
        scores = theirs.batch_bald(predictions.copy(), 10, n_MC_samples=1024, random_state=seed)
        picks = [joint_picks(predictions, 10, rng), np.nanargmax(scores, axis=1), np.argsort(-scores[0])[:10]]
        told.append([joint_information(predictions[:, p]) for p in picks])
    our, their, without_regard_to_each_other = np.mean(told, axis=0)
    assert our > 0.99 * their
    assert our > 1.015 * without_regard_to_each_other


@pytest.mark.parametrize("size", [2, 15, 80])
def test_typicality_is_the_same(size: int) -> None:
    points = np.random.default_rng(size).normal(size=(size, 6)).astype(np.float32)
    expected = their_typicality(points.astype(np.float64), np.arange(size), 20)
    np.testing.assert_allclose(-1 / _typicality(points), expected, rtol=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
def test_typiclust_picks_the_same_texts_of_clusters_that_nobody_can_miss(seed: int) -> None:
    sizes = np.array([20, 44, 26, 38, 32, 14])
    kind = np.repeat(np.arange(6), sizes)
    vectors = (6 * np.eye(6, 8)[kind] + 0.3 * np.random.default_rng(seed).normal(size=(len(kind), 8))).astype(
        np.float32
    )
    labelled = np.isin(np.arange(len(kind)), [np.flatnonzero(kind == 1)[0], np.flatnonzero(kind == 5)[0]])
    pool = Pool(vectors[~labelled], None, vectors[labelled], np.array([0, 1]), multilabel=False)
    expected = theirs.TypiClust(k=20, random_state=0, cluster_algo_dict={"n_init": 10}).query(
        *as_theirs(pool), batch_size=4
    )
    np.testing.assert_array_equal(ours("typiclust", pool, 4, seed), expected)


def test_typiclust_covers_as_well() -> None:
    far = []
    for seed in range(20):
        pool = without_labels(make_pool(200, K, seed, d=4))
        picks = [ours("typiclust", pool, 12, seed)]
        picks.append(theirs.TypiClust(k=20, random_state=seed).query(*as_theirs(pool), batch_size=12))
        picks.append(ours("random", pool, 12, seed))
        far.append([cdist(pool.vectors, pool.vectors[p]).min(axis=1).mean() for p in picks])
    our, their, random = np.mean(far, axis=0)
    assert our == pytest.approx(their, rel=0.03)
    assert random > 1.06 * our


class SameMasks(np.random.RandomState):
    """Drops from every text what ours drops from all of them."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.draws = np.random.default_rng(seed)

    def choice(self, a: Any, size: Any = None, replace: bool = True, p: Any = None) -> Any:  # noqa: ARG002
        assert a == [True, False]
        return np.broadcast_to(self.draws.random(size[1]) >= p[1], size)


class DropQueryWithSameMasks(theirs.DropQuery):
    def _validate_data(self, *args: Any, **kwargs: Any) -> Any:
        checked = super()._validate_data(*args, **kwargs)
        self.random_state_ = SameMasks(self.random_state)
        return checked


def flipping_pool(seed: int) -> Pool:
    """With a classifier without intercepts: dropout by ours scales what is left, and there no scale flips a label."""
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(20, 12)).astype(np.float32)
    labelled = np.concatenate([half, -half])
    labels = np.repeat(np.arange(2), 20)
    model = LogisticRegression(2).fit(labelled, labels)
    vectors = rng.normal(size=(200, 12)).astype(np.float32)
    return Pool(vectors, model.predict_proba(vectors), labelled, labels, False, classifier=model)


def test_dropquery_chooses_from_the_same_texts_and_covers_them_as_well() -> None:
    potential = []
    for seed in range(20):
        pool = flipping_pool(seed)
        candidates = np.flatnonzero(_disagreement(pool, np.random.default_rng(seed)) >= 2)
        assert 8 < len(candidates) < 180
        clusters = {"random_state": seed, "n_init": 1}
        strategy = DropQueryWithSameMasks(n_dropout_samples=3, random_state=seed, cluster_algo_dict=clusters)
        picks, scores = query(strategy, pool, 8, return_utilities=True)
        np.testing.assert_array_equal(np.flatnonzero(scores[0] > -np.inf), candidates)
        mine = ours("dropquery", pool, 8, seed)
        assert np.isin(mine, candidates).all()
        points = pool.vectors[candidates]
        far = [(cdist(points, pool.vectors[p]).min(axis=1) ** 2).mean() for p in (mine, picks, candidates[:8])]
        potential.append(far)
    our, their, any_of_them = np.mean(potential, axis=0)
    assert our == pytest.approx(their, rel=0.03)
    assert any_of_them > 1.06 * our
