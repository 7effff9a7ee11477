"""The lexical half of vectors: near where words are shared, little where they say nothing, finite whatever comes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from prepal.learning.lexical import DIMENSION, Basis

TERMS = 500


@st.composite
def pools(draw: st.DrawFn) -> csr_array:
    rows = draw(st.integers(0, 12))
    seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.0, 0.01, 0.1, 1.0]))
    return csr_array((np.random.default_rng(seed).random((rows, TERMS)) < share).astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(pools(), pools())
def test_vectors_are_finite_and_at_most_as_long_as_their_weight_and_each_text_has_its_own(
    pool: csr_array, others: csr_array
) -> None:
    basis = Basis.of(pool)
    for terms in (pool, others):
        vectors = basis.vectors(terms)
        assert vectors.shape == (terms.shape[0], DIMENSION)
        assert vectors.dtype == np.float16
        assert np.isfinite(vectors).all()
        assert (np.linalg.norm(vectors.astype(np.float32), axis=1) <= 1.41).all()
        for row in range(terms.shape[0]):
            np.testing.assert_array_equal(basis.vectors(terms[[row]])[0], vectors[row])


def test_likeness_is_kept_where_there_are_directions_enough() -> None:
    rng = np.random.default_rng(0)
    pool = csr_array((rng.random((60, TERMS)) < 0.05).astype(np.float32))
    basis = Basis.of(pool)
    kept = (pool.toarray() > 0)[:, basis.terms] * basis.weights
    unit = kept / np.linalg.norm(kept, axis=1, keepdims=True)
    vectors = basis.vectors(pool).astype(np.float64)
    np.testing.assert_allclose(vectors @ vectors.T, 1.4**2 * unit @ unit.T, atol=0.01)


def test_words_that_have_nothing_in_common_count_little() -> None:
    rng = np.random.default_rng(0)
    topics = rng.random((4, TERMS)) < 0.1
    alike = csr_array(
        np.array([(topic & (rng.random(TERMS) < 0.7)) for topic in topics.repeat(300, axis=0)], np.float32)
    )
    noise = csr_array((rng.random((1200, 20 * TERMS)) < 0.0035).astype(np.float32))
    new = csr_array((rng.random((100, 20 * TERMS)) < 0.0035).astype(np.float32))

    def length(basis: Basis, terms: csr_array) -> float:
        return float(np.linalg.norm(basis.vectors(terms).astype(np.float32), axis=1).mean())

    assert length(Basis.of(noise), new) < 0.5 * length(Basis.of(alike), alike)
