"""BALD: mutual information of label and classifier."""

import numpy as np

from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.learning.pool import Pool
from prepal.learning.strategies.doubt.bald import STRATEGY, information, sample_predictions


def test_it_is_the_mean_divergence_of_the_members_from_their_mean() -> None:
    members = np.random.default_rng(0).dirichlet(np.ones(4), (6, 30)).astype(np.float32)
    divergence = (members * np.log(members / members.mean(axis=0))).sum(axis=2).mean(axis=0)
    np.testing.assert_allclose(information(list(members), multilabel=False), divergence, atol=1e-5)


def test_doubt_that_all_members_share_says_nothing_of_the_classifier() -> None:
    shared = [np.full((1, 2), 0.5, np.float32)] * 2
    split = [np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32)]
    np.testing.assert_allclose(information(shared, multilabel=False), [0], atol=1e-6)
    np.testing.assert_allclose(information(split, multilabel=False), [np.log(2)], atol=1e-6)


def test_several_choices_count_by_the_mean_of_their_own_information() -> None:
    members = [np.array([[1, 0.5]], np.float32), np.array([[0, 0.5]], np.float32)]
    np.testing.assert_allclose(information(members, multilabel=True), [np.log(2) / 2], atol=1e-6)


def test_it_picks_where_no_label_tells_the_members_how_to_predict() -> None:
    # Labels fix what the first coordinate means; of the second they have hardly seen anything.
    rng = np.random.default_rng(0)
    kinds = np.arange(40) % 2
    labelled = np.column_stack([2.0 * kinds - 1, 0.1 * rng.normal(size=40)]).astype(np.float32)
    vectors = np.array([[0, 0], [3, 0], [-3, 0], [0, 30], [0, -30], [1, 0]], np.float32)
    model = LogisticRegression(2).fit(labelled, kinds)
    pool = Pool(vectors, model.predict_proba(vectors), labelled, kinds, multilabel=False, classifier=model)
    assert set(STRATEGY.select(pool, 2, np.random.default_rng(0))) == {3, 4}
    scores = information(sample_predictions(pool, np.random.default_rng(0)), multilabel=False)
    assert scores[0] < scores[3] / 2, "the text of greatest entropy tells less"
