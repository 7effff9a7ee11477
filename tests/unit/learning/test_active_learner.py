"""What a project's learner believes, and who else may ask for it."""

import numpy as np
import pytest

from prepal.learning.active_learner import ActiveLearner, prior_of

CHOICES = 3


@pytest.mark.parametrize(("names", "multilabel"), [(False, False), (True, False), (True, True)])
def test_the_prior_of_a_project_is_its_learners_after_the_first_fit(names: bool, multilabel: bool) -> None:
    rng = np.random.default_rng(0)
    vectors, pool = rng.normal(size=(12, 8)).astype(np.float32), rng.normal(size=(90, 8)).astype(np.float16)
    single = rng.integers(0, CHOICES, 12)
    labels = single[:, None] == np.arange(CHOICES) if multilabel else single
    name_vectors = rng.normal(size=(CHOICES, 8)).astype(np.float32) if names else None
    learner = ActiveLearner(CHOICES, "random", multilabel=multilabel, name_vectors=name_vectors)
    learner.fit(vectors, labels, pool)
    prior = prior_of(vectors, pool, CHOICES, name_vectors, multilabel=multilabel)
    assert prior is not None
    assert learner.prior is not None
    np.testing.assert_array_equal(prior.centre, learner.prior.centre)
    np.testing.assert_array_equal(prior.shape, learner.prior.shape)
    assert (prior.mean is None) == (learner.prior.mean is None) == (not names or multilabel)
    if prior.mean is not None:
        np.testing.assert_array_equal(prior.mean_of(vectors, labels), learner.prior.mean_of(vectors, labels))


def test_a_project_of_one_text_has_no_prior() -> None:
    assert prior_of(np.empty((0, 8), np.float32), np.ones((1, 8), np.float16), CHOICES) is None
